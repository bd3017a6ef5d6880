"""Batches from worker processes: checks shared memory, and reports a lost batch or worker in one sentence."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, TypeVar

from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader

from loaders.core.errors import BackendError, LoaderError
from loaders.store.space import in_words

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's shared memory; no file is created by name
T = TypeVar("T")


def shared_bytes(*sizes: int) -> int:
    """Bytes of shared memory for tensors of these sizes in bytes, each in pages of its own."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(-(-size // page) * page for size in sizes)


def check_room(needed: int, folder: Path = SHARED_MEMORY) -> None:
    """Raise BackendError unless the shared memory has ``needed`` bytes, for all batches that may wait at once.

    Without the folder nothing is checked.
    """
    if not folder.exists():
        return
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise BackendError(
            f"the workers' batches need {in_words(needed)} of shared memory and {folder} has {in_words(free)} free; "
            f"give it more (docker run --shm-size={max(256, needed >> 19)}m), or use fewer --workers or --workers 0"
        )


def begin_worker(_: int) -> None:
    """Run first in each worker: exits if the parent has ended, and reports a batch that cannot be handed over.

    Python's queue only prints an error on its thread, and the parent would wait for that batch forever.
    """
    parent = parent_process()
    if parent is not None and parent.pid != os.getppid():  # PyTorch checks this only later
        os._exit(1)
    Queue._on_queue_feeder_error = _hand_over_error  # type: ignore[attr-defined]  # meant to be overridden


def _hand_over_error(queue: Queue[Any], error: Exception, item: Any) -> None:
    """Put the error into the queue in place of the batch: an item is a request's number and its batch."""
    lost = BackendError(f"a worker process could not hand over a batch ({_first_line(error)}); {_remedy(str(error))}")
    queue.put((item[0], ExceptionWrapper((BackendError, lost, None))))


def explained(loader: DataLoader[T]) -> Iterator[T]:
    """The items of a loader; the death of a worker is one sentence. Workers start now, not at the first `next`.

    Raises:
        BackendError: a worker process died, or could not hand something over.
        LoaderError: a worker raised it.
    """
    workers: list[Any] = []
    with _in_one_sentence(workers):
        batches: Any = iter(loader)
        workers += getattr(batches, "_workers", ())

    def give() -> Iterator[T]:
        try:
            with _in_one_sentence(workers):
                yield from batches
        finally:
            if workers and not loader.persistent_workers:
                batches._shutdown_workers()  # else only on garbage collection

    return give()


@contextlib.contextmanager
def _in_one_sentence(workers: list[Any]) -> Iterator[None]:
    try:
        yield
    except LoaderError as error:
        if not workers:
            raise
        # PyTorch raises it again with the worker's whole traceback as its message; the sentence is the last line.
        last = str(error).rstrip().splitlines()[-1]
        raise type(error)(last.partition(f"{type(error).__name__}: ")[2] or last) from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        # The connection breaks if a worker dies while it hands over a batch.
        broken = workers and not isinstance(error, RuntimeError) and not str(error).startswith("Caught ")
        if not (broken or is_lost_worker(error)):
            raise
        raise lost_worker(error, workers) from error


def is_lost_worker(error: BaseException | None) -> bool:
    """Whether PyTorch reports a dead worker; an exception in a worker is not one."""
    # The thread that page-locks batches ends with a worker's death.
    reports = ("DataLoader worker (pid", "Pin memory thread exited")
    return isinstance(error, RuntimeError) and str(error).startswith(reports)


def lost_worker(error: BaseException, workers: Sequence[Any] = ()) -> BackendError:
    """The sentence for a dead worker; the error does not always name the signal."""
    if workers:
        wait([worker.sentinel for worker in workers], timeout=1)  # its connection breaks before it has ended
    cause = "Bus error" if any(worker.exitcode == -signal.SIGBUS for worker in workers) else str(error)
    return BackendError(f"a worker process was lost ({_first_line(error)}); {_remedy(cause)}")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(" .")


def _remedy(reason: str) -> str:
    if "Bus error" in reason or "No space left" in reason:
        return f"give {SHARED_MEMORY} more room (docker run --shm-size=1g), or use --workers 0"
    if "Too many open files" in reason:
        return "raise the limit by ulimit -n, or use fewer --workers"
    return "free memory or use fewer --workers"
