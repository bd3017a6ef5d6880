"""The measure of disagreement: symmetric, between 0 and 1, of no scale, and infinite for what cannot be compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bench.gradients.entry import Array
from bench.gradients.referees import relative_error

few = settings(max_examples=40, deadline=None)
number = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Array, Array]:
    shape = draw(array_shapes(min_dims=0, max_dims=3, max_side=4))
    elements = st.sampled_from([number, st.floats(-2, 2)])
    drawn = [draw(arrays(np.float64, shape, elements=draw(elements))) for _ in range(2)]
    return drawn[0], drawn[1]


@few
@given(pairs())
def test_the_error_is_symmetric_between_0_and_1_and_0_for_equals_alone(pair: tuple[Array, Array]) -> None:
    a, b = pair
    assert relative_error(a, b) == relative_error(b, a)
    assert 0 <= relative_error(a, b) <= 1 + 1e-15
    assert relative_error(a, a) == 0
    scale = max(np.max(np.abs(a)), np.max(np.abs(b)))
    assume(np.any(np.abs(a / max(scale, 1e-300) - b / max(scale, 1e-300)) > 1e-150))  # squares of less are 0
    assert relative_error(a, b) > 0


@few
@given(pairs())
def test_the_opposite_and_nothing_at_all_are_as_wrong_as_can_be(pair: tuple[Array, Array]) -> None:
    a, _ = pair
    assume(np.any(a))
    assert relative_error(a, -a) == pytest.approx(1)
    assert relative_error(a, np.zeros_like(a)) == pytest.approx(1)
    assert relative_error(np.zeros_like(a), -np.zeros_like(a)) == 0


@few
@given(pairs(), st.integers(-300, 300))
def test_the_error_does_not_depend_on_the_scale(pair: tuple[Array, Array], exponent: int) -> None:
    # Below the smallest normal number digits would be lost.
    a, b = (np.where(np.abs(array) < 1e-100, 0, np.clip(array, -1e100, 1e100)) for array in pair)
    assert relative_error(np.ldexp(a, exponent), np.ldexp(b, exponent)) == pytest.approx(
        relative_error(a, b), rel=1e-12, abs=1e-300
    )


@few
@given(pairs())
def test_a_factor_is_found_out_at_any_magnitude(pair: tuple[Array, Array]) -> None:
    a = pair[0] / 4
    assume(np.max(np.abs(a)) > 1e-300)
    assert relative_error(a, 3 * a) == pytest.approx(0.5)


@few
@given(pairs(), st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_another_shape_and_what_is_not_finite_are_infinitely_wrong(
    pair: tuple[Array, Array], bad: float, data: st.DataObject
) -> None:
    a, b = pair
    spoilt = np.array(a)
    spoilt.flat[data.draw(st.integers(0, a.size - 1))] = bad
    assert relative_error(spoilt, b) == relative_error(b, spoilt) == relative_error(spoilt, spoilt) == math.inf
    assert relative_error(a[np.newaxis], a) == relative_error(a, np.append(a, 1.0)) == math.inf
