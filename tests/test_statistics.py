"""Intervals are those of scipy, hold the truth as often as they say, and are None where nothing is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.stats.intervals import (
    BOOTSTRAP_MIN_RUNS,
    LEVEL,
    Interval,
    bootstrap_interval,
    mean_interval,
    positive_interval,
    relative_spread,
)

SECONDS = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=30).filter(lambda v: max(v) - min(v) > 1e-9 * max(v))

steady = settings(derandomize=True, deadline=None, max_examples=50)


def binomial_bounds(probability: float, trials: int) -> tuple[float, float]:
    """Within which the rate of so many trials falls but for one time in 10,000."""
    low, high = stats.binom.interval(1 - 1e-4, trials, probability)
    return low / trials, high / trials


@steady
@given(SECONDS, st.floats(1e-3, 1e3))
def test_the_interval_is_scipys_and_follows_the_unit(values: list[float], scale: float) -> None:
    interval, scaled = mean_interval(values), mean_interval([scale * v for v in values])
    low, high = stats.t.interval(LEVEL, len(values) - 1, np.mean(values), stats.sem(values))
    assert interval.mean == pytest.approx(np.mean(values))
    assert interval.n == len(values)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert scaled.mean == pytest.approx(scale * interval.mean)
    assert scaled.low == pytest.approx(scale * low, abs=1e-9 * scaled.mean)
    assert relative_spread([scale * v for v in values]) == pytest.approx(relative_spread(values), rel=1e-6)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    runs = np.random.default_rng(0).normal(60, 1.2, (4_000, 5))
    intervals = [mean_interval(values) for values in runs]
    held = np.mean([i.low is not None and i.high is not None and i.low <= 60 <= i.high for i in intervals])
    low, high = binomial_bounds(LEVEL, len(runs))
    assert low <= held <= high


def test_one_run_and_equal_runs() -> None:
    interval = mean_interval([2.5])
    assert (interval.mean, interval.low, interval.high, interval.n) == (2.5, None, None, 1)
    assert (relative_spread([2.5]), bootstrap_interval([2.5], np.median)) == (None, None)
    interval = mean_interval([2.0] * 10)
    assert (interval.low, interval.high) == (2.0, 2.0)
    assert relative_spread([2.0] * 10) == 0
    assert bootstrap_interval([2.0] * 10, np.median) == (2.0, 2.0)


def test_spread_is_sd_over_the_absolute_mean() -> None:
    assert relative_spread([9.0, 11.0]) == pytest.approx(2**0.5 / 10)
    assert relative_spread([-9.0, -11.0]) == pytest.approx(2**0.5 / 10)
    assert relative_spread([-1.0, 1.0]) is None


@steady
@given(SECONDS)
def test_a_quantity_that_cannot_be_negative_has_limits_above_zero(values: list[float]) -> None:
    plain, interval = mean_interval(values), positive_interval(values)
    assert (interval.mean, interval.n) == (plain.mean, plain.n)
    if plain.low is None or plain.low >= 0:
        assert interval == plain
        return
    logs = np.log(values)
    low, high = stats.t.interval(LEVEL, len(values) - 1, logs.mean(), stats.sem(logs))
    assert interval.low is not None and interval.high is not None
    assert 0 < interval.low < interval.mean < interval.high
    assert interval.high / interval.low == pytest.approx(np.exp(high - low), rel=1e-6)
    assert interval.high / interval.mean == pytest.approx(interval.mean / interval.low, rel=1e-6)


def test_where_a_value_is_zero_there_is_no_logarithm() -> None:
    assert positive_interval([0.0, 0.1, 2.0]).low == 0
    assert positive_interval([-1.0, -1.1, -0.9]) == mean_interval([-1.0, -1.1, -0.9])
    assert mean_interval([1.0, 1.1]) == Interval(1.05, None, None, 2)


def test_what_has_no_mean_is_refused() -> None:
    without_mean: list[Any] = [[], [[1.0, 2.0]], [1.0, float("nan")], [1.0, float("inf")]]
    for values in without_mean:
        for function in (mean_interval, relative_spread, lambda v: bootstrap_interval(v, np.median)):
            with pytest.raises(ValueError, match=r"at least one value|finite"):
                function(values)


def test_the_bootstrap_needs_runs_and_repeats_itself() -> None:
    runs = np.random.default_rng(1).normal(60, 1.2, BOOTSTRAP_MIN_RUNS)
    assert bootstrap_interval(runs[:-1], np.median) is None
    assert bootstrap_interval(runs, np.median) == bootstrap_interval(runs, np.median) is not None


def test_the_bootstrap_of_many_runs_is_the_t_interval() -> None:
    runs = np.random.default_rng(3).normal(60, 1.2, 400)
    interval = mean_interval(runs)
    assert interval.high is not None
    close = 0.1 * (interval.high - interval.mean)
    assert bootstrap_interval(runs, np.mean) == pytest.approx((interval.low, interval.high), abs=close)


def test_the_bootstrap_of_a_median_holds_it() -> None:
    rng = np.random.default_rng(4)
    limits = [bootstrap_interval(rng.lognormal(0, 0.5, 15), np.median) for _ in range(60)]
    held = np.mean([found is not None and found[0] <= 1 <= found[1] for found in limits])
    assert held >= binomial_bounds(0.9, 60)[0]


def test_a_bootstrap_that_is_undefined_is_none() -> None:
    assert bootstrap_interval([1.0] * 12 + [2.0], np.median) is None


@settings(steady, max_examples=20)
@given(st.lists(st.sampled_from([1.0, 1.5, 2.0]), min_size=10, max_size=13))
def test_ties_leave_limits_that_are_numbers_in_order(values: list[float]) -> None:
    limits = bootstrap_interval(values, np.median)
    assert limits is None or 1 <= limits[0] <= limits[1] <= 2
