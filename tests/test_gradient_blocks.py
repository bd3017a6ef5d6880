"""The notes' building blocks: exact powers, matrix products, homogeneous transforms; their gradients are audited."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.gradients.blocks import (
    column,
    dot,
    dot_gradient,
    from_homogeneous,
    power,
    power_gradient,
    rotation,
    scale,
    to_homogeneous,
    translation,
)
from bench.gradients.entry import Array

few = settings(max_examples=25, deadline=None)
finite = st.floats(-100, 100)
extents = st.integers(1, 5)


def matrices(rows: int, columns: int) -> st.SearchStrategy[Array]:
    return arrays(np.float64, (rows, columns), elements=finite)


@few
@given(st.integers(-50, 50), st.integers(0, 12))
def test_a_power_of_an_integer_is_exact_and_an_integer(x: int, p: int) -> None:
    result: Any = power(x, p)
    assert result == x**p
    assert type(result) is int


@few
@given(st.integers(-50, 50).filter(bool), st.integers(1, 8))
def test_a_negative_power_of_an_integer_is_the_nearest_float(x: int, p: int) -> None:
    assert power(x, -p) == float(Fraction(1, x**p))


@few
@given(st.floats(0.1, 10) | st.floats(-10, -0.1), st.integers(-12, 12))
def test_a_power_of_a_float(x: float, p: int) -> None:
    assert power(x, p) == pytest.approx(x**p, rel=1e-14)


@few
@given(st.integers(-99, 99).filter(bool), st.integers(-8, 8))
def test_a_power_of_a_decimal_is_decimal(tenths: int, p: int) -> None:
    x = Decimal(tenths) / 10
    result = power(x, p)
    assert isinstance(result, Decimal)
    # Fractions are exact; a context of 28 digits rounds the reciprocal only.
    assert abs(Fraction(result) - Fraction(x) ** p) <= abs(Fraction(result)) * Fraction(1, 10**27)


def test_a_decimal_keeps_what_a_float_loses() -> None:
    assert power(Decimal("1.1"), 3) == Decimal("1.331")
    assert power(1.1, 3) != 1.331


def test_to_the_zeroth_is_one_even_at_zero() -> None:
    zeros: list[Any] = [0, 0.0, Decimal(0)]
    for zero in zeros:
        assert power(zero, 0) == 1
        assert type(power(zero, 0)) is type(zero)


def test_a_power_of_an_array_is_taken_by_element() -> None:
    np.testing.assert_array_equal(power(np.array([[-2.0, 0.5]]), 3), [[-8.0, 0.125]])
    np.testing.assert_array_equal(power(np.array([[-2.0, 0.5]]), -1), [[-0.5, 2.0]])
    assert power(np.array([3.0], dtype=np.float32), 2).dtype == np.float32


def test_what_has_no_power() -> None:
    zeros: list[Any] = [0, 0.0, Decimal(0), np.array([1.0, 0.0])]
    for zero in zeros:
        with pytest.raises(ZeroDivisionError, match="0 has no power -2"):
            power(zero, -2)
    exponents: list[Any] = [0.5, 2.0, "2", None]
    for exponent in exponents:
        with pytest.raises(ValueError, match="must be an integer"):
            power(2.0, exponent)


def test_the_gradient_of_the_zeroth_power_is_zero_where_the_reciprocal_does_not_exist() -> None:
    np.testing.assert_array_equal(power_gradient(np.array([0.0, 2.0]), 0, np.array([3.0, 3.0])), [0.0, 0.0])


@few
@given(st.data(), extents, extents, extents)
def test_dot_is_the_matrix_product(data: st.DataObject, n: int, k: int, m: int) -> None:
    a, b = data.draw(matrices(n, k)), data.draw(matrices(k, m))
    np.testing.assert_allclose(dot(a, b), a @ b, rtol=1e-12, atol=1e-9)


def test_dot_of_integers_is_exact() -> None:
    big = 2**53 + 1  # no float64
    assert dot([[big, 1]], [[1], [-1]]).tolist() == [[big - 1]]


def test_a_vector_is_a_column() -> None:
    np.testing.assert_array_equal(dot([[1.0, 2.0], [3.0, 4.0]], [5.0, 6.0]), [[17.0], [39.0]])
    np.testing.assert_array_equal(dot([1.0, 2.0], [[3.0, 4.0, 5.0]]), [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]])


def test_the_gradient_of_a_vector_is_a_vector() -> None:
    da, db = dot_gradient(np.ones((2, 3)), np.array([1.0, 2.0, 3.0]), np.array([[1.0], [10.0]]))
    np.testing.assert_array_equal(da, [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    np.testing.assert_array_equal(db, [11.0, 11.0, 11.0])


def test_dot_names_both_shapes_where_they_do_not_fit() -> None:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((2, 3), (2, 3)),
        ((3,), (3,)),
        ((2, 3), (4,)),
        ((4,), (2, 1)),
    ]
    for a, b in shapes:
        left, right = column(np.ones(a)), column(np.ones(b))
        with pytest.raises(ValueError, match="cannot be multiplied") as caught:
            dot(np.ones(a), np.ones(b))
        assert str(left.shape) in str(caught.value)
        assert str(right.shape) in str(caught.value)


def test_rotation_turns_counterclockwise_by_degrees() -> None:
    quarter = dot(rotation(90), [1.0, 0.0, 1.0])
    np.testing.assert_allclose(quarter, [[0.0], [1.0], [1.0]], atol=1e-15)
    np.testing.assert_allclose(rotation(360.0), np.eye(3), atol=1e-15)


@few
@given(finite, finite)
def test_angles_add_up(first: float, second: float) -> None:
    np.testing.assert_allclose(dot(rotation(first), rotation(second)), rotation(first + second), atol=1e-13)


@few
@given(finite)
def test_a_rotation_keeps_lengths_and_is_undone_by_its_transpose(degrees: float) -> None:
    turned = rotation(degrees)
    np.testing.assert_allclose(dot(turned, turned.T), np.eye(3), atol=1e-15)
    assert np.linalg.det(turned) == pytest.approx(1.0)


def test_many_angles_give_a_matrix_each() -> None:
    degrees = np.array([[0.0, 30.0, 45.0], [60.0, -90.0, 10.0]])
    turned = rotation(degrees)
    assert turned.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(turned[1, 0], rotation(60.0))


def test_translation_and_scale_act_on_points() -> None:
    points = to_homogeneous([[1.0, 2.0], [-3.0, 0.5]]).T
    np.testing.assert_array_equal(from_homogeneous(dot(translation(10, -20), points).T), [[11, -18], [7, -19.5]])
    np.testing.assert_array_equal(from_homogeneous(dot(scale(2, -3), points).T), [[2, -6], [-6, -1.5]])


def test_the_order_of_transforms_matters() -> None:
    point = [1.0, 0.0, 1.0]
    turned_then_moved = dot(dot(translation(5, 0), rotation(90)), point)
    moved_then_turned = dot(dot(rotation(90), translation(5, 0)), point)
    np.testing.assert_allclose(turned_then_moved, [[5.0], [1.0], [1.0]], atol=1e-14)
    np.testing.assert_allclose(moved_then_turned, [[0.0], [6.0], [1.0]], atol=1e-14)


@few
@given(st.integers(1, 6).flatmap(lambda n: matrices(n, 2)))
def test_homogeneous_and_back(points: Array) -> None:
    np.testing.assert_array_equal(from_homogeneous(to_homogeneous(points)), points)


def test_homogeneous_points_are_the_same_up_to_a_factor() -> None:
    np.testing.assert_array_equal(from_homogeneous([[2.0, 4.0, 1.0], [-4.0, -8.0, -2.0]]), [[2.0, 4.0], [2.0, 4.0]])


def test_float32_stays_float32() -> None:
    single = np.array([[30.0, 1.0]], dtype=np.float32)
    results = [rotation(single), translation(single, single), scale(single, single), to_homogeneous(single)]
    results += [dot(single, single.T), from_homogeneous(to_homogeneous(single))]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


def test_bad_input_is_named() -> None:
    calls: list[tuple[Callable[[], Array], str]] = [
        (lambda: dot(np.ones((1, 1, 1)), [1.0]), r"not the shape \(1, 1, 1\)"),
        (lambda: dot(np.ones((0, 2)), np.ones((2, 2))), "a matrix is empty"),
        (lambda: dot([[math.nan]], [[1.0]]), "a matrix contains NaN"),
        (lambda: dot([["1"]], [["2"]]), "must hold integers or floats"),
        (lambda: rotation([]), "the angle is empty"),
        (lambda: rotation(math.nan), "the angle contains NaN"),
        (lambda: translation([1.0, 2.0], 1.0), "the translation has two shapes"),
        (lambda: scale(1.0, [1.0, 2.0]), "the scale has two shapes"),
        (lambda: to_homogeneous([1.0, 2.0]), r"must have the shape \(n, 2\)"),
        (lambda: from_homogeneous([[1.0, 2.0]]), r"must have the shape \(n, 3\)"),
        (lambda: from_homogeneous([[1.0, 2.0, 0.0]]), "lies at infinity"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()
