"""Reads a dataset's batches in a given order: in this process, ahead on a thread, or in worker processes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Self

import numpy as np
from torch.utils.data import DataLoader

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


class BatchStream:
    """Delivers a dataset's batches in a given order.

    With 0 workers the dataset is read in this process without a DataLoader; with ``prefetch`` a thread reads that many
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
            dataset: the dataset to read.
            workers: number of DataLoader worker processes; 0 reads in this process.
            start_method: how they are started.
            prefetch: batches read ahead, by a thread or by each worker.
            pin_memory: copy the workers' batches into page-locked memory.
            size: side of the square crops in pixels, of images of many sizes.
        """
        most = dataset.caps.max_workers
        if most is not None and workers > most:
            raise OptionError(f"loader {dataset.name} takes at most {most} workers, not {workers}; lower --workers")
        self._dataset, self._prefetch, self._size = dataset, prefetch, size
        self._requests: list[BatchRequest] = []  # of the current epoch; the DataLoader reads this very list
        self._reading: Generator[Batch, None, None] | None = None
        self._loader: DataLoader[Any] | None = None
        self._room = 0  # bytes of shared memory that were available
        if workers:
            self._loader = DataLoader(
                dataset,
                batch_sampler=self._requests,  # type: ignore[arg-type]  # PyTorch's stub knows only lists of int
                num_workers=workers,
                prefetch_factor=prefetch or 2,
                persistent_workers=True,
                multiprocessing_context=start_method,
                pin_memory=pin_memory,
                collate_fn=collate,
                worker_init_fn=begin_worker,
            )

    def epoch(self, batches: list[Indices], *, seed: int = 0, epoch: int = 0, train: bool = False) -> Iterator[Batch]:
        """Read these batches in this order.

        Raises:
            BackendError: a worker process died, or the shared memory has no room for the workers' batches.
            LoaderError: the store or its backend failed.
        """
        return self._read([BatchRequest(b, seed, epoch, self._size, train) for b in batches])

    def checksums(self, batches: list[Indices]) -> Iterator[Batch]:
        """The same, with a checksum of each whole image in its place, uint8 ``[B, 8]``, computed where it is read."""
        return self._read([BatchRequest(b, checksums=True) for b in batches])

    def _read(self, requests: list[BatchRequest]) -> Iterator[Batch]:
        if self._loader is not None:
            self._requests[:] = requests
            self._check_room(requests, self._loader)
            if not self._dataset.caps.fork_safe:
                self._dataset.close()
            return explained(self._loader)
        # Of the dataset, not of this stream: the reading thread would keep an abandoned stream alive.
        read = self._dataset.batches(requests)
        self._reading = _ahead(read, self._prefetch) if self._prefetch else read
        return self._reading

    def _check_room(self, requests: list[BatchRequest], loader: DataLoader[Any]) -> None:
        shape, size = self._dataset.split_info.shape, self._size or self._dataset.size
        if shape is None:
            if size is None:
                return  # the first read raises an error
            shape = (3, size, size)
        count = max((len(request.indices) for request in requests), default=0)
        # What the workers may read ahead, the batch that was just received, and the one that is still in use.
        at_once = min(len(requests), loader.num_workers * (loader.prefetch_factor or 1) + 2)
        needed = at_once * shared_bytes(count * math.prod(shape), count * 8)
        needed += (loader.num_workers + 2) << 14  # what PyTorch keeps there itself: locks, a page each
        if needed > self._room:
            check_room(needed)
            self._room = needed

    def worker_pids(self) -> list[int]:
        """Process ids of the workers; none before the first batch is requested."""
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
                    iterator._shutdown_workers()  # type: ignore[attr-defined]  # else only on garbage collection
                except RuntimeError as error:
                    # PyTorch reports a killed worker here again while it waits for the others; they end nevertheless.
                    if not is_lost_worker(error):
                        raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        self.close()
        # PyTorch notices a dead worker by a signal, and raises in whatever the main thread executes.
        if error is not None and is_lost_worker(error):
            raise lost_worker(error) from error


def _ahead(batches: Iterator[Batch], depth: int) -> Generator[Batch, None, None]:
    """Read at most ``depth`` batches ahead on a thread, which ends with this generator."""
    thread = ThreadPoolExecutor(1, "prefetch")
    try:
        waiting = deque(thread.submit(next, batches, None) for _ in range(depth))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, batches, None))
            yield batch
    finally:
        thread.shutdown(cancel_futures=True)
