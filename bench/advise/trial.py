"""Tries a candidate on a sample: preparing it, reading it, and training with it."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.advise.candidates import Candidate, Way
from bench.config import RunConfig
from bench.measure.processes import MemorySampler
from bench.run.rates import consume
from bench.run.stores import Wanted, prepare
from bench.sources.base import Source
from bench.train.trainer import Trainer
from loaders import BatchStream, Indices, StoreDataset, StoreInfo, cut, epoch_order, load, parse_options

BLOCKS = 5
"""Timed blocks of training with each way of reading: as many as an interval needs."""


class Sampled(NamedTuple):
    """A store of the sample.

    Attributes:
        wanted: it.
        info: its manifest.
    """

    wanted: Wanted
    info: StoreInfo


class Trial(NamedTuple):
    """What a candidate did in one way of reading.

    Attributes:
        candidate: which.
        way: how it was read.
        prepare_s: seconds of preparation per image.
        store_bytes: bytes of the store per image.
        rate: images/s without training.
        image_s: seconds of training per image, of each block.
        stall_s: the part of each in which training waited for data.
    """

    candidate: Candidate
    way: Way
    prepare_s: float
    store_bytes: float
    rate: float
    image_s: list[float]
    stall_s: list[float]


class Bench:
    """One network on one device that takes turns with all candidates."""

    def __init__(self, config: RunConfig, source: Source, folder: Path) -> None:
        """Start nothing yet.

        Args:
            config: network, batch size, device and size of the crops.
            source: the data.
            folder: for the stores; removed by the caller.
        """
        self._config, self._source, self._folder = config, source, folder
        self._trainer: Trainer | None = None

    def store(self, candidate: Candidate, sample: int) -> Sampled:
        """Prepare so many images of each split.

        Raises:
            LoaderError: it cannot be done.
        """
        loader = load(candidate.loader)
        options = parse_options(loader.Options, candidate.options, candidate.loader)
        wanted = Wanted(loader, options, self._source, sample, self._folder)
        return Sampled(wanted, prepare(wanted)[0])

    def ceiling(self, sampled: Sampled, seconds: float) -> float:
        """Seconds per image of training on batches that lie on the device already; measured for so many seconds."""
        trainer, size = self._trained_by(sampled), self._batch_size(sampled)
        end, spent, steps = time.perf_counter() + seconds, 0.0, 0
        while steps == 0 or time.perf_counter() < end:
            spent += trainer.ceiling(size, 2)
            steps += 2
        return spent / (steps * size)

    def attempt(self, candidate: Candidate, sampled: Sampled, way: Way, seconds: float) -> Trial:
        """Measure for about so many seconds, after an untimed pass over a few batches.

        Raises:
            LoaderError: the store or a worker was lost.
        """
        trainer, split = self._trained_by(sampled), sampled.info.splits["train"]
        samples = sum(part.count for part in sampled.info.splits.values())
        order = cut(epoch_order(split.count, 0, 0), self._batch_size(sampled))
        with sampled.wanted.open("train") as dataset:
            how: dict[str, Any] = {**way._asdict(), "size": self._config.image_size}
            with BatchStream(dataset, **how) as stream:
                started = time.perf_counter()
                for _ in stream.epoch(order[: max(2, 2 * way.workers)], train=True):
                    pass
                first_s = (time.perf_counter() - started) / max(2, 2 * way.workers)
                rate = _rate(stream, order, min(seconds / 4, 60.0), first_s)
                image_s, stall_s = [], []
                count = self._steps(trainer, dataset, stream, order, seconds * 3 / 4 / BLOCKS)
                with MemorySampler(stream.worker_pids):  # a run has one, too, and it costs a little
                    for block in range(BLOCKS):
                        batches = _some(split.count, self._batch_size(sampled), count, block + 1)
                        fetch = functools.partial(stream.epoch, batches, epoch=block + 1, train=True)
                        on_device = dataset.caps.device != "cpu"
                        result = trainer.train_epoch(fetch, batches, block + 1, on_device=on_device)
                        image_s.append(result.host.wall.seconds / result.images)
                        stall_s.append((result.host.fetch.seconds + result.host.transfer.seconds) / result.images)
        return Trial(
            candidate,
            way,
            sampled.info.prepare_s / samples,
            sampled.info.allocated_bytes / samples,
            rate,
            image_s,
            stall_s,
        )

    def _steps(
        self, trainer: Trainer, dataset: StoreDataset, stream: BatchStream, order: list[Indices], seconds: float
    ) -> int:
        """How many batches make a block of so many seconds: at least two."""
        started = time.perf_counter()
        few = order[: min(2, len(order))]
        trainer.train_epoch(lambda: stream.epoch(few, train=True), few, 0, on_device=dataset.caps.device != "cpu")
        a_batch = (time.perf_counter() - started) / len(few)
        return max(2, round(seconds / max(a_batch, 1e-6)))

    def _batch_size(self, sampled: Sampled) -> int:
        return min(self._config.batch_size, sampled.info.splits["train"].count)

    def _trained_by(self, sampled: Sampled) -> Trainer:
        if self._trainer is None:
            classes = len(sampled.info.dataset.classes)
            self._trainer = Trainer(self._config, sampled.info.splits["train"], classes, steps=1_000_000)
            self._trainer.warm_up([self._batch_size(sampled)])
        return self._trainer


def _rate(stream: BatchStream, order: list[Indices], seconds: float, batch_s: float) -> float:
    """Images/s of batches drawn and consumed."""
    wanted = max(2, round(seconds / max(batch_s, 1e-6)))
    part = order[: min(wanted, len(order))]
    started = time.perf_counter()
    for batch in stream.epoch(part, train=True):
        consume(batch)
    return sum(map(len, part)) / (time.perf_counter() - started)


def _some(count: int, batch_size: int, batches: int, epoch: int) -> list[Indices]:
    """So many full batches, from as many epochs as it takes."""
    found: list[Indices] = []
    while len(found) < batches:
        found += [b for b in cut(epoch_order(count, epoch, len(found)), batch_size) if len(b) == batch_size]
    return found[:batches]
