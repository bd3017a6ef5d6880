"""The epochs of one run: opening, warming or evicting before them, measuring during them, evaluating after them."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from bench.config import RunConfig
from bench.measure.cache import CacheWatch
from bench.measure.gpu.nvml import GpuSampler
from bench.measure.processes import MachineTime, MemorySampler, cpu_seconds, disk_read_bytes, machine_time
from bench.records import EpochPart
from bench.run.reading import Reading
from bench.train.emulated import Emulator
from bench.train.trainer import EpochResult, Trainer
from loaders import Indices, StoreInfo, cut, epoch_order

N = TypeVar("N", int, float)

SHORTEST_METERED_S = 2.0
"""Seconds below which a stretch has no energy of its own: the device renews its meters about ten times a second."""


class Opened(NamedTuple):
    """Opening the store, before the first epoch or, in a cold run, before each; seconds."""

    open_s: float
    first_batch_s: float


class Trained(NamedTuple):
    """An epoch is over; beside its part of the record, what the record has of all epochs together."""

    part: EpochPart
    opened: Opened  # the last time, which in a warm run was before the first epoch
    read_bytes: int | None  # from storage, by all processes of the run
    elsewhere_read_bytes: int | None  # by a server outside the store
    energy_j: float | None  # of the device, however short the epoch was
    gap: float  # share of the wall time that lies in no part of the timeline


class _Meters(NamedTuple):
    """What only counts up: differences are an epoch's share."""

    elsewhere_read_bytes: int | None
    read_bytes: int | None
    cpu_s: dict[str, float]
    machine: MachineTime
    energy_j: float | None


class Epochs(NamedTuple):
    """What the epochs of one run are done with."""

    config: RunConfig
    info: StoreInfo
    trainer: Trainer | Emulator
    reading: Reading
    watch: CacheWatch
    sampler: MemorySampler
    gpu: GpuSampler
    test_batches: list[Indices]

    def run(self) -> Iterator[Trained]:
        """Do the epochs one after another; gives what is known after each.

        Raises:
            BenchError, LoaderError, OSError: the store, its backend or a worker was lost.
        """
        for epoch in range(self.config.epochs):
            if epoch == 0 or self.config.cache == "cold":
                opened = self.open()
            self.watch.before_epoch()
            yield self._train(epoch, opened)

    def _batches(self, epoch: int) -> list[Indices]:
        return cut(epoch_order(self.info.splits["train"].count, self.config.seed, epoch), self.config.batch_size)

    def open(self, *, evict: bool = True) -> Opened:
        """Open the store anew, cold or warmed up as the cache setting says; ``evict`` makes it cold first."""
        reading = self.reading
        reading.close()
        if evict and self.config.cache == "cold":
            self.watch.evict()
        open_s = reading.open()
        batches = self._batches(0)
        started = time.perf_counter()
        _exhaust(reading.stream.epoch(batches[:1]))
        first_batch_s = time.perf_counter() - started
        if self.config.cache == "warm" or not evict:
            self.watch.fill()  # in sequence: a pass in random order would wait for the storage at every image
        if self.config.cache == "warm":
            _exhaust(reading.stream.epoch(batches))
            _exhaust(reading.test_stream.epoch(self.test_batches))
        return Opened(open_s, first_batch_s)

    def _train(self, epoch: int, opened: Opened) -> Trained:
        reading, batches = self.reading, self._batches(epoch)
        fetch = functools.partial(reading.stream.epoch, batches, seed=self.config.seed, epoch=epoch, train=True)
        before = self._meters()
        result = self.trainer.train_epoch(fetch, batches, epoch, on_device=reading.train.caps.device != "cpu")
        after = self._meters()
        self.sampler.look()
        scores = None
        if isinstance(self.trainer, Trainer):
            scores = self.trainer.evaluate(reading.test_stream.epoch(self.test_batches))
        host = result.host
        wall_s, energy_j = host.wall.seconds, _difference(after.energy_j, before.energy_j)
        cpu_s = {group: after.cpu_s[group] - before.cpu_s[group] for group in after.cpu_s}
        part = EpochPart(
            index=epoch,
            wall_s=wall_s,
            fetch_s=host.fetch.seconds,
            transfer_s=host.transfer.seconds,
            compute_s=host.compute.seconds,
            other_s=host.other.seconds,
            **result.device,
            images=result.images,
            train_loss=result.train_loss if isinstance(result, EpochResult) else None,
            test_accuracy=scores and scores.accuracy,
            test_macro_f1=scores and scores.macro_f1,
            wait_s=host.wait_quantiles(),
            cpu_s=cpu_s,
            # Both counters go in steps of 10 ms.
            others_cpu_s=max(0.0, after.machine.busy - before.machine.busy - sum(cpu_s.values())),
            stolen_cpu_s=_difference(after.machine.stolen, before.machine.stolen),
            energy_j=energy_j if wall_s >= SHORTEST_METERED_S else None,
            **(opened._asdict() if self.config.cache == "cold" else {}),
        )
        read_bytes = _difference(after.read_bytes, before.read_bytes)
        elsewhere = _difference(after.elsewhere_read_bytes, before.elsewhere_read_bytes)
        return Trained(part, opened, read_bytes, elsewhere, energy_j, host.gap)

    def _meters(self) -> _Meters:
        workers, elsewhere = self.reading.worker_pids(), self.reading.train.reader.read_bytes()
        return _Meters(elsewhere, disk_read_bytes(workers), cpu_seconds(workers), machine_time(), self.gpu.energy_j())


def _exhaust(batches: Iterator[object]) -> None:
    for _ in batches:
        pass


def _difference(after: N | None, before: N | None) -> N | None:
    return None if after is None or before is None else after - before
