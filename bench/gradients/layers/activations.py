"""Activations, in forms that neither overflow nor lose digits, with PyTorch's conventions at the kinks."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import ArrayLike

from bench.gradients.layers.layer import Layer
from bench.gradients.layers.variable import Array, number


@final
class Sigmoid(Layer):
    """``s(x) = 1 / (1 + e⁻ˣ)``, any shape; ``s' = s(1 - s)``."""

    def _forward(self, x: Array) -> Array:
        self._y = logistic(x)
        return self._y

    def _backward(self, g: Array) -> Array:
        return g * self._y * (1 - self._y)


@final
class Tanh(Layer):
    """``tanh(x)``, any shape; ``tanh' = 1 - tanh²``."""

    def _forward(self, x: Array) -> Array:
        self._y: Array = np.tanh(x)
        return self._y

    def _backward(self, g: Array) -> Array:
        return g * (1 - self._y * self._y)


@final
class ReLU(Layer):
    """``max(0, x)``, any shape; derivative 1 for ``x > 0``, else 0. At 0, where there is none, 0 as in PyTorch."""

    def _forward(self, x: Array) -> Array:
        self._x = x
        return np.maximum(x, 0)

    def _backward(self, g: Array) -> Array:
        return g * (self._x > 0)


@final
class LeakyReLU(Layer):
    """``x`` for ``x > 0``, else ``slope · x``, any shape; derivative 1 and ``slope``. At 0 ``slope``, as in PyTorch."""

    def __init__(self, slope: ArrayLike) -> None:
        self.slope = number("the slope of LeakyReLU", slope)

    def _forward(self, x: Array) -> Array:
        self._x = x
        return np.where(x > 0, x, self.slope * x)

    def _backward(self, g: Array) -> Array:
        return np.where(self._x > 0, g, self.slope * g)


@final
class Softmax(Layer):
    """``y_i = e^{x_i} / Σ_j e^{x_j}`` along the last axis, which is not the batch's.

    ``∂y_j/∂x_i = y_j(δ_ij - y_i)``, so that ``Σ_j g_j ∂y_j/∂x_i = y_i (g_i - Σ_j g_j y_j)``.
    """

    def _check(self, x: Array) -> None:
        if x.ndim < 2:
            raise ValueError(f"the shape {x.shape} has no axis beside the batch for Softmax")

    def _forward(self, x: Array) -> Array:
        self._y = softmax(x)
        return self._y

    def _backward(self, g: Array) -> Array:
        along: Array = (g * self._y).sum(axis=-1, keepdims=True)
        return self._y * (g - along)


def logistic(x: Array) -> Array:
    """``1 / (1 + e⁻ˣ)``, with exponentials of no positive number; shape and dtype kept."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


def softmax(x: Array) -> Array:
    """``e^{x_i} / Σ_j e^{x_j}`` along the last axis, with exponentials of no positive number; shape and dtype kept."""
    with np.errstate(over="ignore"):  # a difference beyond the range is -inf, whose exponential is 0 all the same
        powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
