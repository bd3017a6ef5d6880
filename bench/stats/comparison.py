"""Ratios between two sets of runs, and what a family of such ratios allows to be claimed."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from scipy import special

from bench.stats.intervals import LEVEL, MIN_RUNS, ROUNDING, Values, checked, checked_level
from bench.stats.power import SquaredError, smallest_difference
from bench.stats.ratio import Means, paired_means, ratio_of, unpaired_means

FAMILY_ALPHA = 0.005
"""Probability that a family of comparisons without any difference raises an alarm, at most.

It lies between two demands on a sweep of ten rounds in which two equal loaders differ with sd 2%. At most 1% of null
sweeps may raise any alarm: Holm's correction keeps the rate at or under FAMILY_ALPHA whatever the dependence between
comparisons (they share a baseline), so 0.005 leaves half of it as margin. At least 95% of sweeps must show a planted
slowdown of 5%, which makes the sd 2.05%: tested at FAMILY_ALPHA / m, with 9 degrees of freedom and noncentrality
0.05 √10 / 0.0205 = 7.71, the power is 99.9% for m = 1 comparison, 97.7% for 5, 95.7% for 8, and falls under 95% beyond
9. With 0.004 it would do so beyond 7.
"""

POWER = 0.95
"""Power at which the smallest detectable difference is stated."""

Key = TypeVar("Key", bound=Hashable)
Verdict: TypeAlias = Literal["slower", "faster", "no difference found", "too few runs"]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Mean of ours over mean of the baseline; what cannot be known from so few runs is None.

    The p value is two-sided, of the t test of the difference of the two means; it and the interval are for this ratio
    alone. An interval may have no upper limit, which is infinity then (`bench.stats.ratio.ratio_of`). `n` counts
    pairs, or is the size of the smaller set. `errors` are those of the difference of the means over the baseline's: one
    for pairs, one a set otherwise.
    """

    ratio: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    errors: tuple[SquaredError, ...] = ()


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A ratio as one of a family.

    `p` is Holm-corrected. `detectable` is relative: with 0.031, a slowdown of 3.1% would most likely have been found
    (`detectable_difference`). Both are None if there are too few runs.
    """

    ratio: Ratio
    p: float | None
    verdict: Verdict
    detectable: float | None


def paired_ratio(ours: Mapping[int, float], baseline: Mapping[int, float], level: float = LEVEL) -> Ratio:
    """Ratio of the two means, paired by round: what disturbs both of a round alike cancels. The paired t test.

    The means are over all rounds that a side has, those included that the other lacks: a table shows them
    (`paired_means`). No shared round: n is 0, the rest unknown. One: the ratio alone. Differences that are equal up to
    `ROUNDING`: p is the t test's limit, 0, or 1 if the means are equal.

    Args:
        ours: round -> a positive cost, such as seconds.
        baseline: the same of what is compared with.
        level: confidence of the interval, between 0 and 1.

    Raises:
        ValueError: a value is not positive and finite, or a level outside (0, 1).
    """
    checked_level(level)
    if not ours.keys() & baseline.keys():
        return Ratio(None)
    for side in (ours, baseline):
        _positive(list(side.values()))
    return _tested(paired_means(ours, baseline), level)


def unpaired_ratio(ours: Values, baseline: Values, level: float = LEVEL) -> Ratio:
    """Ratio of the means of runs whose rounds do not pair, as of two machines or commits: Welch's t test.

    An empty set: n is 0, the rest unknown. A set of one run: the ratio alone. No spread in either set: as
    `paired_ratio`.

    Welch's test keeps its level only nearly. At 0.005 it finds 0.7 times as many false differences with five runs on
    either side and equal sds, at most 1.4 times as many with sets of one size, and 2.1 times as many with 5 runs
    against 50; at 0.005 / 8, 0.6, 2.2 and 5.5 times. So the two sets should be of about one size.

    Args:
        ours: positive costs, such as seconds, one a run, ``[n]``.
        baseline: the same of what is compared with, ``[m]``.
        level: confidence of the interval, between 0 and 1.

    Raises:
        ValueError: a value is not positive and finite, or a level outside (0, 1).
    """
    checked_level(level)
    if not len(ours) or not len(baseline):
        return Ratio(None)
    for side in (ours, baseline):
        _positive(side)
    return _tested(unpaired_means(ours, baseline), level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): reject where the result is at most the family's alpha.

    Args:
        p_values: of the whole family, in any order.

    Returns:
        Corrected p values in the same order, never below the raw ones nor above 1.

    Raises:
        ValueError: a p value outside [0, 1].
    """
    raw = np.asarray(p_values, np.float64)
    if not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError(f"p values lie between 0 and 1: {list(p_values)}")
    order = np.argsort(raw)
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(1, np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1)))
    return [float(p) for p in corrected]


def detectable_difference(ratio: Ratio, alpha: float, power: float = POWER) -> float | None:
    """The smallest relative slowdown d that the test behind a ratio finds at level `alpha` with the power given.

    A speedup of as much is found as surely. The sd observed stands for the true one, which is 0.6 to 2.9 times that of
    five pairs (95%, by chi-squared).

    Returns:
        Relative, 0.031 for 3.1%; 0 where the runs do not vary at all; None with fewer than `MIN_RUNS` runs.

    Raises:
        ValueError: not 0 < alpha < power < 1.
    """
    if ratio.n < MIN_RUNS:
        return None
    return smallest_difference(ratio.errors, alpha, power)


def compare_all(ratios: Mapping[Key, Ratio], alpha: float = FAMILY_ALPHA) -> dict[Key, Comparison]:
    """Judge a family of ratios together, such as all loaders of one table against its baseline.

    A ratio of fewer than `MIN_RUNS` runs gets no verdict and does not count in the family; that depends on no value, so
    the error rate holds. The others are Holm-corrected: the probability of any false alarm is at most `alpha`, as far
    as the tests keep their level (`unpaired_ratio` says how far Welch's does). Each smallest detectable difference is
    for the strictest level, ``alpha / m``, that Holm puts on one of m comparisons. Intervals stay those of each ratio
    alone: one that misses 1 is no finding yet.

    Args:
        ratios: from `paired_ratio` or `unpaired_ratio`, of costs: above 1 is slower.
        alpha: family-wise error rate.

    Raises:
        ValueError: alpha outside (0, `POWER`).
    """
    if not 0 < alpha < POWER:
        raise ValueError(f"a family-wise error rate lies between 0 and {POWER}, not at {alpha}")
    tested = {key: ratio.p for key, ratio in ratios.items() if ratio.n >= MIN_RUNS and ratio.p is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {key: _comparison(ratio, corrected.get(key), alpha, len(tested)) for key, ratio in ratios.items()}


def _comparison(ratio: Ratio, p: float | None, alpha: float, family: int) -> Comparison:
    if p is None or ratio.ratio is None:
        return Comparison(ratio, None, "too few runs", None)
    verdict: Verdict = "no difference found"
    if p <= alpha:
        verdict = "slower" if ratio.ratio > 1 else "faster"
    return Comparison(ratio, p, verdict, detectable_difference(ratio, alpha / family))


def _positive(values: Values) -> None:
    if (runs := checked(values)).min() <= 0:
        raise ValueError(f"a ratio needs positive values, not {runs.min()}")


def _tested(means: Means, level: float) -> Ratio:
    """The t test of the difference of the means against 0, and the interval of their ratio."""
    found = ratio_of(means, level)
    assert found is not None  # both means are positive
    if found.low is None:
        return Ratio(found.mean, n=means.n)
    apart, noise = means.above - means.below, ROUNDING * means.below
    errors = tuple(SquaredError(e.value / means.below**2, e.degrees) for e in means.errors)
    if means.error <= noise:
        none = tuple(SquaredError(0.0, e.degrees) for e in errors)
        return Ratio(found.mean, found.low, found.high, float(abs(apart) <= noise), means.n, none)
    p = 2 * float(special.stdtr(means.degrees, -abs(apart) / means.error))
    return Ratio(found.mean, found.low, found.high, p, means.n, errors)
