"""An accelerator that computes nothing and takes its time for it: in a CUDA device's place, on a virtual clock."""

from __future__ import annotations

import functools
import select
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch

from bench.config import RunConfig
from bench.measure.clocks import Queue
from bench.train.loop import Loop, Looped
from bench.train.transfer import Tensors, Transfer
from loaders import Batch, Indices, SplitInfo

_SPIN_NS = 200_000
"""How long before the end a sleeping host wakes up and looks at the clock instead: it would be woken up late."""
_let_others = functools.partial(select.poll().poll, 0)
"""Lets threads that read ahead have Python's lock, and comes back at once; ``sleep(0)`` would take 20 microseconds."""


class Moment(NamedTuple):
    """A point in a queue of the device; on ``time.perf_counter_ns``."""

    at: int
    wait: Callable[[int], None]

    def synchronize(self) -> None:
        """Block the host until the device has reached it."""
        self.wait(self.at)

    def elapsed_time(self, other: Moment, /) -> float:
        """Milliseconds until another one."""
        return (other.at - self.at) / 1e6


class EmulatedDevice:
    """Two queues, each known by the time at which it will have done its work. Only the host's waits are real.

    A copy to the device takes none of the time: what a real one takes of the host is the copy into its page-locked
    memory, which is made here, too. A host that sleeps lets the cores to the data path; one that spins, as a host
    thread of CUDA's may, lets go of Python's lock alone.
    """

    def __init__(self, images_per_s: float, wait: Literal["sleep", "spin"]) -> None:
        self.images_per_s = images_per_s
        self.late_ns: list[int] = []  # of each wait, how long after its end the host went on
        self._spins = wait == "spin"
        self._done = {"copies": 0, "computing": 0}

    def locked(self, size: int) -> torch.Tensor:
        """So many bytes of host memory."""
        return torch.empty(size, dtype=torch.uint8)

    def there(self, size: int) -> torch.Tensor:
        """The same; never touched, so that it takes no memory."""
        return torch.empty(size, dtype=torch.uint8)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """No copy."""

    def compute(self, images: int) -> None:
        """Queue a step, which takes as long as the speed says."""
        self._done["computing"] = self._time("computing") + round(images * 1e9 / self.images_per_s)

    def record(self, queue: Queue) -> Moment:
        """A point behind everything that is in the queue now."""
        return Moment(self._time(queue), self._wait_until)

    mark = record

    def hold(self, queue: Queue, event: object) -> None:
        """Let what is put into the queue from now on wait for the event."""
        assert isinstance(event, Moment)
        self._done[queue] = max(self._done[queue], event.at)

    def synchronise(self) -> None:
        """Wait until all is done."""
        self._wait_until(max(self._done.values()))

    def _time(self, queue: Queue) -> int:
        return max(self._done[queue], time.perf_counter_ns())

    def _wait_until(self, end: int) -> None:
        left = end - time.perf_counter_ns()
        if left <= 0:
            return
        if not self._spins and left > _SPIN_NS:
            time.sleep((left - _SPIN_NS) / 1e9)
        while (now := time.perf_counter_ns()) < end:
            _let_others()
        self.late_ns.append(now - end)


class Emulator:
    """An emulated accelerator in a trainer's place."""

    def __init__(self, config: RunConfig, images_per_s: float, split: SplitInfo) -> None:
        """Allocate the host's memory for batches of the training split; images of many sizes have an ``image_size``."""
        size, side = config.batch_size, config.image_size or 0
        shape = split.shape or (3, side, side)
        self.device = EmulatedDevice(images_per_s, config.wait)
        self.transfer = Transfer(self.device, config.in_flight)
        self.transfer.reserve((((size, *shape), torch.uint8), ((size,), torch.int64), ((3, size), torch.int32)))
        self._loop = Loop(self.transfer, self._step, self.device.synchronise, config.seed)

    def _step(self, there: Tensors, images: int) -> None:  # noqa: ARG002 - nothing is computed
        self.device.compute(images)

    def train_epoch(
        self, fetch: Callable[[], Iterator[Batch]], batches: Sequence[Indices], epoch: int, *, on_device: bool = False
    ) -> Looped:
        """Take every batch to the device once, for as long as its steps take; as `Trainer.train_epoch`."""
        return self._loop.epoch(fetch, batches, epoch, on_device=on_device)
