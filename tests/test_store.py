"""A store appears whole or not at all, on disks that fill up, refuse, or were left by a killed writer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loaders import LoaderError, StoreError, StoreInfo, load, read_store
from loaders.store.manifest import MANIFEST
from loaders.store.writer import StoreWriter
from loaders.testing import INFO, Breaking, Samples, assert_same, in_fork, make_splits
from tests.stores import open_store, store_samples

MMAP = load("mmap")


def prepare(location: Path, splits: dict[str, Samples] | None = None) -> StoreInfo:
    return store_samples(MMAP, splits or make_splits(), location, dataset=INFO)


def beside(location: Path) -> set[str]:
    return {path.name for path in location.parent.iterdir()} - {f".{location.name}.lock"}


def readable(location: Path, splits: dict[str, Samples]) -> bool:
    with open_store(MMAP, location, "train") as dataset:
        everything = list(range(len(dataset)))
        assert_same(dataset.batch(everything), splits["train"].expect(everything))
    return True


Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Gives folders on small file systems of their own."""
    made: list[Path] = []

    def make(options: str) -> Path:
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip("this root may not mount a file system")
        made.append(folder)
        return folder

    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    yield make
    for folder in made:
        subprocess.run(["umount", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.mark.parametrize("loader", ["mmap", "filesystem", "lmdb", "sqlite"])
def test_a_full_disk(mount: Mount, loader: str) -> None:
    disk = mount("size=1m")
    location = disk / "stores" / "big"
    splits = {"train": Samples(60, (3, 32, 32)), "test": Samples(5, (3, 32, 32))}

    def fill() -> None:
        with contextlib.suppress(OSError), (disk / "another's").open("wb") as file:
            while True:
                file.write(bytes(1024))
                file.flush()

    with pytest.raises(StoreError) as caught:
        store_samples(load(loader), {**splits, "test": Breaking(splits["train"], fill)}, location, dataset=INFO)
    (disk / "another's").unlink()
    sentence = f"cannot write the store {location}: No space left on device; free some space or choose another"
    assert str(caught.value).startswith(sentence)
    assert beside(location) == set()
    small = {"train": Samples(3, (3, 32, 32)), "test": Samples(2, (3, 32, 32))}
    store_samples(load(loader), small, location, dataset=INFO)  # the space is free again


def test_a_disk_too_full_for_even_a_folder(mount: Mount) -> None:
    disk = mount("size=64k,nr_inodes=2")
    (disk / "file").touch()
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        prepare(disk / "store")


def test_a_read_only_disk(mount: Mount) -> None:
    disk = mount("size=1m")
    splits = make_splits()
    prepare(disk / "store", splits)
    remount(disk, "ro")
    assert readable(disk / "store", splits)
    for name in ("another", "new/folder/store"):
        with pytest.raises(StoreError) as caught:
            prepare(disk / name)
        assert str(caught.value) == (
            f"cannot write the store {disk / name}: Read-only file system; choose a --store-dir that can be written"
        )


def test_a_folder_of_someone_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("permission bits do not bind this user")
    with pytest.raises(StoreError, match="choose a --store-dir that you may write"):
        prepare(tmp_path / "store")


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("thesis")
    with pytest.raises(StoreError, match="choose a --store-dir that is a folder"):
        prepare(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match=r"file exists and is not a store; remove it or choose another"):
        prepare(tmp_path / "file")
    with pytest.raises(StoreError, match=r"cannot read .*: Not a directory"):
        open_store(MMAP, tmp_path / "file", "train").open()
    assert (tmp_path / "file").read_text() == "thesis"
    assert beside(tmp_path / "file") == {"file"}


def test_a_folder_that_is_no_store_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis").write_text("thesis")
    with pytest.raises(StoreError, match="exists and is not a store"):
        prepare(tmp_path / "documents")
    assert (tmp_path / "documents" / "thesis").read_text() == "thesis"
    (tmp_path / "empty").mkdir()
    prepare(tmp_path / "empty")
    assert readable(tmp_path / "empty", make_splits())


def killed_at(moment: str, location: Path) -> None:
    """Prepare in a process that dies when it is about to rename to (or from) ``moment``."""
    real: Any = Path.rename

    def rename(self: Any, target: Any) -> Any:
        if self.name == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, target)

    def work() -> None:
        Path.rename = rename  # type: ignore[method-assign]
        prepare(location, {"train": Samples(9, (3, 16, 12)), "test": Samples(2, (3, 16, 12))})

    assert in_fork(work) == -signal.SIGKILL


def test_a_writer_killed_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    location, splits = tmp_path / "store", make_splits()
    prepare(location, splits)
    killed_at(".store.partial", location)
    assert beside(location) == {".store.old", ".store.partial"}
    with pytest.raises(RuntimeError, match="stop"), StoreWriter(location).writing():
        raise RuntimeError("stop")  # the next writer gives the old store back before it begins
    assert beside(location) == {"store"}
    assert readable(location, splits)


def test_a_writer_killed_near_its_end_is_followed_by_another(tmp_path: Path) -> None:
    location, splits = tmp_path / "store", make_splits()
    other = {"train": Samples(7, (3, 16, 12)), "test": Samples(2, (3, 16, 12))}
    for moment in ("store", ".store.partial"):
        prepare(location)
        killed_at(moment, location)
        prepare(location, other)
        assert beside(location) == {"store"}, moment
        assert readable(location, other), moment
    prepare(location, splits)  # and one that was killed before it removed the old store
    shutil.copytree(location, tmp_path / ".store.old")
    assert readable(location, splits)
    prepare(location, splits)
    assert beside(location) == {"store"}


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    info = prepare(tmp_path / "store")
    files = [path for path in (tmp_path / "store").iterdir() if path.name != MANIFEST]
    assert info.files == {path.name: path.stat().st_size for path in files}
    assert info.bytes == sum(path.stat().st_size for path in files) == 54 * (3 * 16 * 12 + 8 + 12)
    assert info.allocated_bytes == sum(path.stat().st_blocks * 512 for path in files)
    assert info.samples == 54
    assert info.prepare_s > 0
    assert read_store(tmp_path / "store", "mmap") == info


def test_a_disk_that_breaks_while_the_store_is_read(tmp_path: Path) -> None:
    """A manifest that is a folder stands for any other error of the disk."""
    prepare(tmp_path / "store")
    (tmp_path / "store" / MANIFEST).unlink()
    (tmp_path / "store" / MANIFEST).mkdir()
    with pytest.raises(StoreError, match=r"cannot read .*: Is a directory; fix that or remove"):
        open_store(MMAP, tmp_path / "store", "train").open()


def test_a_torn_manifest(tmp_path: Path) -> None:
    prepare(tmp_path / "store")
    for content in (b"", b"\xff\xfe", b"[1]", b"null", b"{}", b'{"format_version": 2'):
        (tmp_path / "store" / MANIFEST).write_bytes(content)
        with pytest.raises(StoreError, match=r"is not a manifest of format version 3; remove .* and prepare it again"):
            open_store(MMAP, tmp_path / "store", "train").open()


def test_a_manifest_is_readable_by_others(tmp_path: Path) -> None:
    """Mean and deviation, hashes and counts are plain JSON for whoever wants them without this program."""
    splits = make_splits()
    prepare(tmp_path / "store", splits)
    document: Any = json.loads((tmp_path / "store" / MANIFEST).read_text(), parse_constant=pytest.fail)
    assert document["splits"]["train"]["count"] == 41
    assert np.allclose(document["splits"]["train"]["mean"], splits["train"].images.mean(axis=(0, 2, 3)) / 255)


def test_errors_that_are_not_of_the_disk_pass(tmp_path: Path) -> None:
    with pytest.raises(LoaderError, match="announced"):

        class Short(Samples):
            def __len__(self) -> int:
                return super().__len__() + 1

        prepare(tmp_path / "store", {"train": Short(5, (1, 2, 2))})
    assert beside(tmp_path / "store") == set()


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(StoreError, match="no prepared store"):
        open_store(MMAP, tmp_path / "store", "train").open()
    prepare(tmp_path / "store")
    (tmp_path / "store" / MANIFEST).unlink()
    with pytest.raises(StoreError, match=r"store is no store, it has no store\.json; remove it and prepare it again"):
        open_store(MMAP, tmp_path / "store", "train").open()


@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_the_manifest(tmp_path: Path) -> None:
    prepare(tmp_path / "store")
    (tmp_path / "store" / MANIFEST).unlink()
    os.mkfifo(tmp_path / "store" / MANIFEST)
    with pytest.raises(StoreError, match="it is not a regular file; fix that or remove"):
        open_store(MMAP, tmp_path / "store", "train").open()


@pytest.mark.timeout(60)
def test_pipes_beside_a_store(tmp_path: Path) -> None:
    (tmp_path / ".store.journal").mkdir()
    os.mkfifo(tmp_path / ".store.journal" / "note.json")
    prepare(tmp_path / "store")
    (tmp_path / ".store.lock").unlink()
    os.mkfifo(tmp_path / ".store.lock")
    with pytest.raises(StoreError, match=r"\.store\.lock is not a regular file; remove it"):
        prepare(tmp_path / "store")


def test_a_loop_of_symbolic_links(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for location in (loop, loop / "store"):
        with pytest.raises(StoreError, match=r"is not a store; remove it|choose a --store-dir that is a folder"):
            prepare(location)
        with pytest.raises(StoreError, match="Too many levels of symbolic links"):
            open_store(MMAP, location, "train").open()
    prepare(tmp_path / "good")
    (tmp_path / "good" / "train.pixels").unlink()
    (tmp_path / "good" / "train.pixels").symlink_to("train.pixels")
    with pytest.raises(StoreError, match=r"cannot read .*train\.pixels: Too many levels of symbolic links"):
        open_store(MMAP, tmp_path / "good", "train").open()


@pytest.mark.parametrize("loader", ["mmap", "memory", "hdf5", "filesystem"])
def test_a_label_outside_the_classes_is_refused_at_open(tmp_path: Path, loader: str) -> None:
    format_ = load(loader)
    store_samples(format_, make_splits(), tmp_path / "store", dataset=INFO)
    name = {"hdf5": "images.h5", "filesystem": "train.png.index"}.get(loader, "train.labels")
    path = tmp_path / "store" / name
    content, good = path.read_bytes(), make_splits()["train"].labels.astype("<i8")
    for label in (-281474976710655, 7, 2**62):
        if loader == "filesystem":
            changed = np.frombuffer(content, "<i8").copy()
            changed[2 * 5] = label
            path.write_bytes(changed.tobytes())
        else:
            bad = good.copy()
            bad[5] = label
            assert content.count(good.tobytes()) == 1
            path.write_bytes(content.replace(good.tobytes(), bad.tobytes()))
        with pytest.raises(
            StoreError, match=rf"label of sample 5 of the train split in .* is {label}, outside 0\.\.6: the store"
        ):
            open_store(format_, tmp_path / "store", "train").open()


def test_a_map_of_a_file_that_is_cut_while_it_is_opened(tmp_path: Path) -> None:
    """Sizes are looked at once more after the map: what lies beyond the end of a file ends the process."""
    prepare(tmp_path / "store")
    dataset = open_store(MMAP, tmp_path / "store", "train")
    assert dataset.info.samples == 54  # sizes have been looked at
    os.truncate(tmp_path / "store" / "train.pixels", 41 * 3 * 16 * 12 - 1)
    with pytest.raises(StoreError, match=r"train\.pixels has 23615 bytes instead of 23616"):
        dataset.open()
    os.truncate(tmp_path / "store" / "train.pixels", 41 * 3 * 16 * 12)
    os.truncate(tmp_path / "store" / "test.pixels", 1)  # one that this split does not map
    with pytest.raises(StoreError, match=r"test\.pixels has 1 bytes instead of"):
        dataset.open()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's folders are made by root")
@pytest.mark.parametrize("closed", [".", "store", "store/store.json", "store/train.pixels"])
def test_what_may_not_be_read_is_named(closed: str) -> None:
    for mode in (0o000, 0o111):
        what_may_not_be_read_is_named(closed, mode)


def what_may_not_be_read_is_named(closed: str, mode: int) -> None:
    with tempfile.TemporaryDirectory() as place:  # not below pytest's own folder, which nobody else may enter
        Path(place).chmod(0o755)
        folder = Path(place, "data")
        prepare(folder / "store")
        (folder / closed).chmod(mode)

        def as_somebody_else() -> None:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            if mode == 0o111 and closed in (".", "store"):  # may be entered, not listed
                assert open_store(MMAP, folder / "store", "train").open().info.samples == 54
                return
            with pytest.raises(StoreError, match="Permission denied; fix that or remove"):
                open_store(MMAP, folder / "store", "train").open()
            with pytest.raises(StoreError, match="choose a --store-dir that you may write"):
                prepare(folder / "store")

        try:
            assert in_fork(as_somebody_else) == 0
        finally:
            (folder / closed).chmod(0o755)
