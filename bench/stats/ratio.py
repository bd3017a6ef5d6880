"""Ratio and difference of two means, paired by round or not, with their 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.stats.intervals import LEAST_RUNS, LEVEL, Interval, Values, checked, student
from bench.stats.power import SquaredError, satterthwaite


class Means(NamedTuple):
    """Two means and their errors."""

    above: float
    below: float
    n: int  # pairs, or the size of the smaller set
    errors: tuple[SquaredError, ...] = ()
    """Behind ``above - below``, in the unit of the values: one for pairs, else one a set; none of too few values."""
    degrees: float = 0.0  # of freedom
    relative: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Squared standard errors of ``above / below``, to first order, and of ``below``, each relative to it, and the
    covariance of the two."""

    @property
    def error(self) -> float:
        """Standard error of ``above - below``."""
        return math.sqrt(sum(e.value for e in self.errors))


def paired_means(above: Mapping[int, float], below: Mapping[int, float]) -> Means:
    """Means over all values of either side, which vary together within a round.

    A round that one side lacks still counts for the other side's mean: the mean is the one that a table shows. Its
    disturbance then cancels from nothing; the errors, by linearisation over rounds (Woodruff 1971), include that.
    Both sides are round -> value.

    Raises:
        ValueError: a side has no values, or one that is not finite.
    """
    shared, rounds = above.keys() & below.keys(), list(above.keys() | below.keys())
    mine, base = (float(checked(list(side.values())).mean()) for side in (above, below))
    if len(shared) < 2:
        return Means(mine, base, len(shared))
    far, near = _deviations(above, mine, rounds), _deviations(below, base, rounds)
    degrees, scale = len(shared) - 1, 1 / (len(rounds) * (len(rounds) - 1))
    error = SquaredError(float((far - near) @ (far - near)) * scale, degrees)
    means = Means(mine, base, len(shared), (error,), degrees)
    if not mine or not base:
        return means
    near = near / base
    apart = far / mine - near
    quotient, square, cross = (float(a @ b) * scale for a, b in ((apart, apart), (near, near), (apart, near)))
    return means._replace(relative=(quotient, square, cross))


def unpaired_means(above: Values, below: Values) -> Means:
    """Means of two independent sets, ``[n]`` and ``[m]``, which may vary differently (Welch). Raises as `checked`."""
    sets = [checked(values) for values in (above, below)]
    mine, base = (float(values.mean()) for values in sets)
    n = min(values.size for values in sets)
    if n < 2:
        return Means(mine, base, n)
    errors = tuple(SquaredError(float(v.var(ddof=1)) / v.size, v.size - 1) for v in sets)
    means = Means(mine, base, n, errors, satterthwaite(errors) if any(e.value for e in errors) else n - 1)
    if not mine or not base:
        return means
    far, near = errors[0].value / mine**2, errors[1].value / base**2
    return means._replace(relative=(far + near, near, -near))


def difference_of(means: Means) -> Interval:
    """``above - below`` with its t interval; without one where there are fewer than three pairs."""
    apart = means.above - means.below
    if means.n < LEAST_RUNS:
        return Interval(apart, None, None, means.n)
    half = student(means.degrees) * means.error
    return Interval(apart, apart - half, apart + half, means.n)


def ratio_of(means: Means, level: float = LEVEL) -> Interval | None:
    """``above / below`` with Fieller's interval (1954): all ratios that a t test of ``above - ratio x below`` keeps.

    It misses 1 exactly where the t interval of the difference misses 0, so that a ratio, the time saved and a verdict
    agree. What is measured is positive, and so are the limits: a lower one is cut at 0. Where ``below`` itself cannot
    be told from 0, the upper limit is infinity: no bounded interval would hold the ratio as often as it says (Gleser
    and Hwang 1987).

    Returns:
        None where ``below`` is not above 0. No limits with fewer than three pairs, or where ``above`` is below 0.
    """
    if means.below <= 0:
        return None
    ratio = means.above / means.below
    if means.n < LEAST_RUNS or ratio < 0:
        return Interval(ratio, None, None, means.n)
    low, high = _fieller(means, level)
    return Interval(ratio, low * ratio, high * ratio if ratio else 0.0, means.n)


def _fieller(means: Means, level: float) -> tuple[float, float]:
    """The limits over the ratio: where a r² - 2 b r + c, with the square of Student's t in it, is not above 0."""
    squared = student(means.degrees, level) ** 2
    quotient, base, cross = (squared * value for value in means.relative)
    a, b = 1 - base, 1 - base - cross
    root = max(0.0, quotient - (quotient * base - cross**2)) ** 0.5
    if a > 0:
        return max(0.0, (b - root) / a), (b + root) / a
    if a == 0 or not root:
        return 0.0, math.inf
    # All ratios but a gap. Both sides of it are possible, unless the difference is told from 0 or one side is negative.
    start, end = (b + root) / a, (b - root) / a
    one = means.below / means.above
    if start > 0 and not start < one < end:
        return 0.0, math.inf
    return (max(0.0, end), math.inf) if end <= 1 else (0.0, start)


def _deviations(side: Mapping[int, float], mean: float, rounds: list[int]) -> NDArray[np.float64]:
    """What each round adds to the mean's error, ``[rounds]``; 0 for one that the side lacks."""
    weight = len(rounds) / len(side)
    return np.array([weight * (side[r] - mean) if r in side else 0.0 for r in rounds])
