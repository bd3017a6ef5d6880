"""Whatever lies where a dataset's file should lie, it is a sentence with the remedy, and nothing is waited for."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import DataError
from bench.sources.cifar_layout import PICKLED, TarArchive
from bench.sources.extraction import extract
from bench.sources.fetch import download
from bench.sources.files import exists, file_md5, is_verified, read_bytes, shown, sole_writer, write_marker
from bench.sources.image_folder import Files, survey
from bench.sources.registry import SOURCES, open_source, why_missing
from bench.sources.tar_extraction import extract_tar
from bench.sources.tiny_layout import TOP, ZipTree
from loaders.testing import RaggedSamples, write_folder
from tests.command import Bench

pytestmark = pytest.mark.timeout(60)


def quiet(*_: object) -> None:
    """Progress that nobody sees."""


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

    archive = odd("archive.zip")
    for read in (
        lambda: read_bytes(archive, 100),
        lambda: file_md5(archive),
        lambda: extract(archive, tmp_path, TOP, quiet),
        lambda: extract_tar(archive, tmp_path, TOP, quiet),
        lambda: ZipTree(archive).sizes(),
        lambda: TarArchive(archive, "x").check(),
        lambda: TarArchive(archive, "x").has_marker(),
        lambda: is_verified(odd("tree/VERIFIED.json").parent, "", "", "tiny-imagenet"),
    ):
        with pytest.raises(DataError, match=r"not a regular file; put a regular file in its place"):
            read()
    with pytest.raises(DataError, match="marker is not a regular file; remove it"):
        write_marker(odd("marker"), {})
    odd("writing/.lock")
    with pytest.raises(DataError, match=r"\.lock is not a regular file; remove it"), sole_writer(tmp_path / "writing"):
        pass
    known = open_source("cifar10", tmp_path).archive
    assert known is not None
    odd(f"part/{known.name}.part")
    with pytest.raises(DataError, match=r"\.part is not a regular file; remove it"):
        download(known, tmp_path / "part", quiet)


@pytest.mark.parametrize("dataset", ["cifar10", "tiny-imagenet", "imagenette"])
def test_a_pipe_in_a_dataset_s_tree(bench: Bench, dataset: str) -> None:
    open_source(dataset, bench.data).make_twin(0.002, quiet)
    tree = next(path.parent for path in (bench.data / dataset).rglob("SYNTHETIC.json"))
    name = {"cifar10": "data_batch_3", "tiny-imagenet": "val/val_annotations.txt", "imagenette": "val"}[dataset]
    (tree / name).rename(tree / "aside")
    os.mkfifo(tree / name)
    done = bench("prepare", "mmap", dataset)
    assert (done.code, done.err.count("bench: ")) == (1, 1), done.err
    assert tree.name in done.err and name.rpartition("/")[2] in done.err
    assert bench("doctor").code == 0


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_what_may_not_be_read_is_named_with_the_remedy(open_folder: Path, kind: str) -> None:
    write_folder(RaggedSamples(20, seed=1), open_folder / "photos")
    survey(open_folder / "photos", 0.5)  # everything is imported
    found = survey(open_folder / "photos", 0.5)
    remedy = "Permission denied; let this user read it, and every folder on the way to it"
    image = open_folder / "photos" / found.train.paths[0]
    image.chmod(0)
    closed = image.parent if kind == "archive" else open_folder / "photos"
    with somebody_else():
        with pytest.raises(DataError, match=f"cannot read .*{image.name}: {remedy}"):
            list(Files(open_folder / "photos", found.train).blocks())
        with pytest.raises(DataError, match=f"cannot read .*{image.name}: {remedy}"):
            file_md5(image)
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


@pytest.mark.parametrize("kind", ["loop", "nowhere", "file", "long"])
def test_a_data_folder_that_is_none(bench: Bench, kind: str) -> None:
    if kind == "loop":
        bench.data.symlink_to(bench.data.name)
    elif kind == "nowhere":
        bench.data.symlink_to("nothing")
    elif kind == "file":
        bench.data.touch()
    folder = ("--data-dir", str(bench.data / ("x" * 300))) if kind == "long" else ()
    for command in ("datasets", "doctor"):
        assert bench(command, *folder).code == 0
    done = bench("prepare", "mmap", "cifar10", *folder)
    assert (done.code, done.err.count("bench: ")) == (1, 1), done.err
    done = bench("fetch", "cifar10", "--synthetic", "--fraction", "0.002", *folder)
    assert (done.code, done.err.count("bench: ")) == (1, 1), done.err
    assert "choose a --data-dir" in done.err


def test_links_to_themselves_in_the_trees_of_datasets(bench: Bench) -> None:
    cifar, tiny = bench.data / "cifar10" / PICKLED.folder, bench.data / "tiny-imagenet" / TOP
    for dataset, path in (("cifar10", cifar / "data_batch_1"), ("tiny-imagenet", tiny / "train" / "loop")):
        open_source(dataset, bench.data).make_twin(0.002, quiet)
        path.unlink(missing_ok=True)
        path.symlink_to(path.name)
        for command in (("prepare", "mmap", dataset), ("run", "mmap", dataset)):
            done = bench(*command)
            assert (done.code, done.err.count("bench: ")) == (1, 1), done.err
            assert path.name in done.err
    assert bench("datasets").code == bench("doctor").code == 0


def test_advice_on_what_is_no_folder_of_images(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file.jpg").touch()
    (tmp_path / "empty").mkdir()
    for name in ("file.jpg", "empty", "nothing"):
        done = bench("advise", str(tmp_path / name), "--budget", "10")
        assert (done.code, done.err.count("bench: ")) == (1, 1), done.err
        assert "FOLDER/CLASS/IMAGE" in done.err


def test_paths_are_shown_on_one_line() -> None:
    assert shown("a\nb\x1b[0m\u2028\udcff\u00a0\u0101") == "a\ufffdb\ufffd[0m\ufffd\ufffd\u00a0\u0101"
