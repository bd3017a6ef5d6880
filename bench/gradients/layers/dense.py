"""Layers on rows of features: linear, cubic, and the one that makes rows of images."""

from __future__ import annotations

from typing import final

from bench.gradients.layers.layer import Layer
from bench.gradients.layers.variable import Array, Variable, checked


@final
class Linear(Layer):
    """``y = x Wᵀ + b`` for rows ``x``, as ``torch.nn.Linear``.

    For one sample ``y_o = Σ_i W_oi x_i + b_o``, so that over the samples ``∂L/∂W_oi = Σ_n g_no x_ni``,
    ``∂L/∂b_o = Σ_n g_no`` and ``∂L/∂x_ni = Σ_o g_no W_oi``: ``gᵀx``, the sum of the rows of ``g``, and ``gW``.

    Args:
        W: weights, [out, in], float32 or float64.
        b: bias, [out], of the same dtype.

    Raises:
        ValueError: ``W`` and ``b`` do not fit, are empty, not floating-point or not finite.
    """

    _x: Array

    def __init__(self, W: Array, b: Array) -> None:  # noqa: N803 - the name in the formulas
        self.W, self.b = _weights("Linear", W, b)

    def _check(self, x: Array) -> None:
        _check_rows("Linear", x, self.W)

    def _forward(self, x: Array) -> Array:
        self._x = x
        return x @ self.W.value.T + self.b.value

    def _backward(self, g: Array) -> Array:
        self.W.grad += g.T @ self._x
        self.b.grad += g.sum(axis=0)
        return g @ self.W.value

    def parameters(self) -> dict[str, Variable]:
        """``W`` [out, in] and ``b`` [out]."""
        return {"W": self.W, "b": self.b}


@final
class Cubic(Layer):
    """``y = x³ Wᵀ + b`` for rows ``x``, the cube taken element by element.

    ``Linear`` after ``x³``: ``∂L/∂W = gᵀx³``, ``∂L/∂b`` is the sum of the rows of ``g``, and by the chain rule
    ``∂L/∂x = (gW) · 3x²``.

    Args:
        W: weights, [out, in], float32 or float64.
        b: bias, [out], of the same dtype.

    Raises:
        ValueError: ``W`` and ``b`` do not fit, are empty, not floating-point or not finite.
    """

    _x: Array

    def __init__(self, W: Array, b: Array) -> None:  # noqa: N803 - the name in the formulas
        self.W, self.b = _weights("Cubic", W, b)

    def _check(self, x: Array) -> None:
        _check_rows("Cubic", x, self.W)

    def _forward(self, x: Array) -> Array:
        self._x = x
        return (x * x * x) @ self.W.value.T + self.b.value

    def _backward(self, g: Array) -> Array:
        x = self._x
        self.W.grad += g.T @ (x * x * x)
        self.b.grad += g.sum(axis=0)
        return (g @ self.W.value) * (3 * x * x)

    def parameters(self) -> dict[str, Variable]:
        """``W`` [out, in] and ``b`` [out]."""
        return {"W": self.W, "b": self.b}


@final
class Flatten(Layer):
    """``[N, …]`` to ``[N, features]``, the last dimension running fastest; the gradient takes the way back."""

    _shape: tuple[int, ...]

    def _check(self, x: Array) -> None:
        if x.ndim < 2:
            raise ValueError(f"the input of Flatten must have a batch and a feature dimension, not the shape {x.shape}")

    def _forward(self, x: Array) -> Array:
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def _backward(self, g: Array) -> Array:
        return g.reshape(self._shape)


def _weights(layer: str, weight: Array, bias: Array) -> tuple[Variable, Variable]:
    w = Variable(weight, f"W of {layer}")
    b = Variable(bias, f"b of {layer}")
    checked(f"W of {layer}", w.value, ndim=2)
    checked(f"b of {layer}", b.value, shape=w.value.shape[:1], dtype=w.value.dtype)
    return w, b


def _check_rows(layer: str, x: Array, weight: Variable) -> None:
    checked(f"the input of {layer}", x, shape=(None, weight.value.shape[1]), dtype=weight.value.dtype)
