"""Numbers over repeated runs, as the cells of a table hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from bench.measure.comparison import Ratio
from bench.measure.statistics import Interval, mean_interval
from bench.records import Record
from bench.report.groups import Round
from bench.report.language import number, say
from bench.report.table import Language, Value

CLIPPED = "§"
"""Mark of a number that is 0 because it would be below."""


def over_runs(records: Iterable[Record], of: Callable[[Record], float | None]) -> Value:
    """Mean over the runs that have the metric, with its t interval."""
    found = [(record.run_id, value) for record in records if (value := of(record)) is not None]
    return from_interval(mean_interval([value for _, value in found]), [run for run, _ in found]) if found else Value()


def from_interval(interval: Interval, runs: Sequence[str]) -> Value:
    """A mean with its limits."""
    return Value(interval.mean, interval.low, interval.high, runs=tuple(runs))


def from_ratio(ratio: Ratio, runs: Sequence[str]) -> Value:
    """A ratio with its limits, as far as there are any."""
    return Value(finite(ratio.ratio), finite(ratio.low), finite(ratio.high), runs=tuple(runs))


def finite(value: float | None) -> float | None:
    """None for what no table can show."""
    return value if value is not None and math.isfinite(value) else None


def difference(left: Mapping[Round, float], right: Mapping[Round, float]) -> Interval | None:
    """Mean of left less right: paired by round; where no round is shared, of the means and without an interval."""
    if not left or not right:
        return None
    if rounds := sorted(left.keys() & right.keys()):
        return mean_interval([left[r] - right[r] for r in rounds])
    return Interval(sum(left.values()) / len(left) - sum(right.values()) / len(right), None, None, 0)


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
