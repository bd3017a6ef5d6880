"""The epochs of one run: opening, warming or evicting before them, measuring during them, evaluating after them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bench.config import RunConfig
from bench.measure.cache import CacheWatch
from bench.measure.gpu.nvml import GpuSampler
from bench.measure.processes import MachineTime, MemorySampler, cpu_seconds, disk_read_bytes, machine_time
from bench.records import CeilingPart, EpochPart
from bench.run.reading import Reading
from bench.train.batching import cut, epoch_order
from bench.train.scores import Scores
from bench.train.trainer import EpochResult, Trainer
from loaders import StoreInfo

N = TypeVar("N", int, float)

SHORTEST_METERED_S = 2.0
"""Seconds below which a stretch has no energy of its own: the device renews its meters about ten times a second."""
LARGEST_GAP = 0.01
"""Share of the wall time that may lie in no part of the timeline before the epoch is flagged."""


class Ceiling:
    """Blocks of training steps without a data path; measured before and after the epochs, since machines drift."""

    def __init__(self, trainer: Trainer, shape: tuple[int, int, int], batch_size: int, classes: int) -> None:
        self._measure: Callable[[int], float] = lambda steps: trainer.ceiling(shape, batch_size, classes, steps)
        self._batch_size = batch_size
        self._steps: list[int] = []
        self._seconds: list[float] = []

    def measure(self, steps: int) -> None:
        """Time one block."""
        if steps:
            self._seconds.append(self._measure(steps))
            self._steps.append(steps)

    def part(self, images: int) -> CeilingPart | None:
        """The record's part, scaled to an epoch of so many samples."""
        if not self._steps:
            return None
        a_sample = sum(self._seconds) / (sum(self._steps) * self._batch_size)
        return CeilingPart(
            batch_size=self._batch_size,
            block_steps=self._steps,
            block_s=self._seconds,
            epoch_s=a_sample * images,
        )


class Epochs:
    """Runs the epochs of one run.

    Attributes:
        open_s, first_batch_s: seconds of the first opening.
        read_bytes: bytes read from storage in each epoch.
        elsewhere_read_bytes: bytes that a server outside the store read in each epoch.
    """

    open_s: float
    first_batch_s: float

    def __init__(
        self,
        config: RunConfig,
        info: StoreInfo,
        trainer: Trainer,
        reading: Reading,
        watch: CacheWatch,
        sampler: MemorySampler,
        gpu: GpuSampler,
    ) -> None:
        self._config = config
        self._trainer = trainer
        self._reading = reading
        self._watch = watch
        self._sampler = sampler
        self._gpu = gpu
        self._count = info.splits["train"].count
        self._classes = len(info.dataset.classes)
        self._test_batches = cut(np.arange(info.splits["test"].count), config.batch_size)
        self.read_bytes: list[int | None] = []
        self.elsewhere_read_bytes: list[int | None] = []
        self._metered: list[tuple[float, float | None]] = []  # seconds and joules of each epoch

    def energy_j(self) -> float | None:
        """Joules of the device in all epochs so far; ``None`` where it does not tell or they are too short."""
        seconds, joules = zip(*self._metered, strict=True)
        return None if None in joules or sum(seconds) < SHORTEST_METERED_S else sum(joules)

    def run(self) -> Iterator[tuple[EpochPart, list[str]]]:
        """Every epoch's measurements, and what is to be flagged about it.

        Raises:
            BenchError, LoaderError, OSError: the store, its backend or a worker was lost.
        """
        for epoch in range(self._config.epochs):
            again: tuple[float, float] | None = None
            if epoch == 0 or self._config.cache == "cold":
                again = self._open_anew()
                if epoch == 0:
                    self.open_s, self.first_batch_s = again
            self._watch.before_epoch()
            yield self._epoch(epoch, again if self._config.cache == "cold" else None)

    def _open_anew(self) -> tuple[float, float]:
        """Open the store, cold or warmed up as is wished; gives the seconds of opening and of the first batch."""
        reading = self._reading
        reading.close()
        if self._config.cache == "cold":
            self._watch.evict()
        open_s = reading.open()
        batches = cut(epoch_order(self._count, self._config.seed, 0), self._config.batch_size)
        started = time.perf_counter()
        for _ in reading.stream.epoch(batches[:1]):
            pass
        first_batch_s = time.perf_counter() - started
        if self._config.cache == "warm":
            for _ in reading.stream.epoch(batches):
                pass
            for _ in reading.test_stream.epoch(self._test_batches):
                pass
        return open_s, first_batch_s

    def _epoch(self, epoch: int, opened: tuple[float, float] | None) -> tuple[EpochPart, list[str]]:
        config, reading = self._config, self._reading
        batches = cut(epoch_order(self._count, config.seed, epoch), config.batch_size)

        def fetch() -> Any:
            return reading.stream.epoch(batches, seed=config.seed, epoch=epoch, train=True)

        before = self._meters()
        result = self._trainer.train_epoch(fetch, batches, epoch, on_device=reading.train.caps.device != "cpu")
        after = self._meters()
        self.read_bytes.append(_difference(after.read_bytes, before.read_bytes))
        self.elsewhere_read_bytes.append(_difference(after.elsewhere_read_bytes, before.elsewhere_read_bytes))
        self._sampler.look()
        scores = self._trainer.evaluate(reading.test_stream.epoch(self._test_batches), self._classes)
        wall_s, energy_j = result.host.wall.seconds, _difference(after.energy_j, before.energy_j)
        self._metered.append((wall_s, energy_j))
        gap = result.host.gap
        flags = [f"epoch {epoch}: {gap:.1%} of the wall time is in no part"] if gap > LARGEST_GAP else []
        cpu = {group: after.cpu_s[group] - before.cpu_s[group] for group in after.cpu_s}
        part = _epoch_part(epoch, result, scores).model_copy(
            update={
                "cpu_s": cpu,
                # Both counters go in steps of 10 ms.
                "others_cpu_s": max(0.0, after.machine.busy - before.machine.busy - sum(cpu.values())),
                "stolen_cpu_s": _difference(after.machine.stolen, before.machine.stolen),
                "energy_j": energy_j if wall_s >= SHORTEST_METERED_S else None,
                "open_s": None if opened is None else opened[0],
                "first_batch_s": None if opened is None else opened[1],
            }
        )
        return part, flags

    def _meters(self) -> _Meters:
        workers = self._reading.worker_pids()
        return _Meters(
            self._reading.elsewhere_read_bytes(),
            disk_read_bytes(workers),
            cpu_seconds(workers),
            machine_time(),
            self._gpu.energy_j(),
        )


class _Meters(NamedTuple):
    """What only counts up: differences are an epoch's share."""

    elsewhere_read_bytes: int | None
    read_bytes: int | None
    cpu_s: dict[str, float]
    machine: MachineTime
    energy_j: float | None


def _difference(after: N | None, before: N | None) -> N | None:
    return None if after is None or before is None else after - before


def _epoch_part(index: int, result: EpochResult, scores: Scores) -> EpochPart:
    host = result.host
    return EpochPart(
        index=index,
        wall_s=host.wall.seconds,
        fetch_s=host.fetch.seconds,
        transfer_s=host.transfer.seconds,
        compute_s=host.compute.seconds,
        other_s=host.other.seconds,
        images=result.images,
        train_loss=result.train_loss,
        test_accuracy=scores.accuracy,
        test_macro_f1=scores.macro_f1,
        wait_s=host.wait_quantiles(),
        device_copy_s=result.device["device_copy_s"],
        device_compute_s=result.device["device_compute_s"],
        device_idle_s=result.device["device_idle_s"],
    )
