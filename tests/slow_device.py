"""A device made of threads: each queue does its orders late and one after another, as a CUDA stream does."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import torch

from bench.measure.clocks import Queue
from bench.train.transfer import CudaDevice, Event

PATIENCE_S = 20.0


class Point:
    """An event that also notes the time."""

    def __init__(self, worker: Worker | None) -> None:
        self._worker = worker
        self._come = threading.Event()
        self._error: Exception | None = None
        self.at = 0.0

    def come(self) -> None:
        self.at = time.perf_counter()
        # Only what went wrong before the event is its error: what follows may already be under way when it is awaited.
        self._error = None if self._worker is None else self._worker.error
        self._come.set()

    @property
    def past(self) -> bool:
        return self._come.is_set()

    def synchronize(self) -> None:
        if not self._come.wait(PATIENCE_S):
            raise TimeoutError("the device hangs")
        if self._error is not None:
            raise self._error

    def elapsed_time(self, other: Point, /) -> float:
        return 1e3 * (other.at - self.at)


class Worker:
    """One queue. After an error nothing more is done, but events still come, so that nobody waits for ever."""

    def __init__(self) -> None:
        self.orders: queue.Queue[tuple[Callable[[], None], bool] | None] = queue.Queue()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def put(self, order: Callable[[], None], always: bool = False) -> None:
        self.orders.put((order, always))

    def _work(self) -> None:
        while (item := self.orders.get()) is not None:
            order, always = item
            if self.error is None or always:
                try:
                    order()
                except Exception as error:
                    self.error = error
            self.orders.task_done()
        self.orders.task_done()


class SlowDevice(CudaDevice):
    """In place of a CUDA device: its copies take their time.

    Attributes:
        gate: copies wait for it.
        sizes: bytes of each allocation: ``locked``, ``there``.
        copies: how many were queued; ``fail_at`` and ``break_at`` number one that is refused, or that fails later.
    """

    def __init__(self, seed: int = 0, longest_s: float = 0.001) -> None:
        self._random = random.Random(seed)
        self._longest_s = longest_s
        self.workers: dict[str, Worker] = {"copies": Worker(), "computing": Worker()}
        self.gate = threading.Event()
        self.gate.set()
        self.sizes: dict[str, list[int]] = {"locked": [], "there": []}
        self.copies = 0
        self.fail_at: int | None = None
        self.break_at: int | None = None

    def locked(self, size: int) -> torch.Tensor:
        self.sizes["locked"].append(size)
        return torch.full((size,), 0xEE, dtype=torch.uint8)

    def there(self, size: int) -> torch.Tensor:
        self.sizes["there"].append(size)
        return torch.full((size,), 0xDD, dtype=torch.uint8)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        number, delay = self.copies, self._delay()
        self.copies += 1
        if number == self.fail_at:
            raise RuntimeError("the copy was refused")

        def work() -> None:
            assert self.gate.wait(PATIENCE_S)
            time.sleep(delay)
            if number == self.break_at:
                raise RuntimeError("the copy broke")
            target.copy_(source)

        self.workers["copies"].put(work)

    def compute(self, work: Callable[[], None]) -> None:
        """Queue what reads a batch."""
        delay = self._delay()

        def late() -> None:
            time.sleep(delay)
            work()

        self.workers["computing"].put(late)

    def record(self, queue: Queue) -> Point:
        point = Point(self.workers[queue])
        self.workers[queue].put(point.come, always=True)
        return point

    mark = record

    def hold(self, queue: Queue, event: Event) -> None:
        self.workers[queue].put(event.synchronize)

    def idle(self) -> bool:
        """Whether every order has been carried out."""
        return all(worker.orders.unfinished_tasks == 0 for worker in self.workers.values())

    def _delay(self) -> float:
        return self._random.random() * self._longest_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        for worker in self.workers.values():
            worker.orders.put(None)
            worker.thread.join(PATIENCE_S)
            assert not worker.thread.is_alive()


class HostComputes(SlowDevice):
    """The same where the host itself is the queue of computing: the CPU has done its work when PyTorch returns."""

    def record(self, queue: Queue) -> Point:
        if queue == "copies":
            return super().record(queue)
        point = Point(None)
        point.come()
        return point

    mark: Any = record

    def hold(self, queue: Queue, event: Event) -> None:
        if queue == "copies":
            super().hold(queue, event)
        else:
            event.synchronize()
