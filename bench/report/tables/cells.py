"""Numbers over repeated runs, as the cells of a table hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from bench.records import Record
from bench.render.language import number, say
from bench.render.table import Language, Value
from bench.report.groups import Round
from bench.report.metrics import Metric
from bench.stats.comparison import Ratio
from bench.stats.intervals import Interval
from bench.stats.ratio import difference_of, paired_means

CLIPPED = "§"
"""Mark of a number that is 0 because it would be below."""


def over_runs(records: Iterable[Record], metric: Metric) -> Value:
    """A metric over the runs that have it, with its interval."""
    found = metric.over(records)
    return Value() if found is None else from_interval(found[0], [record.run_id for record in found[1]])


def from_interval(interval: Interval, runs: Sequence[str]) -> Value:
    """A mean with its limits; one that is infinite is none."""
    return Value(interval.mean, finite(interval.low), finite(interval.high), runs=tuple(runs))


def from_ratio(ratio: Ratio, runs: Sequence[str]) -> Value:
    """A ratio with its limits, as far as there are any."""
    return Value(finite(ratio.ratio), finite(ratio.low), finite(ratio.high), runs=tuple(runs))


def finite(value: float | None) -> float | None:
    """None for what no table can show."""
    return value if value is not None and math.isfinite(value) else None


def difference(left: Mapping[Round, float], right: Mapping[Round, float]) -> Interval | None:
    """Mean of left less mean of right, paired by round; None where a side has none."""
    return difference_of(paired_means(left, right)) if left and right else None


def above_resolution(value: Value, format_: str, language: Language) -> Value:
    """The value, or "< resolution" and half the width of its interval where that holds 0."""
    if value.low is None or value.high is None or not value.low <= 0 <= value.high:
        return value
    half = number((value.high - value.low) / 2, format_, language)
    return Value(
        value.number, value.low, value.high, say("< resolution ({half})", language, half=half), runs=value.runs
    )


def clipped(value: Value) -> Value:
    """The value, or a marked 0 where it is below; the interval stays as it was."""
    if value.number is None or value.number >= 0:
        return value
    return Value(0.0, value.low, value.high, mark=CLIPPED, runs=value.runs)


def text(shown: str, runs: Sequence[str] = (), mark: str = "") -> Value:
    """A cell of text."""
    return Value(text=shown, mark=mark, runs=tuple(runs))
