"""Layers on images [N, C, H, W]: convolution and pooling over windows, and batch normalisation."""

from __future__ import annotations

import operator
from typing import Any, final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from bench.gradients.layers.layer import Layer
from bench.gradients.layers.variable import Array, checked, number

Pair = tuple[int, int]  # rows and columns. Wherever one is taken, an integer stands for the same number of both


@final
class Conv2d(Layer):
    """Cross-correlation with a bias, as ``torch.nn.Conv2d``.

    With the zero-padded image ``p`` and the stride ``s``,
    ``y_nohw = b_o + Σ_cij W_ocij p_nc(sh+i)(sw+j)``. So ``∂L/∂W_ocij = Σ_nhw g_nohw p_nc(sh+i)(sw+j)``,
    ``∂L/∂b_o = Σ_nhw g_nohw``, and every window gives ``Σ_o g_nohw W_ocij`` to the pixel under its place ``i, j``;
    what falls on the padding is dropped. A rest too small for a window at the lower or right border is left out.
    ``W`` is [O, C, kh, kw] and ``b`` [O], both float32 or float64; the padding is of zeros, on each side.
    """

    def __init__(self, W: Array, b: Array, stride: int | Pair = 1, padding: int | Pair = 0) -> None:  # noqa: N803
        self.W, self.b = self._weights(4, W=W, b=b)
        self.kernel: Pair = self.W.value.shape[2:]
        self.stride = _pair("the stride of Conv2d", stride, least=1)
        self.padding = _pair("the padding of Conv2d", padding, least=0)

    def _check(self, x: Array) -> None:
        channels = self.W.value.shape[1]
        checked("the input of Conv2d", x, shape=(None, channels, None, None), dtype=self.W.value.dtype)
        _check_fits("Conv2d", x, self.kernel, self.padding)

    def _forward(self, x: Array) -> Array:
        n, c, height, width = x.shape
        down, right = self.padding
        self._inside = np.s_[:, :, down : down + height, right : right + width]
        padded = np.zeros((n, c, height + 2 * down, width + 2 * right), x.dtype)
        padded[self._inside] = x
        self._padded_shape = padded.shape
        self._windows = _windows(padded, self.kernel, self.stride)
        y = np.tensordot(self._windows, self.W.value, axes=((1, 4, 5), (1, 2, 3))) + self.b.value
        return np.moveaxis(y, 3, 1)

    def _backward(self, g: Array) -> Array:
        self.W.grad += np.tensordot(g, self._windows, axes=((0, 2, 3), (0, 2, 3)))
        self.b.grad += g.sum(axis=(0, 2, 3))
        shares = np.tensordot(self.W.value, g, axes=(0, 1))
        padded = np.zeros(self._padded_shape, g.dtype)
        windows = _windows(padded, self.kernel, self.stride)
        for i, j in np.ndindex(self.kernel):
            windows[..., i, j] += np.moveaxis(shares[:, i, j], 0, 1)
        return padded[self._inside]


class _Pool(Layer):
    """A layer on windows, side by side by default. A rest too small for one at the right or lower border is dropped."""

    @final
    def __init__(self, kernel: int | Pair, stride: int | Pair | None = None) -> None:
        name = type(self).__name__
        self.kernel = _pair(f"the kernel of {name}", kernel, least=1)
        self.stride = self.kernel if stride is None else _pair(f"the stride of {name}", stride, least=1)

    @final
    def _check(self, x: Array) -> None:
        name = type(self).__name__
        checked(f"the input of {name}", x, ndim=4)
        _check_fits(name, x, self.kernel)


@final
class MaxPool2d(_Pool):
    """The largest value of each window, as ``torch.nn.MaxPool2d``; it alone gets the window's gradient.

    Of equal values the first in reading order counts as the largest, as in PyTorch. A value that is the largest of
    several windows gets the sum of their gradients.
    """

    def _forward(self, x: Array) -> Array:
        self._shape = x.shape
        windows = _windows(x, self.kernel, self.stride)
        flat = windows.reshape(*windows.shape[:4], -1)
        self._winner = flat.argmax(axis=-1)
        return np.asarray(flat.max(axis=-1))

    def _backward(self, g: Array) -> Array:
        dx = np.zeros(self._shape, g.dtype)
        windows = _windows(dx, self.kernel, self.stride)
        for place, (i, j) in enumerate(np.ndindex(self.kernel)):
            windows[..., i, j] += g * (self._winner == place)
        return dx


@final
class AvgPool2d(_Pool):
    """The mean of each window, as ``torch.nn.AvgPool2d``; every value gets its share of each window's gradient."""

    def _forward(self, x: Array) -> Array:
        self._shape = x.shape
        return np.asarray(_windows(x, self.kernel, self.stride).mean(axis=(4, 5)))

    def _backward(self, g: Array) -> Array:
        rows, columns = self.kernel
        share = g / (rows * columns)
        dx = np.zeros(self._shape, g.dtype)
        windows = _windows(dx, self.kernel, self.stride)
        for i, j in np.ndindex(self.kernel):
            windows[..., i, j] += share
        return dx


@final
class BatchNorm2d(Layer):
    """``y = gamma x̂ + beta`` with ``x̂ = (x - μ) / √(v + ε)``, as ``torch.nn.BatchNorm2d`` in training mode.

    ``μ`` and ``v`` are each channel's mean and biased variance over samples and pixels, M values in all. Both depend
    on every ``x``: with ``∂x̂_k/∂x_m = (δ_km - 1/M - x̂_k x̂_m / M) / √(v + ε)`` (Ioffe and Szegedy 2015, section 3)
    ``∂L/∂x = gamma / √(v + ε) · (g - mean(g) - x̂ · mean(g x̂))``, ``∂L/∂gamma = Σ g x̂`` and ``∂L/∂beta = Σ g``.
    ``gamma`` and ``beta`` are [C], both float32 or float64.
    """

    def __init__(self, gamma: Array, beta: Array, eps: ArrayLike = 1e-5) -> None:
        self.gamma, self.beta = self._weights(1, gamma=gamma, beta=beta)
        self.eps = number("eps of BatchNorm2d", eps, positive=True)

    def _check(self, x: Array) -> None:
        gamma = self.gamma.value
        checked("the input of BatchNorm2d", x, shape=(None, len(gamma), None, None), dtype=gamma.dtype)
        if x.size == x.shape[1]:
            raise ValueError(f"BatchNorm2d needs more than one value a channel to take a variance of, not {x.shape}")

    def _forward(self, x: Array) -> Array:
        # In float64, as PyTorch sums on the CPU: the mean of a float32 image with a large offset would lose its digits.
        mean = x.mean(axis=(0, 2, 3), dtype=np.float64, keepdims=True)
        variance = np.square(x - mean).mean(axis=(0, 2, 3), keepdims=True)
        deviation = np.sqrt(variance + self.eps)
        self._normal = ((x - mean) / deviation).astype(x.dtype)
        self._deviation = deviation.astype(x.dtype)
        return np.asarray(self.gamma.value[:, None, None] * self._normal + self.beta.value[:, None, None])

    def _backward(self, g: Array) -> Array:
        self.gamma.grad += (g * self._normal).sum(axis=(0, 2, 3))
        self.beta.grad += g.sum(axis=(0, 2, 3))
        common: Array = g.mean(axis=(0, 2, 3), keepdims=True)
        along: Array = (g * self._normal).mean(axis=(0, 2, 3), keepdims=True)
        return np.asarray(self.gamma.value[:, None, None] / self._deviation * (g - common - self._normal * along))


def _windows(x: Array, kernel: Pair, stride: Pair) -> Array:
    """The windows of an image as a writeable view, [N, C, h, w, kh, kw]; at one ``i, j`` no two share a pixel."""
    every = sliding_window_view(x, kernel, axis=(2, 3), writeable=True)
    return every[:, :, :: stride[0], :: stride[1]]


def _pair(what: str, value: Any, *, least: int) -> Pair:
    try:
        rows, columns = value if np.ndim(value) else (value, value)
        pair = operator.index(rows), operator.index(columns)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be an integer or two, not {value!r}") from None
    if min(pair) < least:
        raise ValueError(f"{what} must be at least {least}, not {value!r}")
    return pair


def _check_fits(layer: str, x: Array, kernel: Pair, padding: Pair = (0, 0)) -> None:
    height, width = x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1]
    if kernel[0] > height or kernel[1] > width:
        raise ValueError(
            f"the kernel of {layer}, {kernel[0]} x {kernel[1]}, "
            f"is larger than the image, {height} x {width} with its padding"
        )
