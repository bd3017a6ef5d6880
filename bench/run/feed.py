"""The feed rate: the fastest emulated accelerator that a loader keeps busy, searched with slices of an epoch."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Sequence

from bench.config import RunConfig
from bench.errors import BenchError
from bench.records import FeedPart, FeedSlice, WaitsPart
from bench.run.draft import Steps
from bench.run.epochs import Epochs
from bench.train.emulated import Emulator
from loaders import SplitInfo, cut, epoch_order

FASTEST = 1e12
"""Images/s of an accelerator that takes no time."""
LATEST_S = 20e-6
"""Seconds by which the host may on average be late after waiting for an emulated accelerator."""


def feed(config: RunConfig, split: SplitInfo, epochs: Epochs, emulator: Emulator) -> Steps[FeedPart | None]:
    """Measure slice by slice; between them others may take their turn. A cold run begins each with a cold cache."""
    part = FeedPart(curve=[], free=[], search=[])
    orders = itertools.count(config.epochs)  # go on where those of the epochs end

    def measure(speed: float) -> FeedSlice:
        epoch = next(orders)
        order = epoch_order(split.count, config.seed, epoch)[: config.slice_batches * config.batch_size]
        batches = cut(order, config.batch_size)
        if config.cache == "cold":
            epochs.open()
        fetch = functools.partial(epochs.reading.stream.epoch, batches, seed=config.seed, epoch=epoch, train=True)
        emulator.device.images_per_s = speed
        steady_s = emulator.train_epoch(fetch, batches, epoch).steady_s
        if not steady_s:
            raise BenchError(f"{len(batches)} batches are too few to search the feed rate; use --feed-slices 0")
        return FeedSlice(images_per_s=speed, images=sum(map(len, batches[1:])), wall_s=steady_s, epoch=epoch)

    for speed in config.speeds:
        yield
        part.curve.append(measure(speed))
    for _ in range(config.feed_slices):
        yield
        part.free.append(measure(FASTEST))
        yield
        part.search.append(measure(next_speed(part.search or part.free, config.busy)))
    return part if part.curve or part.search else None


def next_speed(slices: Sequence[FeedSlice], busy: float) -> float:
    """The speed at which an accelerator would be busy for that share, by earlier slices.

    An accelerator that waits computes as fast as it is fed; so it is as fast as the feed over the share. How it is fed
    hardly depends on its speed, so that this settles at once.
    """
    return statistics.median(each.images / each.wall_s for each in slices) / busy


def waits(late_ns: Sequence[int], step_s: float, flags: list[str]) -> WaitsPart | None:
    """How well the host kept the accelerator's times; flagged where it was too late to be believed."""
    if not late_ns:
        return None
    part = WaitsPart(count=len(late_ns), mean_s=statistics.fmean(late_ns) / 1e9, max_s=max(late_ns) / 1e9)
    if part.mean_s > max(LATEST_S, 0.01 * step_s):
        flags.append(
            f"the host was {part.mean_s * 1e6:.0f} µs late on average after a step of {step_s * 1e6:.0f} µs: "
            "the machine is too busy to emulate this accelerator"
        )
    return part
