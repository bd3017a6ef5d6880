"""Twins: the official layout, the same bytes every time, and never in the way of real data."""

from __future__ import annotations

import errno
import json
import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from bench.errors import DataError
from bench.sources import files, twins
from bench.sources.base import Source
from bench.sources.cifar10 import Cifar10
from bench.sources.files import MARKER, sole_writer
from bench.sources.registry import open_source
from bench.sources.rendering import Renderer
from bench.sources.tiny_imagenet import TOP, TinyImageNet
from loaders import StoreDataset, load, prepare_store
from loaders.testing import in_fork, take
from tests.refusals import refusal, silent


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(source: Source, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    blocks, _ = take(source.splits()[split], len(source.info().classes))
    return np.concatenate([b.images for b in blocks]), np.concatenate([b.labels for b in blocks])


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("data")
    TinyImageNet(data_dir).make_twin(0.004, silent)
    return data_dir


@pytest.fixture(scope="module")
def cifar_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("data")
    Cifar10(data_dir).make_twin(0.01, silent)
    return data_dir


def test_cifar10_twin_has_the_official_layout(cifar_dir: Path) -> None:
    source = Cifar10(cifar_dir)
    assert source.missing() is None
    info = source.info()
    assert (info.official, info.synthetic, info.classes[3]) == (False, True, "cat")
    for split, count in (("train", 500), ("test", 100)):
        _, labels = pixels(source, split)
        assert np.bincount(labels).tolist() == [count // 10] * 10
        assert (np.diff(labels) != 0).mean() > 0.5, "the labels are shuffled"
    marker = json.loads((source.folder / "cifar-10-batches-py" / MARKER).read_text())
    assert marker == {"synthetic": True, "fraction": 0.01, "generator_version": 1}
    with (source.folder / "cifar-10-batches-py" / "data_batch_2").open("rb") as file:
        batch = pickle.load(file, encoding="bytes")  # noqa: S301
    assert set(batch) == {b"batch_label", b"labels", b"data", b"filenames"}
    assert batch[b"batch_label"] == b"training batch 2 of 5"
    assert batch[b"data"].shape == (100, 3072)
    assert len(set(batch[b"filenames"])) == 100


def test_torchvision_reads_the_cifar10_twin_with_the_same_samples(
    cifar_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10, cifar

    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)  # the twin's checksums are not the official ones
    source = Cifar10(cifar_dir)
    for split in ("train", "test"):
        theirs = CIFAR10(source.folder, train=split == "train")
        images, labels = pixels(source, split)
        np.testing.assert_array_equal(theirs.data.transpose(0, 3, 1, 2), images)
        assert theirs.targets == labels.tolist()
    assert theirs.classes == list(source.info().classes)


def test_tiny_imagenet_twin_has_the_official_layout(tiny_dir: Path) -> None:
    source = TinyImageNet(tiny_dir)
    assert source.missing() is None
    info = source.info()
    assert (info.official, info.synthetic, len(info.classes)) == (False, True, 200)
    tree = source.folder / TOP
    train, labels = pixels(source, "train")
    assert train.shape == (400, 3, 64, 64)
    assert np.bincount(labels).tolist() == [2] * 200
    test, test_labels = pixels(source, "test")
    assert test.shape == (200, 3, 64, 64)
    assert sorted(test_labels.tolist()) == list(range(200))
    grey = (train[:, 0] == train[:, 1]).all(axis=(1, 2)) & (train[:, 0] == train[:, 2]).all(axis=(1, 2))
    assert 0.005 < grey.mean() < 0.05
    wnids = (tree / "wnids.txt").read_text().split()
    assert len(set(wnids)) == 200
    assert wnids != sorted(wnids)
    boxes = (tree / "train" / wnids[0] / f"{wnids[0]}_boxes.txt").read_text().splitlines()
    name, *corners = boxes[0].split("\t")
    x0, y0, x1, y1 = map(int, corners)
    assert (tree / "train" / wnids[0] / "images" / name).exists()
    assert 0 <= x0 < x1 < 64
    assert 0 <= y0 < y1 < 64


def test_jpeg_files_are_as_large_as_the_official_ones(tiny_dir: Path) -> None:
    (files,) = (block.files for block in TinyImageNet(tiny_dir).splits()["test"].blocks())
    assert files is not None
    assert 1600 < np.mean([len(file) for file in files]) < 2600
    assert simplejpeg.decode_jpeg_header(files[0])[:2] == (64, 64)


def test_twin_is_prepared_as_any_dataset(cifar_dir: Path, tmp_path: Path) -> None:
    source = Cifar10(cifar_dir)
    mmap = load("mmap").configured({})
    prepare_store(mmap, source.splits(), tmp_path / "store", dataset=source.info())
    images, labels = pixels(source, "test")
    with StoreDataset(mmap, tmp_path / "store", "test") as dataset:
        batch = dataset.batch(list(range(len(labels))))
    np.testing.assert_array_equal(batch.images.numpy(), images)
    np.testing.assert_array_equal(batch.labels.numpy(), labels)


def test_same_bytes_every_time_and_an_older_twin_is_replaced(tiny_dir: Path, tmp_path: Path) -> None:
    tiny, again = TinyImageNet(tiny_dir), TinyImageNet(tmp_path)
    again.make_twin(0.004, silent)
    assert content(again.folder) == content(tiny.folder)
    assert again.info() == tiny.info()
    assert {path.name for path in again.folder.iterdir()} == {".lock", TOP}
    first, second = Cifar10(tmp_path / "a"), Cifar10(tmp_path / "b")
    first.make_twin(0.001, silent)
    second.make_twin(0.002, silent)
    other = second.info()
    (second.folder / ".cifar-10-batches-py.partial" / "left by a killed process").mkdir(parents=True)
    second.make_twin(0.001, silent)
    assert content(first.folder) == content(second.folder)
    assert first.info() == second.info() != other
    assert {path.name for path in second.folder.iterdir()} == {".lock", "cifar-10-batches-py"}


def test_images_depend_on_class_split_and_number_alone() -> None:
    renderer = Renderer(32)
    many = renderer.render(3, 0, np.arange(200)).images
    np.testing.assert_array_equal(Renderer(32).render(3, 0, np.array([150, 7])).images, many[[150, 7]])
    assert len({image.tobytes() for image in many}) == 200
    assert (renderer.render(4, 0, np.arange(3)).images != many[:3]).any()
    assert (renderer.render(3, 1, np.arange(3)).images != many[:3]).any()
    assert renderer.render(3, 0, np.arange(0)).images.shape == (0, 32, 32, 3)


def test_classes_can_be_told_apart_but_not_by_one_pixel_mean() -> None:
    """A nearest-centroid classifier on colour means is above chance, and far from perfect."""
    renderer = Renderer(32)
    train = np.stack([renderer.render(c, 0, np.arange(200)).images.mean(axis=(1, 2)) for c in range(10)])
    test = np.stack([renderer.render(c, 1, np.arange(100)).images.mean(axis=(1, 2)) for c in range(10)])
    # Colour alone: the balance of the channels, without lightness.
    train, test = train - train.mean(axis=2, keepdims=True), test - test.mean(axis=2, keepdims=True)
    distance = ((test[:, :, None] - train.mean(axis=1)) ** 2).sum(axis=3)
    accuracy = (distance.argmin(axis=2) == np.arange(10)[:, None]).mean()
    assert 0.15 < accuracy < 0.6


def test_fraction_outside_its_range_is_refused(tmp_path: Path) -> None:
    for name in ("cifar10", "tiny-imagenet", "imagenette"):
        for fraction in (0.0, -1.0, 1.01, float("nan"), float("inf")):
            source = open_source(name, tmp_path)
            refused = refusal(source.make_twin, fraction, silent)
            assert f"UsageError: --fraction must be more than 0 and at most 1, not {fraction}" in refused, name
            assert not source.folder.exists(), name


def test_real_data_is_never_written_over(tmp_path: Path) -> None:
    for number, (name, real) in enumerate(
        [
            ("cifar10", "cifar-10-batches-py/data_batch_1"),
            ("cifar10", "cifar-10-batches-bin/data_batch_1.bin"),
            ("cifar10", "cifar-10-python.tar.gz"),
            ("cifar10", "cifar-10-binary.tar.gz"),
            ("tiny-imagenet", "tiny-imagenet-200/wnids.txt"),
            ("tiny-imagenet", "tiny-imagenet-200.zip"),
            ("imagenette-160", "imagenette2-160/train/x"),
            ("imagenette-160", "imagenette2-160.tgz"),
        ]
    ):
        source = open_source(name, tmp_path / str(number))
        (source.folder / real).parent.mkdir(parents=True)
        (source.folder / real).write_bytes(b"precious")
        refused = refusal(source.make_twin, 0.001, silent)
        assert "UsageError" in refused and "is not a twin, " in refused, (real, refused)
        assert refused.endswith("move it away or choose another --data-dir"), (real, refused)
        assert content(source.folder) == {real: b"precious", ".lock": b""}, real


@pytest.mark.parametrize("name", ["cifar10", "tiny-imagenet"])
def test_interrupt_leaves_nothing_and_keeps_an_older_twin(name: str, tmp_path: Path) -> None:
    def interrupt(_what: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    source = open_source(name, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        source.make_twin(0.002, interrupt)
    assert content(source.folder) == {".lock": b""}
    assert source.missing() is not None
    older = source.folder / ("cifar-10-batches-py" if name == "cifar10" else TOP)
    older.mkdir()
    (older / MARKER).write_text("{}")
    with pytest.raises(KeyboardInterrupt):
        source.make_twin(0.002, interrupt)
    assert content(older) == {MARKER: b"{}"}


@pytest.mark.parametrize("killed_at", [".tree.partial", ".tree.old"])
def test_a_kill_while_a_tree_is_replaced_loses_neither_tree(killed_at: str, tmp_path: Path) -> None:
    target = tmp_path / "tree"
    target.mkdir()
    (target / "older").touch()

    def replace() -> None:
        def die(event: str, values: tuple[Any, ...]) -> None:
            if event in ("os.rename", "shutil.rmtree") and str(values[0]).endswith(killed_at) and values[0].exists():
                os._exit(9)

        sys.addaudithook(die)
        with files.new_tree(target) as tree:
            (tree / "newer").touch()

    assert in_fork(replace) == 9
    assert target.exists() == (killed_at == ".tree.old")
    with pytest.raises(KeyboardInterrupt), files.new_tree(target):
        raise KeyboardInterrupt
    assert content(target) == {"newer" if killed_at == ".tree.old" else "older": b""}
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_disk_without_room_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))  # type: ignore[attr-defined]
    with pytest.raises(
        DataError, match=r"5\.0 MB free and 200\.0 MB are needed; free some, or ask for a smaller --fraction"
    ):
        Cifar10(tmp_path).make_twin(1.0, silent)


def test_disk_that_fills_up_a_file_as_data_dir_and_a_second_writer_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Cifar10(tmp_path)
    with sole_writer(source.folder):
        assert "UsageError: another process is writing" in refusal(source.make_twin, 0.001, silent)
    (tmp_path / "file").write_text("")
    assert "choose a --data-dir that is a folder" in refusal(Cifar10(tmp_path / "file").make_twin, 0.001, silent)

    def full(*_: Any) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(twins, "dump_python2", full)
    assert "No space left on device; free some space" in refusal(source.make_twin, 0.001, silent)
    assert content(source.folder) == {".lock": b""}
