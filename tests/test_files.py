"""Whatever lies where a dataset's file should lie, it is a sentence with the remedy, and nothing is waited for."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import DataError
from bench.sources.archives import ArchiveFiles, extract
from bench.sources.cifar_layout import PICKLED
from bench.sources.fetch import download
from bench.sources.file_split import FolderFiles
from bench.sources.files import exists, file_md5, read_bytes, shown, sole_writer, write_marker
from bench.sources.folder import survey
from bench.sources.imagenette import Imagenette160
from bench.sources.registry import SOURCES, open_source, why_missing
from bench.sources.tiny_imagenet import TOP
from loaders.testing import RaggedSamples
from tests.command import Bench
from tests.refusals import refusal, silent
from tests.stores import write_folder

pytestmark = pytest.mark.timeout(60)


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """Root may read everything: be another user for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, which those of pytest may not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("what", ["pipe", "link to a pipe", "device"])
def test_no_pipe_or_device_is_read_or_written(tmp_path: Path, what: str) -> None:
    os.mkfifo(tmp_path / "real")

    def odd(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero" if what == "device" else tmp_path / "real")
        return path

    zipped, tarred = odd("archive.zip"), odd("archive.tgz")
    odd("imagenette-160/imagenette2-160/VERIFIED.json")
    for class_folder in ("train/a", "val/a"):
        (tmp_path / "imagenette-160/imagenette2-160" / class_folder).mkdir(parents=True)
        (tmp_path / "imagenette-160/imagenette2-160" / class_folder / "1.jpg").touch()
    for read in (
        lambda: read_bytes(zipped, 100),
        lambda: file_md5(zipped),
        lambda: extract(zipped, tmp_path, TOP, silent),
        lambda: extract(tarred, tmp_path, TOP, silent),
        lambda: ArchiveFiles(zipped, TOP, "tiny-imagenet", 100).sizes(),
        lambda: ArchiveFiles(tarred, "x", "cifar10", 100).has_marker(),
        lambda: Imagenette160(tmp_path).info(),
    ):
        assert "not a regular file; put a regular file in its place" in refusal(read)
    with pytest.raises(DataError, match="marker is not a regular file; remove it"):
        write_marker(odd("marker"), {})
    odd("writing/.lock")
    with pytest.raises(DataError, match=r"\.lock is not a regular file; remove it"), sole_writer(tmp_path / "writing"):
        pass
    known = open_source("cifar10", tmp_path).archive
    assert known is not None
    odd(f"part/{known.name}.part")
    with pytest.raises(DataError, match=r"\.part is not a regular file; remove it"):
        download(known, tmp_path / "part", silent)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with small twins."""
    data = tmp_path_factory.mktemp("data")
    for dataset in ("cifar10", "tiny-imagenet", "imagenette-160"):
        open_source(dataset, data).make_twin(0.001, silent)
    return data


def test_a_pipe_in_a_dataset_s_tree_and_a_link_to_itself(bench: Bench, twins: Path) -> None:
    for dataset, name, kind in (
        ("cifar10", f"{PICKLED.folder}/data_batch_3", "pipe"),
        ("tiny-imagenet", f"{TOP}/val/val_annotations.txt", "pipe"),
        ("imagenette-160", "imagenette2-160/val", "pipe"),
        ("cifar10", f"{PICKLED.folder}/data_batch_1", "loop"),
        ("tiny-imagenet", f"{TOP}/train/loop", "loop"),
    ):
        path, aside = twins / dataset / name, twins / "aside"
        if path.exists():
            path.rename(aside)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name)
        for command in (("prepare", "mmap", dataset), ("run", "mmap", dataset)):
            done = bench(*command, "--data-dir", str(twins))
            assert (done.code, done.err.count("bench: ")) == (1, 1), (dataset, name, command, done.err)
            assert path.name in done.err, (dataset, name, command, done.err)
        if kind == "loop":
            assert (
                bench("datasets", "--data-dir", str(twins)).code == bench("doctor", "--data-dir", str(twins)).code == 0
            )
        path.unlink()
        if aside.exists():
            aside.rename(path)


def test_what_may_not_be_read_is_named_with_the_remedy(open_folder: Path) -> None:
    write_folder(RaggedSamples(20, seed=1), open_folder / "photos")
    found = survey(open_folder / "photos", 0.5)
    list(found.splits(FolderFiles(open_folder / "photos"), None)["train"].blocks())  # everything is imported
    remedy = "Permission denied; let this user read it, and every folder on the way to it"
    image = open_folder / "photos" / found.train.paths[0]
    image.chmod(0)
    with somebody_else():
        with pytest.raises(DataError, match=f"cannot read .*{image.name}: {remedy}"):
            list(found.splits(FolderFiles(open_folder / "photos"), None)["train"].blocks())
        with pytest.raises(DataError, match=f"cannot read .*{image.name}: {remedy}"):
            file_md5(image)
    for closed in (image.parent, open_folder / "photos"):
        for mode in (0, 0o600):  # may not be listed; may be listed but not entered
            closed.chmod(mode)
            with somebody_else(), pytest.raises(DataError, match=f"cannot read .*: {remedy}"):
                survey(open_folder / "photos", 0.5)
        closed.chmod(0o755)


def test_a_data_folder_that_may_not_be_entered_is_told_of_each_dataset(open_folder: Path) -> None:
    data = open_folder / "data"
    names = [name for name in SOURCES if name != "digits"]
    for name in SOURCES:
        (data / name).mkdir(parents=True)
        why_missing(name, data)
    data.chmod(0)
    try:
        with somebody_else():
            reasons = [why_missing(name, data) or "" for name in names]
            reasons.append(why_missing(f"folder:{data / 'photos'}", data) or "")
            with pytest.raises(DataError, match="let this user read it"):
                exists(data / "x")
    finally:
        data.chmod(0o755)
    assert all("Permission denied; let this user read it" in reason for reason in reasons)


def test_a_data_folder_that_is_none(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("nothing")
    (tmp_path / "file").touch()
    for name in ("loop", "nowhere", "file", "x" * 300):
        folder = ("--data-dir", str(tmp_path / name))
        assert bench("datasets", *folder).code == bench("doctor", *folder).code == 0, name
        done = bench("prepare", "mmap", "cifar10", *folder)
        assert (done.code, done.err.count("bench: ")) == (1, 1), (name, done.err)
        done = bench("fetch", "cifar10", "--synthetic", "--fraction", "0.002", *folder)
        assert (done.code, done.err.count("bench: ")) == (1, 1), (name, done.err)
        assert "choose a --data-dir" in done.err, name


def test_advice_on_what_is_no_folder_of_images(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file.jpg").touch()
    (tmp_path / "empty").mkdir()
    for name in ("file.jpg", "empty", "nothing"):
        done = bench("advise", str(tmp_path / name), "--budget", "10")
        assert (done.code, done.err.count("bench: ")) == (1, 1), done.err
        assert "FOLDER/CLASS/IMAGE" in done.err


def test_paths_are_shown_on_one_line() -> None:
    assert shown("a\nb\x1b[0m\u2028\udcff\u00a0\u0101") == "a\ufffdb\ufffd[0m\ufffd\ufffd\u00a0\u0101"
