"""What workers hand over: a small shared memory is refused or told of, and no death of a worker is waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

import loaders
from loaders import BackendError, BatchStream, cut, epoch_order, load
from loaders.reading.handover import SHARED_MEMORY, check_room, explained
from loaders.testing import INFO, Samples, in_fork
from tests.command import Bench
from tests.private_mount import with_private_mount
from tests.stores import open_store, store_samples
from tests.test_pgserver import alive, wait_until


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "store"
    store_samples(load("mmap"), {"train": Samples(200, (3, 32, 32))}, folder, dataset=INFO)
    return folder


def with_shared_memory(size: str, work: Callable[[], None]) -> None:
    """Run in a forked process that sees a /dev/shm of its own, of this size."""
    with_private_mount(SHARED_MEMORY, size, work)


def fill() -> None:
    with (SHARED_MEMORY / "filler").open("ab", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_the_command_line_refuses_what_does_not_fit(bench: Bench) -> None:
    def work() -> None:
        done = bench("run", "mmap", "digits", "--limit", "256", "--epochs", "1", "--workers", "2")
        assert done.code == 1, done
        *_, said = done.err.splitlines()
        assert said.startswith("bench: the workers' batches need 0.5 MB of shared memory and /dev/shm has 0.1 MB free;")
        assert "--shm-size=" in said
        assert "--workers 0" in said
        assert "Traceback" not in done.err

    with_shared_memory("64k", work)


def test_what_fits_runs(location: Path) -> None:
    def work() -> None:
        with open_store(load("mmap"), location, "train") as dataset, BatchStream(dataset, workers=2) as stream:
            for epoch in range(20):  # batches are let go of: the room is used again
                read = sum(len(batch.labels) for batch in stream.epoch(cut(epoch_order(200, 0, epoch), 10)))
                assert read == 200
            with pytest.raises(BackendError, match=r"batches need 0\.\d MB of shared memory"):
                stream.epoch(cut(epoch_order(200, 0, 0), 100)[:2])

    with_shared_memory("300k", work)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_shared_memory_that_others_fill_is_one_sentence(
    location: Path, start_method: Literal["fork", "spawn"]
) -> None:
    def work() -> None:
        with (
            pytest.raises(BackendError, match=r"could not hand over a batch \(.*No space left.*--shm-size") as caught,
            open_store(load("mmap"), location, "train") as dataset,
            BatchStream(dataset, workers=2, start_method=start_method) as stream,
        ):
            for number, _ in enumerate(stream.epoch(cut(epoch_order(200, 0, 0), 5))):
                if number:  # again and again: a batch that was let go of makes room for another
                    fill()
        assert "\n" not in str(caught.value)

    with_shared_memory("1m", work)


class Tensors(Dataset[Any]):
    """Images as tensors, which PyTorch hands over in shared memory, one by one."""

    classes = ("one",)

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self._act = act

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if index == 200 and get_worker_info() is not None:
            self._act()
        return torch.full((3, 16, 16), index, dtype=torch.uint8), 0


def test_a_preparation_with_workers_needs_no_shared_memory(tmp_path: Path) -> None:
    """Its samples are arrays by the time that they are handed over, and those travel by pipe."""

    def work() -> None:
        info = loaders.prepare({"train": Tensors()}, "mmap", tmp_path / "store", workers=2)
        assert info.samples == 256

    with_shared_memory("64k", work)


def test_a_preparation_is_told_of_a_worker_s_death(tmp_path: Path) -> None:
    dying = Tensors(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(BackendError, match="a worker process was lost"):
        loaders.prepare({"train": dying}, "mmap", tmp_path / "store", workers=2)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (signal.SIGBUS, r"more room \(docker run --shm-size=1g\), or use --workers 0"),
        (signal.SIGKILL, "memory"),
    ],
)
def test_the_remedy_is_that_of_the_signal(location: Path, number: int, remedy: str) -> None:
    with (
        pytest.raises(BackendError, match=f"a worker process was lost.*{remedy}"),
        open_store(load("mmap"), location, "train") as dataset,
        BatchStream(dataset, workers=2) as stream,
    ):
        for at, _ in enumerate(stream.epoch(cut(epoch_order(200, 0, 0), 1))):
            if at == 1:
                os.kill(stream.worker_pids()[0], number)


class Raising(Dataset[Any]):
    """One whose own code goes wrong."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "workers"), [(EOFError("cut"), 0), (EOFError("cut"), 1), (RuntimeError("shape is invalid"), 1)], ids=repr
)
def test_what_a_dataset_raises_is_not_a_lost_worker(error: Exception, workers: int) -> None:
    with pytest.raises(type(error), match=str(error)):
        list(explained(DataLoader(Raising(error), num_workers=workers)))


def test_workers_of_a_program_that_is_killed_as_they_start_end(location: Path, tmp_path: Path) -> None:
    """PyTorch's own watch begins late: it takes whoever is the parent then for the one that may be lost."""

    def work() -> None:
        with open_store(load("mmap"), location, "train") as dataset:
            stream = BatchStream(dataset, workers=2, start_method="spawn")
            stream.epoch(cut(epoch_order(200, 0, 0), 10))
            (tmp_path / "pids").write_text(" ".join(map(str, stream.worker_pids())))
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_fork(work) == -signal.SIGKILL
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    try:
        assert wait_until(lambda: not any(alive(pid) for pid in pids), 60)
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def test_where_there_is_no_shared_memory_nothing_is_checked(tmp_path: Path) -> None:
    check_room(1 << 60, tmp_path / "nowhere")
    with pytest.raises(BackendError, match="or use fewer --workers or --workers 0"):
        check_room(1 << 60, tmp_path)
