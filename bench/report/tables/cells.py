"""Numbers over repeated runs, as the cells of a table hold them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from bench.records import Record
from bench.render.language import Number, message
from bench.render.table import Column, Value
from bench.report.breakeven import preparation
from bench.report.groups import Round
from bench.report.metrics import METRICS, Metric
from bench.stats.comparison import Comparison, Ratio
from bench.stats.intervals import Interval
from bench.stats.ratio import difference_of, paired_means

CLIPPED = "§"
"""Mark of a number that is 0 because it would be below; its interval stays as it was."""


def of_metrics(columns: Iterable[Column], records: Sequence[Record]) -> dict[str, Value]:
    """The cells of those columns that are a metric's, over the runs that have it."""
    return {c.key: over_runs(records, METRICS[c.key]) for c in columns if c.key in METRICS}


def over_runs(records: Iterable[Record], metric: Metric) -> Value:
    """A metric over the runs that have it, with its interval."""
    over = metric.over(records)
    return Value() if over is None else from_interval(over[0], ids(over[1]))


def prepared(records: Sequence[Record]) -> Value:
    """Preparing the stores that runs read; each preparation counts once."""
    mean = preparation(records)
    used = ids(record for record in records if METRICS["prepare_s"].of(record) is not None)
    return Value() if mean is None else from_interval(mean, used)


def from_interval(interval: Interval, runs: Sequence[str]) -> Value:
    """A mean with its limits; one that is infinite is none."""
    return Value(interval.mean, finite(interval.low), finite(interval.high), runs=tuple(runs))


def from_ratio(ratio: Ratio, runs: Sequence[str]) -> Value:
    """A ratio with its limits, as far as there are any."""
    return Value(finite(ratio.ratio), finite(ratio.low), finite(ratio.high), runs=tuple(runs))


def detectable_pct(comparison: Comparison, runs: Sequence[str]) -> Value:
    """The smallest difference that a comparison finds."""
    detectable = finite(comparison.detectable)
    return Value(None if detectable is None else 100 * detectable, runs=tuple(runs))


def counted(records: Sequence[Record]) -> Value:
    """How many runs there are."""
    return Value(float(len(records)), runs=ids(records))


def ids(records: Iterable[Record]) -> tuple[str, ...]:
    """Of the runs."""
    return tuple(record.run_id for record in records)


def finite(value: float | None) -> float | None:
    """None for what no table can show."""
    return value if value is not None and math.isfinite(value) else None


def difference(left: Mapping[Round, float], right: Mapping[Round, float]) -> Interval | None:
    """Mean of left less mean of right, paired by round; None where a side has none."""
    return difference_of(paired_means(left, right)) if left and right else None


def above_resolution(value: Value, format_: str) -> Value:
    """The value, or "< resolution" and half the width of its interval where that holds 0."""
    if value.low is None or value.high is None or not value.low <= 0 <= value.high:
        return value
    half = Number((value.high - value.low) / 2, format_)
    return dataclasses.replace(value, text=message("< resolution ({half})", half=half))
