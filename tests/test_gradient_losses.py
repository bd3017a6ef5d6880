"""Losses against autograd: shapes, kinks, the ends of [0, 1], logits beyond any exponential, and refused input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.gradients.layers import BCE, CCE, MAE, MSE, BCEWithLogits, HalvedSquaredError, Huber, Loss
from tests.against_torch import Floats, assert_loss, normal

Reference = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def huber(delta: float) -> Reference:
    return lambda p, t: F.huber_loss(p, t, reduction="sum", delta=delta)


REGRESSION: dict[str, tuple[Callable[[], Loss], Reference]] = {
    "MSE": (MSE, F.mse_loss),
    "halved squared error": (HalvedSquaredError, lambda p, t: F.mse_loss(p, t, reduction="sum") / 2),
    "MAE": (MAE, F.l1_loss),
    "Huber 1": (lambda: Huber(1.0), huber(1.0)),
    "Huber 1/4": (lambda: Huber(np.array(0.25)), huber(0.25)),
    "Huber 8": (lambda: Huber(8), huber(8.0)),
}
regression = pytest.mark.parametrize("name", REGRESSION)

SHAPES = [(1,), (4,), (1, 1), (1, 3), (3, 1), (4, 4), (5, 3), (2, 3, 2)]

EXTREME_LOGITS = np.array([[0.5, 1e4, -1e4, 30.0, -30.0], [-1.0, 1e30, -1e30, 800.0, -800.0], [0.0, 2.0, 90.0, -90, 1]])


def bce(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy(prediction, target, reduction="sum")


def bce_with_logits(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(prediction, target, reduction="sum")


def probabilities(shape: tuple[int, ...], seed: int = 0) -> Floats:
    return np.random.default_rng([seed, *shape]).uniform(0.01, 0.99, shape)


@regression
@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from([1e-3, 1.0, 1e3, 1e15]), st.integers(0, 99))
def test_regression_loss(name: str, shape: tuple[int, ...], scale: float, seed: int) -> None:
    loss, reference = REGRESSION[name]
    assert_loss(loss(), reference, scale * normal(*shape, seed=seed), scale * normal(*shape, seed=seed + 100))


@regression
def test_regression_loss_at_and_beside_kinks(name: str) -> None:
    """Differences of 0 and of exactly δ, and just beside: the target is 0, so that float32 has them too."""
    loss, reference = REGRESSION[name]
    for kink in (0.0, 0.25, -0.25, 1.0, -1.0):
        for beside in (0.0, 1e-9, -1e-9, 1e-6, -1e-6):
            assert_loss(loss(), reference, np.array([[kink + beside, 0.5]]), np.zeros((1, 2)))


def test_mae_is_flat_where_it_is_zero() -> None:
    loss = MAE()
    loss.forward(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    assert loss.backward().tolist() == [0.0, 0.5]


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, (3, 2), elements=st.floats(-1e100, 1e100)), st.floats(1e-3, 1e3))
def test_huber_lies_between_its_two_pieces(difference: Floats, delta: float) -> None:
    loss = Huber(delta)
    value = float(loss.forward(difference, np.zeros((3, 2))))
    assert 0 <= value <= delta * np.abs(difference).sum() * (1 + 1e-12)
    assert np.all(np.abs(loss.backward()) <= delta)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 99))
def test_binary_cross_entropy(shape: tuple[int, ...], seed: int) -> None:
    target = probabilities(shape, seed + 100)
    assert_loss(BCE(), bce, probabilities(shape, seed), target)
    assert_loss(BCE(), bce, probabilities(shape, seed), np.round(target))
    assert_loss(BCEWithLogits(), bce_with_logits, normal(*shape, seed=seed), target)
    assert_loss(BCEWithLogits(), bce_with_logits, normal(*shape, seed=seed), np.round(target))


def test_binary_cross_entropy_at_the_ends() -> None:
    """Each alone, since beside it no other gradient counts: the bounds of the logarithm and of the denominator."""
    for target in (0.0, 0.25, 1.0):
        for prediction in (0.0, 1e-45, 1e-20, 1e-13, 1e-12, 1e-7, 1 - 1e-7, 1 - 1e-13, 1.0):
            assert_loss(BCE(), bce, np.array([prediction]), np.array([target]))
        assert_loss(BCEWithLogits(), bce_with_logits, EXTREME_LOGITS, np.full_like(EXTREME_LOGITS, target))


def test_binary_cross_entropy_of_large_logits_keeps_its_digits() -> None:
    """Where the probability itself rounds to 1, its loss does not: ln(1 + e^-50) is e^-50. PyTorch gives 0."""
    for z, target in ((50.0, 1.0), (-50.0, 0.0)):
        loss = BCEWithLogits().forward(np.array([[z]]), np.array([[target]]))
        np.testing.assert_allclose(loss, np.exp(-50.0), rtol=1e-14)


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, (4, 3), elements=st.floats(-20, 20)), st.integers(0, 99))
def test_logits_and_probabilities_give_the_same_loss(z: Floats, seed: int) -> None:
    target = probabilities((4, 3), seed)
    both = BCEWithLogits().forward(z, target), BCE().forward(1 / (1 + np.exp(-z)), target)
    np.testing.assert_allclose(*both, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.sampled_from([1e-3, 1.0, 5.0]), st.integers(0, 99), st.booleans())
def test_categorical_cross_entropy(samples: int, classes: int, scale: float, seed: int, small: bool) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, samples)
    z = scale * normal(samples, classes, seed=seed)
    assert_loss(CCE(), F.cross_entropy, z, labels.astype(np.uint8) if small else labels)


def test_categorical_cross_entropy_of_extreme_logits() -> None:
    assert_loss(CCE(), F.cross_entropy, EXTREME_LOGITS, np.array([3, 1, 4]))
    assert_loss(CCE(), F.cross_entropy, np.array([[3e38, -3e38, 1.0], [0.0, 1.0, 2.0]]), np.array([0, 2]))


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, (4, 3), elements=st.floats(-1e4, 1e4)), st.floats(-1e4, 1e4))
def test_categorical_cross_entropy_knows_differences_alone(z: Floats, shift: float) -> None:
    labels = np.array([0, 2, 1, 1])
    loss, shifted = CCE(), CCE()
    value = loss.forward(z, labels)
    np.testing.assert_allclose(value, shifted.forward(z + shift, labels), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(loss.backward().sum(axis=1), 0, atol=1e-15)


ONES = np.ones((2, 3))
ALIKE: dict[str, Loss] = {
    "MSE": MSE(),
    "HalvedSquaredError": HalvedSquaredError(),
    "MAE": MAE(),
    "BCE": BCE(),
    "BCEWithLogits": BCEWithLogits(),
    "Huber": Huber(1.0),
}


def refused(loss: Loss, prediction: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss.forward(prediction, target)


def test_prediction_that_no_loss_takes() -> None:
    predictions: list[tuple[Any, str]] = [
        (np.array([[0.5, np.nan]]), "contains NaN"),
        (np.array([[0.5, np.inf]]), "contains an infinity"),
        (np.ones((0, 3)), "is empty"),
        (np.ones((2, 3), np.int64), "must be a float32 or float64 array, not int64"),
        ([0.5], "must be a float32 or float64 array, not list"),
    ]
    for name, loss in {**ALIKE, "CCE": CCE()}.items():
        for prediction, message in predictions:
            refused(loss, prediction, np.asarray(prediction), f"the prediction of {name} {message}")


def test_target_that_does_not_fit() -> None:
    targets: list[tuple[Floats, str]] = [
        (np.ones((2, 1)), r"must have the shape \(2, 3\), not \(2, 1\)"),
        (np.ones(3), r"must have the shape \(2, 3\), not \(3,\)"),
        (np.ones((2, 3), np.float32), "is float32 where float64 is computed"),
        (np.ones((2, 3), np.int64), "must be a float32 or float64 array, not int64"),
        (ONES * np.nan, "contains NaN"),
    ]
    for name, loss in ALIKE.items():
        for target, message in targets:
            refused(loss, ONES, target, f"the target of {name} {message}")


def test_values_that_one_loss_does_not_take() -> None:
    values: list[tuple[Loss, Floats, Any, str]] = [
        (BCE(), np.array([0.5, 1.5]), np.ones(2), r"the prediction of BCE must lie in \[0, 1\], not from 0.5 to 1.5"),
        (BCE(), np.array([-0.1, 1.0]), np.ones(2), r"the prediction of BCE must lie in \[0, 1\], not from -0.1 to 1.0"),
        (BCE(), np.ones(2), np.array([0.0, 2.0]), r"the target of BCE must lie in \[0, 1\], not from 0.0 to 2.0"),
        (BCEWithLogits(), np.ones(1), np.array([-1.0]), r"the target of BCEWithLogits must lie in \[0, 1\]"),
        (CCE(), np.ones(3), np.zeros(3, int), r"the prediction of CCE must have 2 dimensions, not the shape \(3,\)"),
        (CCE(), ONES, np.zeros(2), "the target of CCE must be an array of integer labels, not float64"),
        (CCE(), ONES, np.zeros(2, bool), "the target of CCE must be an array of integer labels, not bool"),
        (CCE(), ONES, [0, 1], "the target of CCE must be an array of integer labels, not list"),
        (CCE(), ONES, np.zeros(3, int), r"the target of CCE must have the shape \(2\), one label a row, not \(3,\)"),
        (CCE(), ONES, np.eye(2, 3, dtype=int), r"must have the shape \(2\), one label a row, not \(2, 3\)"),
        (CCE(), ONES, np.array([0, 3]), "the labels of CCE must lie in 0 to 2, not in 0 to 3"),
        (CCE(), ONES, np.array([-1, 0]), "the labels of CCE must lie in 0 to 2, not in -1 to 0"),
    ]
    for case in values:
        refused(*case)


def test_delta_that_is_no_positive_number() -> None:
    deltas: list[Any] = [0, -1.0, np.nan, np.inf, "1", [1.0], None]
    for delta in deltas:
        with pytest.raises(ValueError, match=r"delta of Huber must be (positive and finite|one number), not"):
            Huber(delta)


def test_backward_needs_a_forward_pass_that_went_well() -> None:
    loss = MSE()
    with pytest.raises(ValueError, match=r"MSE.backward needs a forward pass first"):
        loss.backward()
    loss.forward(ONES, ONES)
    with pytest.raises(ValueError, match="the target of MSE"):
        loss.forward(ONES, np.ones(3))
    with pytest.raises(ValueError, match=r"MSE.backward needs a forward pass first"):
        loss.backward()
