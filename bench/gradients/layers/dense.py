"""Layers on rows of features: linear, cubic, and the one that makes rows of images."""

from __future__ import annotations

from typing import final

from bench.gradients.layers.layer import Layer
from bench.gradients.layers.variable import Array, checked


class _Rows(Layer):
    """A layer on rows with weights ``W`` [out, in] and a bias ``b`` [out], float32 or float64, both of one dtype."""

    @final
    def __init__(self, W: Array, b: Array) -> None:  # noqa: N803 - the name in the formulas
        self.W, self.b = self._weights(2, W=W, b=b)

    @final
    def _check(self, x: Array) -> None:
        weights = self.W.value
        checked(f"the input of {type(self).__name__}", x, shape=(None, weights.shape[1]), dtype=weights.dtype)


@final
class Linear(_Rows):
    """``y = x Wᵀ + b`` for rows ``x``, as ``torch.nn.Linear``.

    For one sample ``y_o = Σ_i W_oi x_i + b_o``, so that over the samples ``∂L/∂W_oi = Σ_n g_no x_ni``,
    ``∂L/∂b_o = Σ_n g_no`` and ``∂L/∂x_ni = Σ_o g_no W_oi``: ``gᵀx``, the sum of the rows of ``g``, and ``gW``.
    """

    def _forward(self, x: Array) -> Array:
        self._x = x
        return x @ self.W.value.T + self.b.value

    def _backward(self, g: Array) -> Array:
        self.W.grad += g.T @ self._x
        self.b.grad += g.sum(axis=0)
        return g @ self.W.value


@final
class Cubic(_Rows):
    """``y = x³ Wᵀ + b`` for rows ``x``, the cube taken element by element.

    ``Linear`` after ``x³``: ``∂L/∂W = gᵀx³``, ``∂L/∂b`` is the sum of the rows of ``g``, and by the chain rule
    ``∂L/∂x = (gW) · 3x²``.
    """

    def _forward(self, x: Array) -> Array:
        self._x = x
        return (x * x * x) @ self.W.value.T + self.b.value

    def _backward(self, g: Array) -> Array:
        x = self._x
        self.W.grad += g.T @ (x * x * x)
        self.b.grad += g.sum(axis=0)
        return (g @ self.W.value) * (3 * x * x)


@final
class Flatten(Layer):
    """``[N, …]`` to ``[N, features]``, the last dimension running fastest; the gradient takes the way back."""

    def _check(self, x: Array) -> None:
        if x.ndim < 2:
            raise ValueError(f"the input of Flatten must have a batch and a feature dimension, not the shape {x.shape}")

    def _forward(self, x: Array) -> Array:
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def _backward(self, g: Array) -> Array:
        return g.reshape(self._shape)
