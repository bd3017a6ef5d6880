"""Ratios between two sets of runs, and what a family of such ratios allows to be claimed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import scipy

from bench.stats.intervals import LEAST_RUNS, LEVEL, MIN_RUNS, ROUNDING, Values, checked, student
from bench.stats.power import SquaredError, smallest_difference
from bench.stats.ratio import Means, paired_means, ratio_of, unpaired_means

FAMILY_ALPHA = 0.05
"""Probability that a family of comparisons without any difference raises an alarm, at most.

What is compared, a data path or its share of an epoch, varies little enough for that: `scripts/power` plants slowdowns
into real runs and counts how many sweeps of ten rounds find them.
"""

POWER = 0.95
"""Power at which the smallest detectable difference is stated."""

Key = TypeVar("Key", bound=Hashable)
Limits: TypeAlias = tuple[float | None, float | None]
Verdict: TypeAlias = Literal["slower", "faster", "no difference found", "too few runs"]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Mean of ours over mean of the baseline; what so few runs cannot tell is None.

    The p value is two-sided, of the t test of the difference of the two means; it and the interval, of 95%, are for
    this ratio alone. An interval without an upper limit has infinity there (`bench.stats.ratio.ratio_of`). `n` counts
    pairs, or is the size of the smaller set. `errors` are those of the difference of the means over the baseline's: one
    for pairs, one a set otherwise.
    """

    ratio: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    errors: tuple[SquaredError, ...] = ()
    limits: Callable[[float], Limits] | None = dataclasses.field(default=None, compare=False)
    """The interval of another confidence."""
    is_log: bool = False
    """Whether it is of geometric means, and `errors` are those of the difference of the logarithms' means."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A ratio as one of a family; None where there are too few runs.

    Its interval belongs to the verdict: it is as wide as the level at which Holm's correction tests this ratio, and
    misses 1 exactly where a difference is found. Without a verdict there is none. `p` is Holm-corrected. `detectable`
    is the smallest relative slowdown, 0.031 for 3.1%, that the test finds with probability `POWER`; a speedup of as
    much is found as surely. The observed sd stands for the true one, which is 0.6 to 2.9 times that of five pairs (95%,
    by chi-squared).
    """

    ratio: Ratio
    p: float | None
    verdict: Verdict
    detectable: float | None


def paired_ratio(ours: Mapping[int, float], baseline: Mapping[int, float]) -> Ratio:
    """Ratio of the two means of ``round -> cost``, paired by round: what disturbs both of a round alike cancels.

    The p value is that of the paired t test. The means are over all rounds of a side (`paired_means`). No shared round:
    n is 0, the rest unknown. One: the ratio alone. Differences that are equal up to `ROUNDING`: p is the t test's
    limit, 0, or 1 if the means are equal.

    Raises:
        ValueError: a cost, such as seconds, is not positive and finite.
    """
    if not ours.keys() & baseline.keys():
        return Ratio(None)
    _check_positive(list(ours.values()), list(baseline.values()))
    return _tested(paired_means(ours, baseline))


def paired_log_ratio(ours: Mapping[int, float], baseline: Mapping[int, float]) -> Ratio:
    """Ratio of the two geometric means of ``round -> cost``, by the paired t test of their logarithms.

    For costs that differ by factors, as waiting does: a round that was disturbed counts with the factor by which it
    was, not with all its seconds. Only rounds of both sides count. Otherwise as `paired_ratio`.
    """
    shared = sorted(ours.keys() & baseline.keys())
    if not shared:
        return Ratio(None)
    mine, base = [ours[number] for number in shared], [baseline[number] for number in shared]
    _check_positive(mine, base)
    apart = np.log(mine) - np.log(base)
    mean, n = float(apart.mean()), len(shared)
    if n < LEAST_RUNS:
        return Ratio(math.exp(mean), n=n, is_log=True)
    error = SquaredError(float(apart.var(ddof=1)) / n, n - 1)

    def limits(level: float) -> Limits:
        half = student(n - 1, level) * error.value**0.5
        return math.exp(mean - half), math.exp(mean + half)

    if error.value**0.5 <= ROUNDING:
        p, error = float(abs(mean) <= ROUNDING), SquaredError(0.0, n - 1)
    else:
        p = 2 * float(scipy.special.stdtr(n - 1, -abs(mean) / error.value**0.5))
    return Ratio(math.exp(mean), *limits(LEVEL), p, n, (error,), limits, is_log=True)


def unpaired_ratio(ours: Values, baseline: Values) -> Ratio:
    """Ratio of the means of runs, ``[n]`` and ``[m]``, whose rounds do not pair, as of two machines: Welch's t test.

    An empty set: n is 0, the rest unknown. A set of one run: the ratio alone. No spread in either set, and errors: as
    `paired_ratio`.

    Welch's test keeps its level only nearly. At 0.05 it finds 0.9 times as many false differences with five runs on
    either side and equal sds, 1.1 times as many where the sds differ, and 1.2 times as many with 5 runs against 50; at
    0.05 / 8, 0.8, 1.4 and 2.0 times. So the two sets should be of about one size.
    """
    if not len(ours) or not len(baseline):
        return Ratio(None)
    _check_positive(ours, baseline)
    return _tested(unpaired_means(ours, baseline))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) of a family's p values, which scipy lacks; in the order given.

    Reject where a corrected value is at most the family's alpha. It is never below the raw one nor above 1.
    """
    raw = np.asarray(p_values, np.float64)
    order = np.argsort(raw)
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(1, np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1)))
    return [float(p) for p in corrected]


def compare_all(ratios: Mapping[Key, Ratio]) -> dict[Key, Comparison]:
    """Judge a family of ratios together, such as all loaders of one table against its baseline.

    A ratio of fewer than `MIN_RUNS` runs gets no verdict and does not count in the family; that depends on no value, so
    the error rate holds. The others are Holm-corrected: the probability of any false alarm is at most `FAMILY_ALPHA`,
    as far as the tests keep their level (`unpaired_ratio` says how far Welch's does). Each smallest detectable
    difference is for the strictest level, ``FAMILY_ALPHA / m``, that Holm puts on one of m comparisons. A ratio of
    costs above 1 is slower.
    """
    tested = {key: ratio.p for key, ratio in ratios.items() if ratio.n >= MIN_RUNS and ratio.p is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {key: _comparison(ratio, corrected.get(key), len(tested)) for key, ratio in ratios.items()}


def _comparison(ratio: Ratio, p: float | None, family: int) -> Comparison:
    if p is None or ratio.ratio is None:
        return Comparison(dataclasses.replace(ratio, low=None, high=None), None, "too few runs", None)
    verdict: Verdict = "no difference found"
    if p <= FAMILY_ALPHA:
        verdict = "slower" if ratio.ratio > 1 else "faster"
    # Holm multiplies the raw p value; the level that it is held against is divided by as much.
    level = FAMILY_ALPHA * (ratio.p / p if ratio.p else 1 / family)
    if ratio.limits is not None:
        low, high = ratio.limits(1 - level)
        ratio = dataclasses.replace(ratio, low=low, high=high)
    detectable = smallest_difference(ratio.errors, FAMILY_ALPHA / family, POWER)
    return Comparison(ratio, p, verdict, math.expm1(min(detectable, 700.0)) if ratio.is_log else detectable)


def _check_positive(*sides: Values) -> None:
    for side in sides:
        if (least := checked(side).min()) <= 0:
            raise ValueError(f"a ratio needs positive values, not {least}")


def _tested(means: Means) -> Ratio:
    """The t test of the difference of the means against 0, and the interval of their ratio."""
    interval = ratio_of(means)
    assert interval is not None  # both means are positive
    if interval.low is None:
        return Ratio(interval.mean, n=means.n)
    apart, noise = means.above - means.below, ROUNDING * means.below
    if means.error <= noise:
        errors = tuple(SquaredError(0.0, e.degrees) for e in means.errors)
        p = float(abs(apart) <= noise)
    else:
        errors = tuple(SquaredError(e.value / means.below**2, e.degrees) for e in means.errors)
        p = 2 * float(scipy.special.stdtr(means.degrees, -abs(apart) / means.error))

    def limits(level: float) -> Limits:
        wider = ratio_of(means, level)
        return (None, None) if wider is None else (wider.low, wider.high)

    return Ratio(interval.mean, interval.low, interval.high, p, means.n, errors, limits)
