"""Ratios agree with scipy's tests; families alarm, find and detect as often as they say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from bench.stats.comparison import (
    FAMILY_ALPHA,
    POWER,
    Ratio,
    compare_all,
    holm,
    paired_ratio,
    unpaired_ratio,
)
from bench.stats.intervals import MIN_RUNS
from bench.stats.power import SquaredError, satterthwaite, smallest_difference
from bench.stats.ratio import difference_of, paired_means
from tests.test_statistics import binomial_bounds

ROUNDS, PAIRED_SD, SWEEPS = 10, 0.02, 600
SECONDS = st.floats(1e-3, 1e3)
PAIRS = st.dictionaries(st.integers(0, 30), st.tuples(SECONDS, SECONDS), min_size=3, max_size=20).filter(
    lambda pairs: np.std([a - b for a, b in pairs.values()]) > 1e-6 * max(map(max, pairs.values()))
)
SETS = st.lists(SECONDS, min_size=3, max_size=20).filter(lambda v: np.std(v) > 1e-6 * max(v))
P_VALUES = st.lists(st.floats(0, 1), max_size=12)
Loaders = dict[str, dict[int, float]]
Pairs = dict[int, tuple[float, float]]

steady = settings(derandomize=True, deadline=None, max_examples=50)


def numbered(values: Any) -> dict[int, float]:
    return dict(enumerate(np.asarray(values, float).tolist()))


def sides(pairs: Pairs) -> tuple[dict[int, float], dict[int, float]]:
    return {r: pair[0] for r, pair in pairs.items()}, {r: pair[1] for r, pair in pairs.items()}


def numbers(ratio: Ratio) -> list[float]:
    found = (ratio.ratio, ratio.low, ratio.high, ratio.p)
    assert None not in found
    return [float(number) for number in found if number is not None]


def detectable(n: int, sd: float, alpha: float) -> float:
    """Of pairs whose differences have the sd given, in parts of the baseline's mean."""
    return smallest_difference([SquaredError(sd**2 / n, n - 1)], alpha, POWER)


def sweeps(count: int, loaders: int, slowdown: float = 0.0, round_sd: float = 0.05) -> Iterator[Loaders]:
    """Rounds differ, loaders by nothing but noise whose log ratios have sd 2%; the last is slowed down."""
    rng = np.random.default_rng(loaders)
    for _ in range(count):
        logs = rng.normal(math.log(60), round_sd, ROUNDS) + rng.normal(0, PAIRED_SD / 2**0.5, (loaders, ROUNDS))
        logs[-1] += math.log1p(slowdown)
        yield {f"loader {i}": numbered(np.exp(row)) for i, row in enumerate(logs)}


def p_values(sweep: Loaders, ratio: Callable[[Any, Any], Ratio] = paired_ratio) -> dict[str, float]:
    """Holm-corrected, of every loader against the first. Not `compare_all`, whose detectable differences take long."""
    (_, baseline), *others = sweep.items()
    raw = [ratio(ours, baseline).p for _, ours in others]
    return dict(zip([name for name, _ in others], holm([p for p in raw if p is not None]), strict=True))


@steady
@given(PAIRS)
def test_the_paired_ratio_is_that_of_the_means_and_scipys_test(pairs: Pairs) -> None:
    ours, baseline = sides(pairs)
    ratio = paired_ratio(ours, baseline)
    expected = stats.ttest_rel(list(ours.values()), list(baseline.values()))
    base = np.mean(list(baseline.values()))
    assert ratio.ratio == pytest.approx(np.mean(list(ours.values())) / base)
    assert ratio.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert ratio.n == len(pairs)
    apart = np.subtract(list(ours.values()), list(baseline.values()))
    assert [e.value for e in ratio.errors] == pytest.approx([(stats.sem(apart) / base) ** 2])
    assert satterthwaite(ratio.errors) == pytest.approx(expected.df)
    difference, limits = difference_of(paired_means(ours, baseline)), expected.confidence_interval(0.95)
    assert difference.mean == pytest.approx(np.mean(apart))
    assert difference.n == len(pairs)
    assert (difference.low, difference.high) == pytest.approx(tuple(limits), rel=1e-6, abs=1e-9)


@steady
@given(SETS, SETS)
def test_the_unpaired_ratio_is_that_of_the_means_and_scipys_welch_test(
    ours: list[float], baseline: list[float]
) -> None:
    ratio = unpaired_ratio(ours, baseline)
    expected = stats.ttest_ind(ours, baseline, equal_var=False)
    assert ratio.ratio == pytest.approx(np.mean(ours) / np.mean(baseline))
    assert ratio.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert ratio.n == min(len(ours), len(baseline))
    assert satterthwaite(ratio.errors) == pytest.approx(expected.df)


@steady
@given(PAIRS, st.floats(0.01, 100))
def test_the_interval_holds_every_ratio_that_a_t_test_keeps(pairs: Pairs, times: float) -> None:
    """Fieller's definition, by scipy's test of ours less so many times the baseline."""
    ours, baseline = (np.array([pair[side] for pair in pairs.values()]) for side in (0, 1))
    _, low, high, _ = numbers(paired_ratio(numbered(ours), numbered(baseline)))
    if np.std(ours - times * baseline) < 1e-6 * max(ours.max(), times * baseline.max()):
        return
    p = stats.ttest_1samp(ours - times * baseline, 0).pvalue
    if p > 0.0501:
        # Where neither mean is told from 0, the ratios kept are two pieces, of which one may be shown.
        assert low <= times <= high or all(stats.ttest_1samp(side, 0).pvalue > 0.0499 for side in (ours, baseline))
    elif p < 0.0499 and math.isfinite(high):
        assert not low <= times <= high


def test_a_baseline_that_is_not_told_from_0_leaves_the_ratio_without_an_upper_limit() -> None:
    wild = [10.0, 11.0, 9.0, 10.0, 90.0]
    ratio = paired_ratio(numbered([8.0, 8.1, 7.9, 8.0, 8.2]), numbered(wild))
    assert stats.ttest_1samp(wild, 0).pvalue > 0.05
    assert ratio.low is not None
    assert 0 < ratio.low < 0.31 == pytest.approx(ratio.ratio, abs=0.005)
    assert ratio.high == math.inf
    assert compare_all({0: ratio})[0].verdict == "no difference found"
    turned = paired_ratio(numbered(wild), numbered([8.0, 8.1, 7.9, 8.0, 8.2]))
    assert turned.low == 0  # what is positive has no negative ratio
    assert turned.high == pytest.approx(1 / ratio.low)


@steady
@given(PAIRS, st.booleans(), SECONDS)
def test_ratios_have_no_unit_and_turn_round(pairs: Pairs, paired: bool, scale: float) -> None:
    def ratio(ours: dict[int, float], baseline: dict[int, float]) -> list[float]:
        if paired:
            return numbers(paired_ratio(ours, baseline))
        return numbers(unpaired_ratio(list(ours.values()), list(baseline.values())))

    ours, baseline = sides(pairs)
    forth = ratio(ours, baseline)
    scaled = ratio({r: scale * v for r, v in ours.items()}, {r: scale * v for r, v in baseline.items()})
    assert scaled == pytest.approx(forth, rel=1e-6, abs=1e-12)
    mean, low, high, p = forth
    turned = [1 / mean, 1 / high if 0 < high < math.inf else 0.0, 1 / low if low > 0 else math.inf, p]
    assert ratio(baseline, ours) == pytest.approx(turned, rel=1e-4, abs=1e-9)


@steady
@given(PAIRS)
def test_the_interval_misses_1_where_p_says_so(pairs: Pairs) -> None:
    _, low, high, p = numbers(paired_ratio(*sides(pairs)))
    if abs(p - 0.05) > 1e-9:
        assert (p < 0.05) == (not low <= 1 <= high)


def test_rounds_of_one_side_count_for_its_mean_and_for_no_pair() -> None:
    ours, baseline = {0: 2.0, 1: 4.0, 2: 9.0, 7: 5.0}, {1: 2.0, 2: 3.0, 0: 1.0, 5: 2.0}
    ratio = paired_ratio(ours, baseline)
    assert ratio.n == 3
    assert ratio.ratio == pytest.approx(5 / 2)
    # By hand: a side's share in the error of its mean is 5/4 of the distance from it in the four of five rounds it has.
    far = 5 / 4 * np.array([2 - 5, 4 - 5, 9 - 5, 0, 0])
    near = 5 / 4 * np.array([1 - 2, 0, 3 - 2, 0, 0])
    (error,) = ratio.errors
    assert error.value == pytest.approx(np.sum((far - near) ** 2) / (5 * 4) / 2**2)
    assert error.degrees == 2


def test_a_round_that_one_side_lacks_widens_the_interval() -> None:
    rng = np.random.default_rng(3)
    rounds = np.exp(rng.normal(0, 0.3, 12))
    ours, baseline = (numbered(rounds * np.exp(rng.normal(0, 0.01, 12))) for _ in range(2))
    _, low, high, _ = numbers(paired_ratio(ours, baseline))
    _, low_of_part, high_of_part, _ = numbers(paired_ratio({r: v for r, v in ours.items() if r}, baseline))
    assert high_of_part - low_of_part > 2 * (high - low)
    assert low_of_part < 1 < high_of_part


def test_what_too_few_runs_cannot_say_is_none() -> None:
    for ratio, expected in (
        (paired_ratio({}, {}), Ratio(None)),
        (paired_ratio({0: 1.0}, {1: 1.0}), Ratio(None)),
        (paired_ratio({0: 3.0, 1: 1.0}, {0: 2.0}), Ratio(1.0, n=1)),
        (unpaired_ratio([], [1.0, 2.0]), Ratio(None)),
        (unpaired_ratio([1.0], []), Ratio(None)),
        (unpaired_ratio([3.0], [2.0, 2.0, 2.0]), Ratio(1.5, n=1)),
    ):
        assert ratio == expected
    alone = difference_of(paired_means({0: 3.0}, {0: 2.0}))
    assert (alone.mean, alone.low, alone.high, alone.n) == (1.0, None, None, 1)


def test_differences_that_do_not_vary_are_sure() -> None:
    values = np.random.default_rng(0).uniform(1, 2, 6)
    for apart, p, verdict in (
        (0.0, 1.0, "no difference found"),
        (1e-15, 1.0, "no difference found"),
        (0.05, 0.0, "slower"),
        (-0.1, 0.0, "faster"),
    ):
        paired = paired_ratio(numbered(values + apart), numbered(values))
        unpaired = unpaired_ratio([1 + apart] * 6, [1.0] * 5)
        assert (unpaired.ratio, unpaired.low, unpaired.high) == pytest.approx((1 + apart,) * 3)
        for ratio in (paired, unpaired):
            assert (ratio.p, {e.value for e in ratio.errors}) == (p, {0}), apart
            comparison = compare_all({0: ratio})[0]
            assert (comparison.verdict, comparison.detectable) == (verdict, 0), apart


def test_a_ratio_that_does_not_vary_is_its_own_interval() -> None:
    values = np.random.default_rng(0).uniform(1, 2, 6)
    for factor in (0.5, 1.0, 1.05):
        ratio = paired_ratio(numbered(factor * values), numbered(values))
        assert (ratio.ratio, ratio.low, ratio.high) == pytest.approx((factor, factor, factor))


def test_one_set_without_spread_leaves_the_other_ones_degrees() -> None:
    ratio = unpaired_ratio([1.0] * 9, [1.0, 1.1, 1.2, 1.1, 1.0])
    assert satterthwaite(ratio.errors) == pytest.approx(4)
    assert ratio.errors[1].value ** 0.5 == pytest.approx(stats.sem([1.0, 1.1, 1.2, 1.1, 1.0]) / 1.08)
    assert compare_all({0: ratio})[0].detectable is not None


def test_a_cost_is_positive() -> None:
    good = [1.0, 1.1, 1.2, 1.3, 1.4]
    for bad in (0.0, -1.0, math.nan, math.inf):
        for both in (([bad, *good[1:]], good), (good, [*good[:-1], bad])):
            with pytest.raises(ValueError, match=r"positive|finite"):
                paired_ratio(*map(numbered, both))
            with pytest.raises(ValueError, match=r"positive|finite"):
                unpaired_ratio(*both)


def test_holm_of_known_examples() -> None:
    for raw, corrected in (
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Wikipedia's, of Holm's method
        ([0.001, 0.01, 0.02, 0.03, 0.5], [0.005, 0.04, 0.06, 0.06, 0.5]),
        ([0.2, 0.2, 0.9], [0.6, 0.6, 0.9]),
        ([0.6, 0.7], [1.0, 1.0]),
    ):
        assert holm(raw) == pytest.approx(corrected), raw


@steady
@given(P_VALUES, st.floats(0.001, 0.2))
def test_holm_keeps_the_order_never_lowers_and_rejects_what_the_stepping_down_rejects(
    raw: list[float], alpha: float
) -> None:
    corrected = holm(raw)
    assert all(r <= c <= min(1, r * len(raw) * (1 + 1e-12)) for r, c in zip(raw, corrected, strict=True))
    assert [c for _, c in sorted(zip(raw, corrected, strict=True))] == sorted(corrected)
    assert holm(raw[::-1]) == corrected[::-1]
    rejected = set()
    for left, index in zip(range(len(raw), 0, -1), sorted(range(len(raw)), key=raw.__getitem__), strict=True):
        if raw[index] * left > alpha:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(corrected) if p <= alpha} == rejected


@steady
@given(P_VALUES, st.integers(0, 11), st.floats(0, 1))
def test_holm_does_not_fall_as_a_p_value_rises(raw: list[float], which: int, rise: float) -> None:
    if which < len(raw):
        raised = [p + rise * (1 - p) if i == which else p for i, p in enumerate(raw)]
        assert all(a <= b + 1e-12 for a, b in zip(holm(raw), holm(raised), strict=True))


def test_a_family_is_judged_together_and_too_few_runs_are_left_out() -> None:
    rng = np.random.default_rng(0)

    def ratio(effect: float, n: int) -> Ratio:
        return paired_ratio(numbered(np.exp(rng.normal(effect, 0.001, n))), numbered(np.ones(n)))

    ratios = {
        "slow": ratio(0.1, 10),
        "fast": ratio(-0.1, 10),
        "same": paired_ratio(numbered([1.01, 0.99, 1.01, 0.99, 1.0]), numbered(np.ones(5))),
        "few": ratio(0.1, MIN_RUNS - 1),
        "one": ratio(0.1, 1),
        "none": paired_ratio({}, {}),
    }
    family = compare_all(ratios)
    assert list(family) == list(ratios)
    assert [c.verdict for c in family.values()] == ["slower", "faster", "no difference found", *["too few runs"] * 3]
    tested = ["slow", "fast", "same"]
    raw = [p for p in (ratios[key].p for key in tested) if p is not None]
    assert [family[key].p for key in tested] == holm(raw)
    for key, comparison in family.items():
        given = ratios[key]
        assert dataclasses.replace(comparison.ratio, low=given.low, high=given.high) == given
        if key in tested:
            low, high = comparison.ratio.low, comparison.ratio.high
            assert low is not None and high is not None
            assert (low <= 1 <= high) == (comparison.verdict == "no difference found")
            assert comparison.detectable == smallest_difference(ratios[key].errors, FAMILY_ALPHA / 3, POWER)
        else:
            assert (comparison.p, comparison.detectable, comparison.ratio.low, comparison.ratio.high) == (None,) * 4
    assert compare_all({}) == {}


def test_a_finding_alone_may_be_none_in_a_family() -> None:
    ratio = Ratio(1.1, p=0.03, n=10, errors=(SquaredError(0.07**2 / 10, 9),))
    assert compare_all({0: ratio})[0].verdict == "slower"
    assert compare_all({0: ratio, 1: ratio})[0].verdict == "no difference found"
    faster = dataclasses.replace(ratio, ratio=0.9)
    assert compare_all({0: faster})[0].verdict == "faster"


@steady
@given(st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=6), st.integers(5, 12), st.integers(0, 2**32 - 1))
def test_an_interval_misses_1_exactly_where_a_difference_is_found(effects: list[float], n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = numbered(np.exp(rng.normal(0, 0.02, n)))
    ratios = {i: paired_ratio(numbered(np.exp(rng.normal(effect, 0.02, n))), base) for i, effect in enumerate(effects)}
    for comparison in compare_all(ratios).values():
        low, high = comparison.ratio.low, comparison.ratio.high
        assert low is not None and high is not None
        assert (low > 1) == (comparison.verdict == "slower")
        assert (high < 1) == (comparison.verdict == "faster")


@pytest.mark.parametrize("loaders", [2, 6, 9])
def test_sweeps_without_a_difference_seldom_alarm_and_a_planted_slowdown_is_found(loaders: int) -> None:
    alarms = sum(min(p_values(sweep).values()) <= FAMILY_ALPHA for sweep in sweeps(SWEEPS, loaders))
    assert alarms <= binomial_bounds(FAMILY_ALPHA, SWEEPS)[1] * SWEEPS
    slowed = f"loader {loaders - 1}"
    found = sum(p_values(sweep)[slowed] <= FAMILY_ALPHA for sweep in sweeps(SWEEPS, loaders, slowdown=0.05))
    assert found >= 0.95 * SWEEPS


def test_unpaired_sweeps_without_a_difference_seldom_alarm() -> None:
    def unpaired(ours: dict[int, float], baseline: dict[int, float]) -> Ratio:
        return unpaired_ratio(list(ours.values()), list(baseline.values()))

    null = sweeps(SWEEPS, 4, round_sd=0)
    assert sum(min(p_values(sweep, unpaired).values()) <= FAMILY_ALPHA for sweep in null) <= (
        binomial_bounds(FAMILY_ALPHA, SWEEPS)[1] * SWEEPS
    )


def test_the_level_leaves_the_power_that_it_claims() -> None:
    noncentrality = 0.05 * ROUNDS**0.5 / (PAIRED_SD * ((1 + 1.05**2) / 2) ** 0.5)
    for comparisons in range(1, 9):
        threshold = stats.t.isf(FAMILY_ALPHA / comparisons / 2, ROUNDS - 1)
        assert stats.nct.sf(threshold, ROUNDS - 1, noncentrality) > 0.955
        assert detectable(ROUNDS, PAIRED_SD, FAMILY_ALPHA / comparisons) < 0.05


def test_the_unpaired_test_misses_its_level_by_what_is_said() -> None:
    for sizes, sds, rate in (((5, 5), (1, 1), 0.9), ((5, 5), (1, 10**0.5), 1.1), ((5, 50), (1, 1), 1.15)):
        rng, trials = np.random.default_rng(0), 100_000
        ours, baseline = (rng.normal(0, sd, (trials, n)) for n, sd in zip(sizes, sds, strict=True))
        alarms = np.mean(stats.ttest_ind(ours, baseline, axis=1, equal_var=False).pvalue <= FAMILY_ALPHA)
        assert alarms / FAMILY_ALPHA == pytest.approx(rate, abs=0.1), (sizes, sds)


def test_the_interval_holds_the_ratio_as_often_as_it_says() -> None:
    rng, count = np.random.default_rng(1), 2_500
    held = {"paired": 0, "unpaired": 0}
    for _ in range(count):
        ours, baseline = np.exp(rng.normal(0.05, 0.02, 6)), np.exp(rng.normal(0, 0.02, 6))
        both = {"paired": paired_ratio(numbered(ours), numbered(baseline)), "unpaired": unpaired_ratio(ours, baseline)}
        for kind, ratio in both.items():
            _, low, high, _ = numbers(ratio)
            held[kind] += low <= math.exp(0.05) <= high
    low, high = binomial_bounds(0.95, count)
    assert low <= held["paired"] / count <= high
    assert low <= held["unpaired"] / count <= high + 0.01  # Welch's is a little wide


@pytest.mark.parametrize("comparisons", [1, 5, 20])
def test_the_detectable_difference_is_found_with_its_power(comparisons: int) -> None:
    alpha, trials = FAMILY_ALPHA / comparisons, 20_000
    for n in (5, 10, 30):
        apart = np.random.default_rng(n).normal(detectable(n, 0.02, alpha), 0.02, (trials, n))
        test = stats.ttest_1samp(apart, 0, axis=1)
        assert _found(test, alpha) == pytest.approx(POWER, abs=_noise(trials)), n


@pytest.mark.parametrize("comparisons", [1, 5])
def test_the_detectable_difference_of_unpaired_runs_is_found_with_its_power(comparisons: int) -> None:
    for sizes, sds in (
        ((5, 5), (0.02, 0.02)),
        ((10, 10), (0.01, 0.03)),
        ((5, 20), (0.03, 0.02)),
        ((20, 5), (0.001, 0.02)),
        ((5, 500), (0.02, 0.02)),
    ):
        rng, alpha, trials = np.random.default_rng(5), FAMILY_ALPHA / comparisons, 10_000
        exact = [1 + _with_sd(rng, n, sd) for n, sd in zip(sizes, sds, strict=True)]
        difference = smallest_difference(unpaired_ratio(*exact).errors, alpha, POWER)
        ours = rng.normal(difference, sds[0], (trials, sizes[0]))
        baseline = rng.normal(0, sds[1], (trials, sizes[1]))
        found = _found(stats.ttest_ind(ours, baseline, axis=1, equal_var=False), alpha)
        assert found == pytest.approx(POWER, abs=_noise(trials)), (sizes, sds)


def _with_sd(rng: np.random.Generator, n: int, sd: float) -> NDArray[np.float64]:
    values = rng.normal(size=n)
    return np.asarray(sd * (values - values.mean()) / values.std(ddof=1))


def _found(test: Any, alpha: float) -> float:
    return float(np.mean((test.pvalue <= alpha) & (test.statistic > 0)))


def _noise(trials: int) -> float:
    return float(-special.ndtri(5e-5) * (POWER * (1 - POWER) / trials) ** 0.5)


@steady
@given(st.integers(MIN_RUNS, 200), st.floats(1e-5, 0.5), st.integers(1, 100), st.floats(1.01, 3))
def test_more_runs_and_less_noise_detect_less_and_a_larger_family_more(n: int, sd: float, m: int, worse: float) -> None:
    found = detectable(n, sd, FAMILY_ALPHA / m)
    assert 0 < detectable(n + 1, sd, FAMILY_ALPHA / m) < found
    assert found < detectable(n, worse * sd, FAMILY_ALPHA / m)
    assert found < detectable(n, sd, FAMILY_ALPHA / (m + 1))
