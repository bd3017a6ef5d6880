"""How a metric's value is computed from one run's record; ``metrics`` says what each one means.

What cannot be known is NaN, which every sum and quotient keeps.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

from bench.config import RunConfig
from bench.records import EpochPart, FeedSlice, Record

Raw: TypeAlias = Callable[[Record], float]


def is_on_cuda(record: Record) -> bool:
    """Whether the run trained on a CUDA device."""
    return record.config.device == "cuda" or record.environment.get("device") == "cuda"


def part(record: Record, path: str) -> Any:
    """What a record has at a path such as ``resources.gpu.power_w``; None where a part of it is missing."""
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name)
        if value is None:
            return None
    return value


def at(path: str) -> Raw:
    """The number at a path into the record."""

    def of(record: Record) -> float:
        value = part(record, path)
        return float(value) if isinstance(value, int | float) else math.nan

    return of


def per_epoch(field: str) -> Raw:
    """Mean over the run's epochs."""
    return lambda record: _mean(getattr(epoch, field) for epoch in record.epochs)


epoch_s, images, ceiling_s = per_epoch("wall_s"), per_epoch("images"), at("ceiling.epoch_s")
"""Wall time and images of an epoch, and the ceiling, scaled to an epoch."""


def gap_pct(record: Record) -> float:
    """Share of the wall time in no part, of the epoch with the largest."""
    timed = [epoch for epoch in record.epochs if epoch.wall_s > 0]
    gaps = (abs(e.wall_s - e.fetch_s - e.transfer_s - e.compute_s - e.other_s) / e.wall_s for e in timed)
    return 100 * max(gaps, default=math.nan)


def wait_ms(quantile: str) -> Raw:
    """Mean over the epochs of a quantile of the waits."""
    return lambda record: 1e3 * _mean(epoch.wait_s.get(quantile) for epoch in record.epochs)


def over_ceiling_s(record: Record) -> float:
    """Epoch time less the ceiling; below 0 where noise is larger than the stall."""
    return epoch_s(record) - ceiling_s(record)


def stall_s(record: Record) -> float:
    """Data stall by the rule of the run's device."""
    if is_on_cuda(record) or record.config.device == "emulated":
        return max(over_ceiling_s(record), 0.0)  # in this order NaN stays NaN
    return per_epoch("fetch_s")(record) + per_epoch("transfer_s")(record)


def waiting_s(record: Record) -> float:
    """The data stall, not clipped at 0: with `computing_s` it makes the epoch."""
    return over_ceiling_s(record) if is_on_cuda(record) else stall_s(record)


def computing_s(record: Record) -> float:
    """What of an epoch is no data stall, and should not depend on the loader; on CUDA the ceiling."""
    return epoch_s(record) - waiting_s(record)


def opening(field: Literal["open_s", "first_batch_s"]) -> Raw:
    """Mean over the openings before each epoch, where there were such; else that of the run's only opening."""

    def of(record: Record) -> float:
        again = per_epoch(field)(record)
        return at(f"setup.{field}")(record) if math.isnan(again) else again

    return of


def total_s(record: Record) -> float:
    """Open, first batch and epoch."""
    return opening("open_s")(record) + opening("first_batch_s")(record) + epoch_s(record)


def read_bytes(record: Record) -> float:
    """Bytes read from storage per epoch."""
    return _mean(part(record, "cache.evidence.read_bytes") or [])


def last(field: str) -> Raw:
    """Of the last epoch."""

    def of(record: Record) -> float:
        value = getattr(record.epochs[-1], field) if record.epochs else None
        return math.nan if value is None else float(value)

    return of


def median_rate(side: Literal["loader", "raw"]) -> Raw:
    """Median images/s over the repetitions of the loader alone, or of the plain idiom."""
    return lambda record: statistics.median(part(record, f"rates.{side}") or [math.nan])


def feed_rate(record: Record) -> float:
    """The fastest accelerator that is kept busy, by the median slice of the search for it."""
    if record.feed is None or not isinstance(record.config, RunConfig):
        return math.nan
    return _fed(record.feed.search) / record.config.busy


def free_rate(record: Record) -> float:
    """What an accelerator that takes no time is fed; the median slice."""
    return math.nan if record.feed is None else _fed(record.feed.free)


def _fed(slices: Sequence[FeedSlice]) -> float:
    return statistics.median([each.images / each.wall_s for each in slices] or [math.nan])


def cpu_per_1000(group: str | None = None) -> Raw:
    """CPU seconds per 1000 images, of one group of processes or of all. Version 1 has none by epoch."""

    def spent(epoch: EpochPart) -> float | None:
        if epoch.cpu_s is None:
            return None
        return sum(epoch.cpu_s.values()) if group is None else epoch.cpu_s.get(group, 0.0)

    return lambda record: over(1000 * _mean(map(spent, record.epochs)), images(record))


def stopwatch_pct(record: Record) -> float:
    """What timing an epoch cost, over its time."""
    return 100 * over(at("resources.sampling.stopwatch_s")(record), epoch_s(record))


def energy_j_per_epoch(record: Record) -> float:
    """Joules of all training epochs over their number: a short one has none of its own."""
    return over(at("resources.energy_j")(record), len(record.epochs))


def energy_source(record: Record) -> str | None:
    """What the run's energy rests on, as NVML's part of the record says."""
    source = part(record, "resources.gpu.energy_source")
    return source if isinstance(source, str) and part(record, "resources.energy_j") is not None else None


def preparation(record: Record) -> tuple[str, float] | None:
    """What names the preparation of the run's store; runs that read one store share it."""
    return None if record.store is None else (record.store.path, record.store.prepare_s)


def share_of_cores(field: str) -> Raw:
    """Percent of the core-seconds of all epochs, on all the machine's cores."""

    def of(record: Record) -> float:
        cores, count = record.environment.get("cores"), len(record.epochs)
        spent, wall = (per_epoch(name)(record) * count for name in (field, "wall_s"))
        return 100 * over(spent, wall * (cores if isinstance(cores, int) else 0))

    return of


def time_to(target: float) -> Raw:
    """Wall time of the epochs up to the first that reaches a test accuracy."""

    def of(record: Record) -> float:
        spent = 0.0
        for epoch in record.epochs:
            spent += epoch.wall_s
            if epoch.test_accuracy is not None and epoch.test_accuracy >= target:
                return spent
        return math.nan

    return of


def over(above: float, below: float) -> float:
    """A quotient; NaN over 0."""
    return above / below if below else math.nan


def _mean(values: Iterable[float | None]) -> float:
    """Of all; NaN if there are none or one of them is unknown."""
    every = [math.nan if value is None else value for value in values]
    return sum(every) / len(every) if every else math.nan
