"""Threads that share the samples of a batch, the caller's included."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_SLICES_PER_THREAD = 4


def default_threads() -> int:
    """The number of cores that this process may use, divided among DataLoader workers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "torch" not in sys.modules:  # nor can this be one of its workers; importing it takes seconds
        return cores
    from torch.utils.data import get_worker_info

    worker = get_worker_info()
    return max(1, cores // worker.num_workers) if worker is not None else cores


class Spread:
    """Runs a function for many samples on a few threads, which start at the first call."""

    def __init__(self, threads: int = 0) -> None:
        """Args: threads: their number; 0: one per usable core."""
        self.threads = threads or default_threads()
        self._pool = ThreadPoolExecutor(self.threads - 1, "decode") if self.threads > 1 else None

    def __call__(self, run: Callable[[range], None], count: int) -> None:
        """Call ``run`` for all of ``range(count)``, in slices that threads take when they are free.

        With equal shares a batch would wait for a thread whose core is busy. The first error is raised once all threads
        have stopped.
        """
        if self._pool is None or count < 2:
            run(range(count))
            return
        step = -(-count // (self.threads * _SLICES_PER_THREAD))
        slices = deque(range(i, min(i + step, count)) for i in range(0, count, step))

        def work() -> None:
            while True:
                try:
                    part = slices.popleft()
                except IndexError:  # testing first whether any is left would race
                    return
                run(part)

        helpers = [self._pool.submit(work) for _ in range(min(self.threads, len(slices)) - 1)]
        try:
            work()
        finally:
            slices.clear()
            failures = [helper.exception() for helper in helpers if not helper.cancel()]
        for failure in filter(None, failures):
            raise failure

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
