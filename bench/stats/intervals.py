"""The mean of one quantity over repeated runs with its 95% interval, and how far the runs spread."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

Values: TypeAlias = Sequence[float] | NDArray[np.float64]

LEVEL = 0.95
"""Confidence of every interval."""
LEAST_RUNS = 3
"""Runs below which there is no interval: of two it would be thirteen times as wide as they are apart."""
MIN_RUNS = 5
"""Runs below which nothing is claimed."""
SPREAD_LIMIT = 0.10
"""Relative spread from which a set of runs is flagged."""
BOOTSTRAP_MIN_RUNS = 10
"""Runs below which no bootstrap interval is given; `bootstrap_interval` says why."""
RESAMPLES = 9_999
ROUNDING = 1e-12
"""Relative differences that are no larger come from rounding."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over runs and its t interval, in the unit of the values; or a ratio or difference of two means.

    One run or two have a mean but no interval: `low` and `high` are then None, not NaN, so that no table prints them
    by accident. A ratio without an upper limit has infinity there.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


def positive_interval(values: Values) -> Interval:
    """`mean_interval` of a quantity that cannot be negative, such as a time.

    Where that would reach below 0, the runs differ by factors rather than by amounts: the limits are then the mean
    divided and multiplied by one factor, from Student's t interval of the logarithms. Where a value is 0, it is cut.
    """
    plain, runs = mean_interval(values), checked(values)
    if plain.low is None or plain.low >= 0 or plain.mean < 0:
        return plain
    if runs.min() <= 0:
        return dataclasses.replace(plain, low=0.0)
    factor = math.exp(student(runs.size - 1) * float(np.log(runs).std(ddof=1)) / runs.size**0.5)
    return dataclasses.replace(plain, low=plain.mean / factor, high=plain.mean * factor)


def mean_interval(values: Values) -> Interval:
    """Mean with Student's t interval, ``mean ± t(n - 1) sd / √n``.

    Args:
        values: one value a run, ``[n]``. Epochs of one run are not independent: average them first.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    runs = checked(values)
    mean = float(runs.mean())
    if runs.size < LEAST_RUNS:
        return Interval(mean, None, None, runs.size)
    half = student(runs.size - 1) * float(runs.std(ddof=1)) / runs.size**0.5
    return Interval(mean, mean - half, mean + half, runs.size)


def relative_spread(values: Values) -> float | None:
    """Standard deviation over the absolute mean, of values as for `mean_interval`; None for one run or a mean of 0."""
    runs = checked(values)
    mean = abs(float(runs.mean()))
    return float(runs.std(ddof=1)) / mean if runs.size > 1 and mean > 0 else None


def bootstrap_interval(values: Values, statistic: Callable[..., Any]) -> tuple[float, float] | None:
    """Limits of the BCa bootstrap interval (Efron 1987), for statistics that have no t interval, such as a median.

    The same at every call. Fewer than `BOOTSTRAP_MIN_RUNS` runs get none: the bootstrap takes the runs for the
    population, whose sd is then too small by √((n - 1) / n), and has no t quantile to make up for it; the acceleration
    is a third moment of n jackknife values. Of normal runs, the nominal 95% interval holds the mean in 84% of cases
    with 5 runs, 90% with 10 and 94% with 30. None also where BCa is undefined, as where leaving out any one run changes
    nothing.

    Args:
        values: as `mean_interval`, with the same errors.
        statistic: of ``[n]``, with an ``axis``, as NumPy's have.
    """
    runs = checked(values)
    if runs.size < BOOTSTRAP_MIN_RUNS:
        return None
    if np.ptp(runs) == 0:  # every resample is the sample
        return float(statistic(runs)), float(statistic(runs))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)  # its limits are NaN, which is tested below
        low, high = scipy.stats.bootstrap(
            (runs,), statistic, confidence_level=LEVEL, n_resamples=RESAMPLES, rng=np.random.default_rng(0)
        ).confidence_interval
    return (float(low), float(high)) if np.isfinite([low, high]).all() else None


def student(degrees: float, level: float = LEVEL) -> float:
    """Student's t that holds so much of the probability between it and its negative."""
    return -float(scipy.special.stdtrit(degrees, (1 - level) / 2))


def checked(values: Values) -> NDArray[np.float64]:
    """The values as float64 ``[n]``; a ``ValueError`` if there are none or one is not finite."""
    runs = np.asarray(values, np.float64)
    if runs.ndim != 1 or runs.size == 0:
        raise ValueError(f"a list of at least one value is needed, not an array of shape {runs.shape}")
    if not np.isfinite(runs).all():
        raise ValueError(f"every value must be finite: {runs[~np.isfinite(runs)][0]} is not")
    return runs
