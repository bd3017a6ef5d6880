"""A dataset's batches in a given order: in this process, ahead by a thread, or by worker processes."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from torch.utils.data import DataLoader, Sampler

from loaders.core.batch import Batch, BatchRequest, Indices, collate
from loaders.core.errors import OptionError
from loaders.reading.dataset import StoreDataset
from loaders.reading.handover import begin_worker, check_room, explained, is_lost_worker, lost_worker, shared_bytes

StartMethod = Literal["fork", "spawn"]


def epoch_order(count: int, seed: int, epoch: int) -> Indices:
    """A permutation of ``[0, count)`` that depends on seed and epoch alone; int64."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def cut(order: Indices, batch_size: int) -> list[Indices]:
    """The order in batches; the last one may be smaller, and none is dropped."""
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


class _Requests(Sampler[BatchRequest]):
    """What the DataLoader asks for; the requests of the coming epoch are put in from outside."""

    def __init__(self) -> None:
        self.requests: list[BatchRequest] = []

    def __iter__(self) -> Iterator[BatchRequest]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)


class BatchStream:
    """Delivers a dataset's batches in a given order.

    With 0 workers the dataset is read in this process, past the DataLoader; with ``prefetch`` a thread reads that many
    batches ahead. Nothing is read outside an epoch.
    """

    def __init__(
        self,
        dataset: StoreDataset,
        *,
        workers: int = 0,
        start_method: StartMethod = "fork",
        prefetch: int = 0,
        pin_memory: bool = False,
        size: int | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            dataset: what is read.
            workers: DataLoader worker processes; 0 reads in this process.
            start_method: how these start.
            prefetch: batches read ahead, by a thread or by each worker.
            pin_memory: let the workers' batches lie in page-locked memory.
            size: side of the square crops, of a store of images of many sizes.
        """
        most = dataset.caps.max_workers
        if most is not None and workers > most:
            raise OptionError(f"loader {dataset.name} takes at most {most} workers, not {workers}; lower --workers")
        self._dataset = dataset
        self._prefetch = prefetch
        self._size = size
        self._requests = _Requests()
        self._reading: Generator[Batch, None, None] | None = None
        self._loader: DataLoader[Any] | None = None
        self._room = 0  # bytes of shared memory that were there
        if workers:
            self._loader = DataLoader(
                dataset,
                batch_sampler=self._requests,  # type: ignore[arg-type]  # PyTorch's stub knows only lists
                num_workers=workers,
                prefetch_factor=prefetch or 2,
                persistent_workers=True,
                multiprocessing_context=start_method,
                pin_memory=pin_memory,
                collate_fn=collate,
                worker_init_fn=begin_worker,
            )

    def epoch(self, batches: list[Indices], *, seed: int = 0, epoch: int = 0, train: bool = False) -> Iterator[Batch]:
        """Read these batches, in this order, and nothing else.

        Raises:
            BackendError: a worker process died, or the shared memory has no room for the workers' batches.
            LoaderError: the store or its backend failed.
        """
        return self._read([BatchRequest(b, seed, epoch, self._size, train) for b in batches])

    def checksums(self, batches: list[Indices]) -> Iterator[Batch]:
        """The same, with the checksum of each whole image in its place, uint8 ``[B, 8]``, made where it is read."""
        return self._read([BatchRequest(b, checksums=True) for b in batches])

    def _read(self, requests: list[BatchRequest]) -> Iterator[Batch]:
        if self._loader is not None:
            self._requests.requests = requests
            self._check_room(requests, self._loader)
            if not self._dataset.caps.fork_safe:
                self._dataset.close()
            return explained(self._loader)
        dataset = self._dataset  # not through self: the reading thread would keep an abandoned stream alive
        read = (dataset.batch(request) for request in requests)
        self._reading = _ahead(read, self._prefetch) if self._prefetch else read
        return self._reading

    def _check_room(self, requests: list[BatchRequest], loader: DataLoader[Any]) -> None:
        shape, size = self._dataset.split_info.shape, self._size or self._dataset.size
        if shape is None:
            if size is None:
                return  # the first read says that
            shape = (3, size, size)
        count = max((len(request.indices) for request in requests), default=0)
        # All that the workers may read ahead, the one that has just come, and the one that is still being used.
        at_once = min(len(requests), loader.num_workers * (loader.prefetch_factor or 1) + 2)
        needed = at_once * shared_bytes(count * math.prod(shape), count * 8)
        needed += (loader.num_workers + 2) << 14  # what PyTorch keeps there itself: locks, a page each
        if needed > self._room:
            check_room(needed)
            self._room = needed

    def worker_pids(self) -> list[int]:
        """Process ids of the workers; none before the first batch is asked for."""
        iterator = None if self._loader is None else self._loader._iterator
        return [] if iterator is None else [worker.pid for worker in iterator._workers]  # type: ignore[attr-defined]

    def close(self) -> None:
        """End the worker processes or the reading thread, and wait for them."""
        if self._reading is not None:
            self._reading.close()
        if self._loader is not None:
            iterator = self._loader._iterator
            self._loader = None
            if iterator is not None:
                try:
                    iterator._shutdown_workers()  # type: ignore[attr-defined]  # PyTorch ends them only on collection
                except RuntimeError as error:
                    # A worker that was killed is noticed by a signal, here while the others are waited for; they are
                    # ended all the same, and whoever was reading has been told.
                    if not is_lost_worker(error):
                        raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        # PyTorch notices a dead worker by a signal, and raises in whatever the main thread is just doing.
        if error is not None and is_lost_worker(error):
            raise lost_worker(error) from error


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _ahead(batches: Iterator[Batch], depth: int) -> Generator[Batch, None, None]:
    """Read ahead on a thread, at most ``depth`` batches; ends the thread when the reader stops early."""
    slots: queue.Queue[Batch | _Failure | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: Batch | _Failure | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                slots.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:
            put(_Failure(error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := slots.get()) is not None:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join()
