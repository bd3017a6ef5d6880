"""Intervals are those of scipy, hold the truth as often as they say, and say nothing where nothing is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.stats.intervals import (
    BOOTSTRAP_MIN_RUNS,
    SPREAD_LIMIT,
    bootstrap_interval,
    is_spread_wide,
    mean_interval,
    relative_spread,
)

SECONDS = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=30).filter(lambda v: max(v) - min(v) > 1e-9 * max(v))

steady = settings(derandomize=True, deadline=None)


def binomial_bounds(probability: float, trials: int) -> tuple[float, float]:
    """Within which the rate of so many trials falls but for one time in 10,000."""
    low, high = stats.binom.interval(1 - 1e-4, trials, probability)
    return low / trials, high / trials


@steady
@given(SECONDS, st.floats(0.5, 0.999))
def test_the_interval_is_scipys(values: list[float], level: float) -> None:
    interval = mean_interval(values, level)
    low, high = stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))
    assert interval.mean == pytest.approx(np.mean(values))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert interval.half_width == pytest.approx((high - low) / 2)
    assert interval.n == len(values)


@steady
@given(SECONDS, st.floats(1e-3, 1e3))
def test_interval_and_spread_follow_the_unit(values: list[float], scale: float) -> None:
    interval, scaled = mean_interval(values), mean_interval([scale * v for v in values])
    assert interval.low is not None
    assert scaled.mean == pytest.approx(scale * interval.mean)
    assert scaled.low == pytest.approx(scale * interval.low, abs=1e-9 * scaled.mean)
    assert relative_spread([scale * v for v in values]) == pytest.approx(relative_spread(values), rel=1e-6)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    runs = np.random.default_rng(0).normal(60, 1.2, (10_000, 5))
    for level in (0.8, 0.95):
        intervals = [mean_interval(values, level) for values in runs]
        held = np.mean([i.low is not None and i.high is not None and i.low <= 60 <= i.high for i in intervals])
        low, high = binomial_bounds(level, len(runs))
        assert low <= held <= high


def test_one_run_has_a_mean_and_no_interval() -> None:
    interval = mean_interval([2.5])
    assert (interval.mean, interval.low, interval.high, interval.half_width, interval.n) == (2.5, None, None, None, 1)
    assert relative_spread([2.5]) is None
    assert not is_spread_wide([2.5])
    assert bootstrap_interval([2.5]) is None


def test_equal_runs_have_an_interval_of_no_width() -> None:
    interval = mean_interval([2.0] * 5)
    assert (interval.low, interval.high) == (2.0, 2.0)
    assert relative_spread([2.0] * 5) == 0
    assert bootstrap_interval([2.0] * 10) == (2.0, 2.0)
    assert bootstrap_interval([2.0] * 10, np.median) == (2.0, 2.0)


def test_spread_is_sd_over_mean_and_flagged_from_the_limit_on() -> None:
    assert relative_spread([9.0, 11.0]) == pytest.approx(2**0.5 / 10)
    assert relative_spread([-9.0, -11.0]) == pytest.approx(2**0.5 / 10)
    assert relative_spread([-1.0, 1.0]) is None
    for spread, flagged in ((SPREAD_LIMIT - 1e-6, False), (SPREAD_LIMIT + 1e-6, True)):
        offset = spread / 2**0.5
        assert is_spread_wide([1 - offset, 1 + offset]) is flagged
    assert not is_spread_wide([-1.0, 1.0])


@pytest.mark.parametrize("function", [mean_interval, relative_spread, is_spread_wide, bootstrap_interval])
@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, float("nan")], [1.0, float("inf")]])
def test_what_has_no_mean_is_refused(function: Callable[[Any], object], values: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"at least one value|finite"):
        function(values)


@pytest.mark.parametrize("function", [mean_interval, bootstrap_interval])
@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_is_a_probability(function: Callable[..., object], level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        function([1.0, 2.0], level=level)


def test_the_bootstrap_is_not_offered_to_few_runs() -> None:
    runs = np.random.default_rng(1).normal(60, 1.2, BOOTSTRAP_MIN_RUNS)
    assert bootstrap_interval(runs[:-1]) is None
    assert bootstrap_interval(runs) is not None


def test_the_bootstrap_repeats_itself_and_moves_with_its_seed() -> None:
    runs = np.random.default_rng(2).normal(60, 1.2, 12)
    assert bootstrap_interval(runs) == bootstrap_interval(runs)
    assert bootstrap_interval(runs) != bootstrap_interval(runs, seed=1)


def test_the_bootstrap_of_many_runs_is_the_t_interval() -> None:
    runs = np.random.default_rng(3).normal(60, 1.2, 400)
    interval, limits = mean_interval(runs), bootstrap_interval(runs)
    assert interval.half_width is not None
    assert limits == pytest.approx((interval.low, interval.high), abs=0.1 * interval.half_width)


def test_the_bootstrap_of_a_median_holds_it() -> None:
    rng = np.random.default_rng(4)
    limits = [bootstrap_interval(rng.lognormal(0, 0.5, 15), np.median) for _ in range(150)]
    held = np.mean([found is not None and found[0] <= 1 <= found[1] for found in limits])
    assert held >= binomial_bounds(0.9, 150)[0]


def test_a_bootstrap_that_is_undefined_is_none() -> None:
    assert bootstrap_interval([1.0] * 12 + [2.0], np.median) is None


@steady
@given(st.lists(st.sampled_from([1.0, 1.5, 2.0]), min_size=10, max_size=13))
def test_ties_leave_limits_that_are_numbers_in_order(values: list[float]) -> None:
    limits = bootstrap_interval(values, np.median)
    assert limits is None or 1 <= limits[0] <= limits[1] <= 2


def test_a_statistic_without_an_axis_will_do() -> None:
    runs = np.random.default_rng(5).normal(60, 1.2, 10)
    assert bootstrap_interval(runs, lambda v: float(np.sort(v)[1:-1].mean())) is not None
