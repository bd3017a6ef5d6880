"""Losses over a batch of predictions. The target is data: no gradient goes to it."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from bench.gradients.layers.activations import logistic, softmax
from bench.gradients.layers.layer import Loss
from bench.gradients.layers.variable import Array, checked, number

_LEAST_LOG = -100.0
_LEAST_PRODUCT = float(np.float32(1e-12))  # PyTorch's constant is single-precision, also where it computes in double


@final
class MSE(Loss):
    """``(1/N) Σ (ŷ - y)²`` over all N elements, any shape; gradient ``(2/N)(ŷ - y)``."""

    def _forward(self, prediction: Array, target: Array) -> Any:
        return np.square(prediction - target).mean()

    def _backward(self, prediction: Array, target: Array) -> Array:
        return 2 * (prediction - target) / prediction.size


@final
class HalvedSquaredError(Loss):
    """``½ Σ (ŷ - y)²`` over all elements, any shape; gradient ``ŷ - y``."""

    def _forward(self, prediction: Array, target: Array) -> Any:
        return np.square(prediction - target).sum() / 2

    def _backward(self, prediction: Array, target: Array) -> Array:
        return prediction - target


@final
class MAE(Loss):
    """``(1/N) Σ |ŷ - y|`` over all N elements, any shape; gradient ``sgn(ŷ - y) / N``, 0 at 0 as in PyTorch."""

    def _forward(self, prediction: Array, target: Array) -> Any:
        return np.abs(prediction - target).mean()

    def _backward(self, prediction: Array, target: Array) -> Array:
        return np.sign(prediction - target) / prediction.size


@final
class BCE(Loss):
    """``-Σ [y ln ŷ + (1 - y) ln(1 - ŷ)]`` over all elements, from probabilities ``ŷ`` in [0, 1], any shape.

    The gradient ``-y/ŷ + (1 - y)/(1 - ŷ)`` is ``(ŷ - y) / (ŷ(1 - ŷ))`` over one denominator. At 0 and 1 both are
    infinite; as ``torch.nn.functional.binary_cross_entropy`` does, the logarithms are taken as -100 at least, and
    the denominator as 1e-12 at least. Where the logits are at hand, ``BCEWithLogits`` needs neither.
    """

    def _check(self, prediction: Array, target: Array) -> None:
        super()._check(prediction, target)
        _check_probabilities("the prediction of BCE", prediction)
        _check_probabilities("the target of BCE", target)

    def _forward(self, prediction: Array, target: Array) -> Any:
        with np.errstate(divide="ignore"):  # ln 0 is -inf, which the bound takes
            of_one = np.maximum(np.log(prediction), _LEAST_LOG)
            of_zero = np.maximum(np.log1p(-prediction), _LEAST_LOG)
        return -(target * of_one + (1 - target) * of_zero).sum()

    def _backward(self, prediction: Array, target: Array) -> Array:
        return (prediction - target) / np.maximum(prediction * (1 - prediction), _LEAST_PRODUCT)


@final
class BCEWithLogits(Loss):
    """``-Σ [y ln s(z) + (1 - y) ln(1 - s(z))]`` over all elements, from logits ``z``, any shape.

    For the sigmoid ``s``, ``-ln s(z) = ln(1 + e^-z) = max(-z, 0) + ln(1 + e^-|z|)``, and ``-ln(1 - s(z))`` is the same
    of ``-z``. So the loss is ``Σ [y max(-z, 0) + (1 - y) max(z, 0) + ln(1 + e^-|z|)]``, which neither overflows nor
    takes a large number from another. The gradient is ``s(z) - y``.
    """

    def _check(self, prediction: Array, target: Array) -> None:
        super()._check(prediction, target)
        _check_probabilities("the target of BCEWithLogits", target)

    def _forward(self, prediction: Array, target: Array) -> Any:
        wrong = (1 - target) * np.maximum(prediction, 0) + target * np.maximum(-prediction, 0)
        return (wrong + np.log1p(np.exp(-np.abs(prediction)))).sum()

    def _backward(self, prediction: Array, target: Array) -> Array:
        return logistic(prediction) - target


@final
class CCE(Loss):
    """``-(1/N) Σ_n ln softmax(z_n)[y_n]`` from logits ``z`` [N, K] and labels ``y`` [N], integers from 0 to K - 1.

    With ``ln softmax(z)_k = z_k - m - ln Σ_j e^{z_j - m}`` and ``m`` the largest logit nothing overflows. The gradient
    is ``(softmax(z) - onehot(y)) / N``: ``∂ ln Σ_j e^{z_j} / ∂z_k = softmax(z)_k``, and ``z_y`` gives the 1.
    """

    def _check(self, prediction: Array, target: Array) -> None:
        checked("the prediction of CCE", prediction, ndim=2)
        samples, classes = prediction.shape
        if not isinstance(target, np.ndarray) or not np.issubdtype(target.dtype, np.integer):
            kind = target.dtype if isinstance(target, np.ndarray) else type(target).__name__
            raise ValueError(f"the target of CCE must be an array of integer labels, not {kind}")
        if target.shape != (samples,):
            raise ValueError(f"the target of CCE must have the shape ({samples}), one label a row, not {target.shape}")
        low, high = target.min(), target.max()
        if low < 0 or high >= classes:
            raise ValueError(f"the labels of CCE must lie in 0 to {classes - 1}, not in {low} to {high}")

    def _forward(self, prediction: Array, target: Array) -> Any:
        with np.errstate(over="ignore"):  # a difference beyond the range is -inf, whose exponential is 0 all the same
            shifted = prediction - prediction.max(axis=1, keepdims=True)
        rest = np.log(np.exp(shifted).sum(axis=1))
        return (rest - shifted[np.arange(len(target)), target]).mean()

    def _backward(self, prediction: Array, target: Array) -> Array:
        true = target[:, None] == np.arange(prediction.shape[1])
        return np.asarray((softmax(prediction) - true) / len(prediction))


@final
class Huber(Loss):
    """``Σ h(ŷ - y)`` with ``h(a) = ½a²`` if ``|a| ≤ δ``, else ``δ|a| - ½δ²``; over all elements, any shape.

    With ``q = min(|a|, δ)`` both are ``q(|a| - q/2)``, which squares nothing large. The derivative is ``a`` where
    ``|a| ≤ δ`` and ``δ sgn(a)`` beyond: ``a`` clipped to ``[-δ, δ]``, continuous at ``δ > 0``.
    """

    def __init__(self, delta: ArrayLike) -> None:
        self.delta = number("delta of Huber", delta, positive=True)

    def _forward(self, prediction: Array, target: Array) -> Any:
        distance = np.abs(prediction - target)
        near = np.minimum(distance, self.delta)
        return (near * (distance - near / 2)).sum()

    def _backward(self, prediction: Array, target: Array) -> Array:
        return np.clip(prediction - target, -self.delta, self.delta)


def _check_probabilities(what: str, array: Array) -> None:
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        raise ValueError(f"{what} must lie in [0, 1], not from {low} to {high}")
