"""Tries a candidate on a sample: preparing it, reading it, and training with it."""

from __future__ import annotations

import contextlib
import functools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.advise.candidates import Candidate, Way
from bench.config import RunConfig
from bench.measure.processes import MemorySampler
from bench.run.feed import FASTEST
from bench.run.rates import consume
from bench.run.stores import StoreSpec, prepare, spec_of
from bench.sources.base import Source
from bench.stats.intervals import Interval, positive_interval
from bench.train.emulated import Emulator
from bench.train.loop import Looped
from bench.train.trainer import Trainer
from loaders import BatchStream, Indices, StoreInfo, cut, epoch_order

BLOCKS = 5  # timed blocks of training with each way of reading: as many as an interval needs


class Sampled(NamedTuple):
    """A store of a sample, with its manifest."""

    spec: StoreSpec
    info: StoreInfo


class Trial(NamedTuple):
    """What a candidate would cost with the whole data, by what it did in one way of reading a sample."""

    candidate: Candidate
    way: Way
    epoch_s: Interval  # of a training epoch, with the 95% interval over blocks
    stall_s: float  # the part of it in which training waits for data
    prepare_s: float
    store_bytes: float
    rate: float  # images/s without training
    feed_rate: float | None = None  # images/s of the fastest accelerator that is kept busy, if one is emulated

    def total_s(self, epochs: int) -> float:
        """Seconds of preparation and so many epochs."""
        return self.prepare_s + epochs * self.epoch_s.mean

    def break_even(self, baseline: Trial | None) -> float | None:
        """Epochs after which it has paid for its preparation; ``None`` where never, or without a baseline."""
        saved = 0.0 if baseline is None else baseline.epoch_s.mean - self.epoch_s.mean
        return self.prepare_s / saved if saved > 0 else None


class Bench:
    """One network on one device, or one emulated accelerator, that takes turns with all candidates."""

    def __init__(self, config: RunConfig, source: Source, folder: Path) -> None:
        """Stores of samples are made below ``folder`` and removed."""
        self._config, self._source, self._folder = config, source, folder
        self._accelerator = config.accelerator
        self._trainer: Trainer | Emulator | None = None

    @contextlib.contextmanager
    def sampled(self, candidate: Candidate, sample: int) -> Iterator[Sampled]:
        """Prepare so many images of each split, for as long as the ``with`` lasts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".advice-", dir=self._folder, ignore_cleanup_errors=True) as place:
            spec, _ = spec_of(candidate.loader, self._source, candidate.options, sample, Path(place))
            yield Sampled(spec, prepare(spec)[0])

    def ceiling(self, sampled: Sampled, seconds: float) -> float:
        """Seconds of an epoch on batches that lie on the device already; measured for so many seconds."""
        trainer, size = self._warm_trainer(sampled)
        if not isinstance(trainer, Trainer):
            return len(self._source.splits()["train"]) / trainer.device.images_per_s
        end, spent, steps = time.perf_counter() + seconds, 0.0, 0
        while steps == 0 or time.perf_counter() < end:
            spent += trainer.ceiling(size, 2)
            steps += 2
        return spent / (steps * size) * len(self._source.splits()["train"])

    def attempt(self, candidate: Candidate, sampled: Sampled, way: Way, seconds: float) -> Trial:
        """Measure for about so many seconds, after an untimed pass over a few batches.

        Raises:
            LoaderError: the store or a worker was lost.
        """
        trainer, size = self._warm_trainer(sampled)
        images = sampled.info.splits["train"].count
        order = cut(epoch_order(images, 0, 0), size)
        how: dict[str, Any] = {**way._asdict(), "size": self._config.image_size}
        with sampled.spec.open("train") as dataset, BatchStream(dataset, **how) as stream:

            def train(batches: list[Indices], epoch: int) -> Any:
                fetch = functools.partial(stream.epoch, batches, epoch=epoch, train=True)
                return trainer.train_epoch(fetch, batches, epoch, on_device=dataset.caps.device != "cpu")

            batch_s = _draw(stream, order[: max(2, 2 * way.workers)])
            drawn = order[: _batches(min(seconds / 4, 60.0), batch_s)]
            rate = sum(map(len, drawn)) / (_draw(stream, drawn) * len(drawn))
            began = time.perf_counter()
            train(order[:2], 0)
            batch_s = (time.perf_counter() - began) / len(order[:2])
            count = _batches(seconds * 3 / 4 / BLOCKS, batch_s)
            with MemorySampler(stream.worker_pids):  # a run has one, too, and it costs a little
                taken = [_full_batches(images, size, count, block) for block in range(BLOCKS)]
                blocks = [train(batches, block) for block, batches in enumerate(taken)]
                feed_rate = None if self._accelerator is None else self._feed_rate(stream, taken, sampled)
        whole = {name: len(split) for name, split in self._source.splits().items()}
        scale = sum(whole.values()) / sum(split.count for split in sampled.info.splits.values())
        stalls = [self._stall_s(block) / block.images for block in blocks]
        return Trial(
            candidate,
            way,
            positive_interval([whole["train"] * block.host.wall.seconds / block.images for block in blocks]),
            stall_s=whole["train"] * statistics.fmean(stalls),
            prepare_s=scale * sampled.info.prepare_s,
            store_bytes=scale * sampled.info.allocated_bytes,
            rate=rate,
            feed_rate=feed_rate,
        )

    def _feed_rate(self, stream: BatchStream, taken: list[list[Indices]], sampled: Sampled) -> float:
        """The speed that is fed at most, over the share of the time for which an accelerator is to be busy."""
        free = Emulator(self._config, FASTEST, sampled.info.splits["train"])
        blocks = [free.train_epoch(functools.partial(stream.epoch, each, train=True), each, 0) for each in taken]
        return statistics.median(each.images / each.host.wall.seconds for each in blocks) / self._config.busy

    def _stall_s(self, block: Looped) -> float:
        """Seconds of waiting for data; an emulated accelerator waits whenever it does not compute."""
        if self._accelerator is not None:
            return max(0.0, block.host.wall.seconds - block.images / self._accelerator.images_per_s)
        return block.host.fetch.seconds + block.host.transfer.seconds

    def _warm_trainer(self, sampled: Sampled) -> tuple[Trainer | Emulator, int]:
        """The trainer of all trials, and the batch size that the sample allows."""
        train = sampled.info.splits["train"]
        size = min(self._config.batch_size, train.count)
        if self._trainer is None and self._accelerator is not None:
            self._trainer = Emulator(self._config, self._accelerator.images_per_s, train)
        elif self._trainer is None:
            self._trainer = Trainer(self._config, train, len(sampled.info.dataset.classes), steps=1_000_000)
            self._trainer.warm_up([size])
        return self._trainer, size


def _draw(stream: BatchStream, batches: list[Indices]) -> float:
    """Seconds a batch of drawing and consuming these."""
    began = time.perf_counter()
    for batch in stream.epoch(batches, train=True):
        consume(batch)
    return (time.perf_counter() - began) / len(batches)


def _batches(seconds: float, batch_s: float) -> int:
    """How many batches take so many seconds: at least two."""
    return max(2, round(seconds / max(batch_s, 1e-6)))


def _full_batches(images: int, batch_size: int, count: int, epoch: int) -> list[Indices]:
    """So many batches, none of them short, from as many orders of the epoch as it takes."""
    batches: list[Indices] = []
    while len(batches) < count:
        order = cut(epoch_order(images, epoch, len(batches)), batch_size)
        batches += [batch for batch in order if len(batch) == batch_size]
    return batches[:count]
