"""Ratios between two sets of runs, and what a family of such ratios allows to be claimed."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.measure.power import SquaredError, satterthwaite, smallest_difference
from bench.measure.statistics import LEVEL, MIN_RUNS, Values, checked, checked_level, quantile

FAMILY_ALPHA = 0.005
"""Probability that a family of comparisons without any difference raises an alarm, at most.

It lies between two demands on a sweep of ten rounds whose log ratios have sd 2%. At most 1% of null sweeps may raise
any alarm: Holm's correction keeps the rate at or under FAMILY_ALPHA whatever the dependence between comparisons (they
share a baseline), so 0.005 leaves half of it as margin. At least 95% of sweeps must show a planted slowdown of 5%:
tested at FAMILY_ALPHA / m, with 9 degrees of freedom and noncentrality ln(1.05) √10 / 0.02 = 7.71, the power is 99.9%
for m = 1 comparison, 97.7% for 5, 95.7% for 8, and falls under 95% beyond 9. With 0.004 it would do so beyond 7.
"""

POWER = 0.95
"""Power at which the smallest detectable difference is stated."""

RESOLUTION = 1e-12
"""Log ratios that differ by no more than this do so by rounding."""

Key = TypeVar("Key", bound=Hashable)
Verdict: TypeAlias = Literal["slower", "faster", "no difference found", "too few runs"]


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Ours over the baseline, as a ratio of geometric means; what cannot be known from so few runs is None.

    `sd` is that of ln(ours / baseline) for one run of each. The p value is two-sided, against a ratio of 1, for this
    ratio alone; so is the interval. `n` counts pairs, or is the size of the smaller set. `errors` are those of the mean
    log ratio: one for pairs, one a set otherwise.
    """

    ratio: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    sd: float | None = None
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
    """Ratio from pairs of one round: what disturbs a whole round cancels. The paired t test on logarithms.

    Rounds that only one side has are left out. No pair: n is 0, the rest unknown. One pair: the ratio alone. Ratios
    equal up to `RESOLUTION`: the interval is the ratio itself; p is the t test's limit, 0, or 1 if the ratio is 1.

    Args:
        ours: round -> a positive cost, such as seconds.
        baseline: the same of what is compared with.
        level: confidence of the interval, between 0 and 1.

    Raises:
        ValueError: a value of a shared round is not positive and finite, or a level outside (0, 1).
    """
    checked_level(level)
    rounds = sorted(ours.keys() & baseline.keys())
    if not rounds:
        return Ratio(None)
    logs = _logarithms([ours[r] for r in rounds]) - _logarithms([baseline[r] for r in rounds])
    mean, n = float(logs.mean()), logs.size
    if n == 1:
        return Ratio(_exponential(mean), n=1)
    variance = float(logs.var(ddof=1))
    return _tested(mean, n, variance, (SquaredError(variance / n, n - 1),), level)


def unpaired_ratio(ours: Values, baseline: Values, level: float = LEVEL) -> Ratio:
    """Ratio between runs whose rounds do not pair, as of two machines or commits: Welch's t test on logarithms.

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
    sets = (_logarithms(ours), _logarithms(baseline))
    mean, n = float(sets[0].mean() - sets[1].mean()), min(s.size for s in sets)
    if n == 1:
        return Ratio(_exponential(mean), n=1)
    variances = [float(s.var(ddof=1)) for s in sets]
    errors = tuple(SquaredError(v / s.size, s.size - 1) for v, s in zip(variances, sets, strict=True))
    return _tested(mean, n, sum(variances), errors, level)


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

    The speedup found as surely is d / (1 + d), which is as much in logarithms. The sd observed stands for the true one,
    which is 0.6 to 2.9 times that of five pairs (95%, by chi-squared).

    Returns:
        Relative, 0.031 for 3.1%; 0 where the runs do not vary at all; None with fewer than `MIN_RUNS` runs.

    Raises:
        ValueError: not 0 < alpha < power < 1.
    """
    if ratio.n < MIN_RUNS:
        return None
    return _exponential(smallest_difference(ratio.errors, alpha, power), np.expm1)


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


def _logarithms(values: Values) -> NDArray[np.float64]:
    runs = checked(values)
    if (runs <= 0).any():
        raise ValueError(f"a ratio needs positive values, not {runs.min()}")
    return np.log(runs)


def _tested(mean: float, n: int, variance: float, errors: tuple[SquaredError, ...], level: float) -> Ratio:
    """The t test of a mean log ratio against 0, given the variance of one log ratio and the errors of the mean."""
    ratio = _exponential(mean)
    if variance**0.5 <= RESOLUTION:
        none = tuple(SquaredError(0.0, e.degrees) for e in errors)
        return Ratio(ratio, ratio, ratio, float(abs(mean) <= RESOLUTION), n, 0.0, none)
    error, degrees = sum(e.value for e in errors) ** 0.5, satterthwaite(errors)
    p, half = 2 * float(special.stdtr(degrees, -abs(mean) / error)), quantile(degrees, level) * error
    return Ratio(ratio, _exponential(mean - half), _exponential(mean + half), p, n, variance**0.5, errors)


def _exponential(logarithm: float, function: np.ufunc = np.exp) -> float:
    with np.errstate(over="ignore"):
        return float(function(logarithm))
