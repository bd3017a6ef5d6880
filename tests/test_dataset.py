"""What the dataset does for every format: once, over a format of one size and one of many."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split

from loaders import (
    Batch,
    BatchRequest,
    Caps,
    Indices,
    LoaderError,
    LoaderFaultError,
    OptionError,
    Payloads,
    Reader,
    Rows,
    Sample,
    StoreDataset,
    StoreError,
    load,
    read_manifest,
)
from loaders.store.manifest import MANIFEST, write_manifest
from loaders.testing import (
    INFO,
    SIZE,
    Breaking,
    Interruption,
    assert_same,
    beside,
    die,
    in_fork,
    interrupt,
    make_splits,
)
from tests.stores import open_store, store_samples

MMAP = load("mmap")


class Stored(NamedTuple):
    location: Path
    samples: dict[str, Any]

    def open(self, split: str = "train") -> StoreDataset:
        return open_store(MMAP, self.location, split, size=SIZE)


@pytest.fixture(scope="module", params=["raw", "ragged"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    location, samples = tmp_path_factory.mktemp("dataset") / "store", make_splits(request.param)
    store_samples(MMAP, samples, location)
    return Stored(location, samples)


def joined(batches: list[Batch]) -> Batch:
    return Batch(torch.cat([b.images for b in batches]), torch.cat([b.labels for b in batches]))


def test_refuses_what_a_list_would(store: Stored) -> None:
    bad: Any
    with store.open() as dataset:
        for bad in ([41], [0, -42], [3, 2**40], [-(2**63)]):
            with pytest.raises(IndexError, match="out of range for 41 samples"):
                dataset.batch(bad)
            with pytest.raises(IndexError):
                dataset[bad[-1]]
        for bad in ([0.5], ["1"], [[1, 2]], 3):
            with pytest.raises(TypeError):
                dataset.batch(bad)


def test_takes_every_kind_of_index(store: Stored) -> None:
    expected = store.samples["train"].expect([3, 1, 2])
    kinds: list[Any] = [
        [3, 1, 2],
        (3, 1, 2),
        np.array([3, 1, 2], np.int32),
        np.array([3, 1, 2], np.uint8),
        torch.tensor([3, 1, 2]),
        BatchRequest(np.array([3, 1, 2])),
    ]
    with store.open() as dataset:
        for indices in kinds:
            assert_same(dataset.batch(indices), expected)
            (batch,) = dataset.__getitems__(indices)
            assert_same(batch, expected)


def test_gives_single_samples(store: Stored) -> None:
    with store.open() as dataset:
        for index in (0, 17, -1):
            sample = dataset[index]
            images, labels = store.samples["train"].expect([index])
            assert isinstance(sample, Sample)
            assert torch.equal(sample.image, images[0])
            assert sample.label == int(labels[0])


def test_works_in_pytorch_s_own_tools(store: Stored) -> None:
    with store.open() as train, store.open("test") as test:
        everything = store.samples["train"].expect(list(range(41)))
        batches: list[Batch] = list(DataLoader(train, batch_size=10))
        assert all(isinstance(batch, Batch) for batch in batches)
        assert_same(joined(batches), everything)
        part = Subset(train, [4, 9, 1])
        assert_same(next(iter(DataLoader(part, batch_size=3))), store.samples["train"].expect([4, 9, 1]))
        first, _ = random_split(train, [10, 31], torch.Generator().manual_seed(0))
        assert len(next(iter(DataLoader(first, batch_size=10))).labels) == 10
        both = list(DataLoader(ConcatDataset([test, train]), batch_size=20))
        assert len(both) == 3
        assert torch.equal(joined(both).labels[13:], everything[1])
    workers: Any = DataLoader(store.open(), batch_size=8, num_workers=2, multiprocessing_context="fork")
    assert_same(joined(list(workers)), everything)


def test_images_of_many_sizes_need_a_size(store: Stored) -> None:
    if store.samples["train"].shape is None:
        with (
            open_store(MMAP, store.location) as dataset,
            pytest.raises(OptionError, match="have many sizes; give size"),
        ):
            dataset.batch([0])


def test_refuses_an_unknown_split(store: Stored) -> None:
    with pytest.raises(StoreError, match="no split 'validation'"):
        store.open("validation").open()


def test_refuses_a_foreign_store(tmp_path: Path) -> None:
    location = tmp_path / "store"
    for key, value, message in (
        ("format_version", 99, "format version 99"),
        ("loader", "another", "written by loader another"),
        ("options", {"strange": 1}, "was prepared with"),
        ("prepare_s", 1e9, "was changed after it was written"),
    ):
        store_samples(MMAP, make_splits(), location)
        changed = read_manifest(location).model_copy(update={key: value})
        write_manifest(changed, location)
        if key == "prepare_s":
            (location / MANIFEST).write_text(changed.model_dump_json(), encoding="utf-8")
        with pytest.raises(StoreError, match=message):
            open_store(MMAP, location).open()
        (location / MANIFEST).unlink()
        with pytest.raises(StoreError, match=f"is no store, it has no {MANIFEST}; remove it"):
            open_store(MMAP, location).open()
        (location / MANIFEST).write_bytes(b"{}")


def test_two_prepares_at_once_refuse_each_other(tmp_path: Path) -> None:
    samples, refusals = make_splits(), []

    def second() -> None:
        with pytest.raises(StoreError, match="another process is preparing"):
            store_samples(MMAP, samples, tmp_path / "store")
        refusals.append(1)

    store_samples(MMAP, {**samples, "test": Breaking(samples["train"], second)}, tmp_path / "store")
    assert refusals == [1]


@pytest.mark.parametrize("source", ["raw", "jpeg", "ragged"])
def test_refuses_samples_that_are_not_as_announced(tmp_path: Path, source: Any) -> None:
    wrong = make_splits(source)["train"]
    wrong.labels = wrong.labels.copy()
    wrong.labels[20] = 99
    with pytest.raises(LoaderError, match="label outside"):
        store_samples(MMAP, {"train": wrong}, tmp_path / "store")
    if source != "raw":
        broken = make_splits(source)["train"]
        broken.files = [*broken.files[:-1], b"not a JPEG"]
        with pytest.raises(LoaderError, match=r"40\.jpg"):
            store_samples(MMAP, {"train": broken}, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("broken", ["train", "test"])
@pytest.mark.parametrize(("source", "encoding"), [("raw", "raw"), ("jpeg", "jpeg"), ("ragged", "jpeg")])
def test_a_killed_prepare_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Any, encoding: str, broken: str
) -> None:
    """What was done is not done again, and the store is the same file by file as if nothing had happened."""
    monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
    samples, options = make_splits(source), {"encoding": encoding}
    samples["test"] = samples["test"].again(35, seed=3)
    location, whole = tmp_path / "broken" / "store", tmp_path / "whole"
    unbroken = store_samples(MMAP, samples, whole, options)
    breaking = {**samples, broken: Breaking(samples[broken], die)}
    assert in_fork(lambda: store_samples(MMAP, breaking, location, options)) == -signal.SIGKILL
    done: list[int] = []
    info = store_samples(MMAP, samples, location, options, progress=done.append)
    assert (info.attempts, info.splits) == (2, unbroken.splits)
    assert (done[0], sum(done)) == (32 if broken == "train" else 41, 41 + 35)
    files = {path.name for path in whole.iterdir()} - {MANIFEST}
    assert files == {path.name for path in location.iterdir()} - {MANIFEST}
    for name in files:
        assert (whole / name).read_bytes() == (location / name).read_bytes(), name
    assert beside(location) == []


def test_what_another_prepare_left_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
    samples = make_splits()
    with pytest.raises(Interruption):
        store_samples(MMAP, {**samples, "train": Breaking(samples["train"], interrupt)}, tmp_path / "store")
    other = {name: split.again(len(split), seed=9) for name, split in samples.items()}
    about = INFO.model_copy(update={"fingerprint": "2"})
    assert store_samples(MMAP, other, tmp_path / "store", dataset=about).attempts == 1
    with open_store(MMAP, tmp_path / "store") as dataset:
        assert_same(dataset.batch([0, 40]), other["train"].expect([0, 40]))


class Told(Reader):
    """Notes what happens to it, and gives rows, or bytes of them, with labels of its own."""

    def __init__(self, samples: Any, payloads: bool) -> None:
        self.samples, self.payloads, self.events = samples, payloads, list[tuple[str, int]]()

    def fetch(self, indices: Indices) -> Rows | Payloads:
        images, labels = self.samples.images[indices], self.samples.labels[indices]
        return (
            Payloads(lambda i: images[i].tobytes()[: 576 - (indices[i] == 7)], labels)
            if self.payloads
            else Rows(images)
        )

    def after_fork(self) -> None:
        self.events.append(("after_fork", os.getpid()))

    def close(self) -> None:
        self.events.append(("close", os.getpid()))


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[StoreDataset, Told]:
    samples = make_splits()
    store_samples(MMAP, samples, tmp_path / "store")
    reader = Told(samples["train"], payloads=True)
    monkeypatch.setattr(MMAP, "open", lambda *_: reader)
    return open_store(MMAP, tmp_path / "store"), reader


def test_an_inherited_reader_is_told_of_the_fork_and_never_closed(told: tuple[StoreDataset, Told]) -> None:
    dataset, reader = told
    dataset.batch([0])

    def child() -> None:
        dataset.batch([1])
        assert reader.events == [("after_fork", os.getpid())]
        dataset.close()
        assert reader.events[1:] == [("close", os.getpid())]  # of the reader that it opened itself

    assert in_fork(child) == 0
    dataset.close()
    assert reader.events == [("close", os.getpid())]


def test_bytes_of_a_sample_that_are_too_few_are_named(told: tuple[StoreDataset, Told]) -> None:
    dataset, reader = told
    assert_same(dataset.batch([8, 3]), reader.samples.expect([8, 3]))
    with pytest.raises(StoreError, match=r"image 7 of the train split in .* has 575 bytes instead of 576; remove"):
        dataset.batch([8, 7, 3])
    dataset.close()


def test_labels_that_nobody_gives_or_that_are_no_class(told: tuple[StoreDataset, Told]) -> None:
    dataset, reader = told
    reader.samples.labels[5] = 99
    with pytest.raises(StoreError, match=r"label of sample 5 of the train split in .* is 99, outside 0\.\.6"):
        dataset.batch([4, 5])
    reader.payloads = False
    with pytest.raises(LoaderFaultError, match="loader mmap gave no labels; this is a fault of the loader"):
        dataset.batch([4])
    dataset.close()


def test_a_format_that_cannot_fork_open_is_closed_before_workers_start(
    told: tuple[StoreDataset, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    from loaders import BatchStream

    dataset, reader = told
    monkeypatch.setattr(MMAP, "caps", Caps(fork_safe=False))
    dataset.batch([0])
    with BatchStream(dataset, workers=1) as stream:
        (batch,) = stream.epoch([np.array([3, 1])])
        assert_same(batch, reader.samples.expect([3, 1]))
        assert reader.events == [("close", os.getpid())]
