"""Order, and every way of getting batches: in process, ahead by a thread, by worker processes."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loaders import BackendError, BatchStream, Caps, OptionError, StoreDataset, StoreError, cut, epoch_order, load
from loaders.testing import INFO, make_splits
from tests.stores import open_store, store_samples

SAMPLES = make_splits()


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "store"
    store_samples(load("mmap"), SAMPLES, folder, dataset=INFO)
    return folder


@pytest.fixture
def dataset(location: Path) -> Iterator[StoreDataset]:
    with open_store(load("mmap"), location, "train") as opened:
        yield opened


@given(st.integers(0, 500), st.integers(0, 2**40), st.integers(0, 100), st.integers(1, 64))
def test_an_epoch_visits_each_sample_once(count: int, seed: int, epoch: int, size: int) -> None:
    order = epoch_order(count, seed, epoch)
    batches = cut(order, size)
    assert sorted(np.concatenate([*batches, np.empty(0, int)]).tolist()) == list(range(count))
    assert all(len(batch) == size for batch in batches[:-1])
    assert np.array_equal(order, epoch_order(count, seed, epoch))


def test_order_depends_on_seed_and_epoch() -> None:
    assert len({tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.parametrize("how", [{}, {"prefetch": 3}, {"workers": 2, "prefetch": 4}], ids=str)
def test_every_way_gives_the_same_batches(dataset: StoreDataset, how: dict[str, Any]) -> None:
    with BatchStream(dataset, **how) as stream:
        for epoch in range(3):  # persistent workers are asked anew each time
            batches = cut(epoch_order(41, 0, epoch), 8)
            got = list(stream.epoch(batches, epoch=epoch))
            assert len(got) == 6
            for indices, batch in zip(batches, got, strict=True):
                images, labels = SAMPLES["train"].expect(indices.tolist())
                assert torch.equal(batch.images, images)
                assert torch.equal(batch.labels, labels)


def test_indices_of_any_kind_give_what_a_batch_of_them_gives(dataset: StoreDataset) -> None:
    kinds: list[Any] = [[0, 1], np.arange(6)[::2], np.array([-1]), [], np.array([3], np.int32), np.arange(4)]
    with BatchStream(dataset) as stream:
        for got, indices in zip(stream.epoch(kinds), kinds, strict=True):
            assert all(torch.equal(*pair) for pair in zip(got, dataset.batch(indices), strict=True)), indices
        batches = stream.epoch([np.arange(3), np.array([10**9])])
        assert torch.equal(next(batches).labels, dataset.batch([0, 1, 2]).labels), "what comes before a wrong one"
        with pytest.raises(IndexError, match="index 1000000000 is out of range"):
            next(batches)


def test_an_early_stop_leaves_no_thread(dataset: StoreDataset) -> None:
    for prefetch in (0, 1, 5):
        epoch = BatchStream(dataset, prefetch=prefetch).epoch(cut(epoch_order(41, 0, 0), 2))
        next(epoch)
        del epoch
        gc.collect()
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]
        assert not left, prefetch


def test_read_ahead_raises_in_the_reader_s_thread(dataset: StoreDataset) -> None:
    with pytest.raises(IndexError, match="out of range"):
        list(BatchStream(dataset, prefetch=2).epoch([np.array([0]), np.array([99])]))


def test_an_error_in_a_worker_stays_one_sentence(location: Path, tmp_path: Path) -> None:
    dataset = open_store(load("mmap"), tmp_path / "nowhere", "train")
    with BatchStream(dataset, workers=1) as stream, pytest.raises(StoreError) as caught:
        list(stream.epoch([np.array([0])]))
    assert str(caught.value).startswith("no prepared store at")
    assert "\n" not in str(caught.value)


def test_a_killed_worker_is_one_sentence(dataset: StoreDataset) -> None:
    with pytest.raises(BackendError, match="a worker process was lost"), BatchStream(dataset, workers=1) as stream:
        for number, _ in enumerate(stream.epoch(cut(epoch_order(41, 0, 0), 1))):
            if number == 1:
                os.kill(stream.worker_pids()[0], signal.SIGKILL)


def test_closing_ends_the_workers(dataset: StoreDataset) -> None:
    stream = BatchStream(dataset, workers=2)
    assert stream.worker_pids() == []
    next(stream.epoch(cut(epoch_order(41, 0, 0), 8)))
    workers = stream.worker_pids()
    assert len(set(workers)) == 2
    assert all(psutil.pid_exists(pid) for pid in workers)
    stream.close()
    assert not any(psutil.pid_exists(pid) for pid in workers)
    assert stream.worker_pids() == []


def test_a_loader_without_workers_says_so(dataset: StoreDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(dataset.format), "caps", Caps(max_workers=0))
    with pytest.raises(OptionError, match="takes at most 0 workers, not 2"):
        BatchStream(dataset, workers=2)
