"""The notes' building blocks: powers, matrix products and homogeneous 2-D transforms, each with its gradient.

All but ``power`` raise ``ValueError`` for arrays that are empty, hold NaN or no real numbers, or have shapes other than
those stated. A shape (...) gives a matrix for each element.
"""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from bench.gradients.entry import Array

Number = TypeVar("Number", float, Decimal, Array)


def power(x: Number, p: int) -> Number:
    """``x`` to the power ``p`` by repeated product, a negative one by the reciprocal; 1 for ``p = 0``, at 0 too.

    An array is taken element by element. An integer's negative power is a float.

    Raises:
        ValueError: ``p`` is no integer.
        ZeroDivisionError: a negative power of 0.
    """
    if not isinstance(p, numbers.Integral):
        raise ValueError(f"the exponent must be an integer, not {p!r}")
    if p < 0:
        if np.any(x == 0):
            raise ZeroDivisionError(f"0 has no power {p}")
        return 1 / power(x, -p)
    product = np.ones_like(x) if isinstance(x, np.ndarray) else type(x)(1)
    for _ in range(p):
        product = product * x
    return product


def power_gradient(x: Array, p: int, g: Array) -> Array:
    """The gradient of ``x`` in ``power``: ``p x^(p-1) g``, and 0 for ``p = 0``, where ``x^(p-1)`` need not exist."""
    return np.asarray(p * power(x, p - 1 if p else 0) * g)


def dot(a: ArrayLike, b: ArrayLike) -> Array:
    """The matrix product of ``a``, (n, k), and ``b``, (k, m), by sums of products; a vector counts as a column."""
    left, right = column(a), column(b)
    if left.shape[1] != right.shape[0]:
        raise ValueError(
            f"a matrix of the shape {left.shape} cannot be multiplied by one of the shape {right.shape}: "
            f"{left.shape[1]} columns, {right.shape[0]} rows"
        )
    return np.asarray(np.sum(left[:, :, np.newaxis] * right[np.newaxis, :, :], axis=1))


def dot_gradient(a: Array, b: Array, g: Array) -> tuple[Array, Array]:
    """The gradients of ``a`` and ``b`` in ``dot``, ``g bᵀ`` and ``aᵀ g``, in their shapes; ``g`` is (n, m)."""
    return dot(g, column(b).T).reshape(a.shape), dot(column(a).T, g).reshape(b.shape)


def column(a: ArrayLike) -> Array:
    """A matrix as it is, a vector as a column."""
    matrix = _numbers("a matrix", a)
    if matrix.ndim not in (1, 2):
        raise ValueError(f"a matrix has 2 dimensions and a vector 1, not the shape {matrix.shape}")
    return matrix.reshape(-1, 1) if matrix.ndim == 1 else matrix


def rotation(degrees: ArrayLike) -> Array:
    """The homogeneous matrices (..., 3, 3) that turn a column (x, y, 1) counterclockwise about the origin."""
    angle = np.deg2rad(_numbers("the angle", degrees))
    return _matrices({(0, 0): np.cos(angle), (0, 1): -np.sin(angle), (1, 0): np.sin(angle), (1, 1): np.cos(angle)})


def rotation_gradient(degrees: Array, g: Array) -> Array:
    """The gradient of the angle (...) for ``g`` (..., 3, 3); ``dR/dθ`` carries π/180, as the angle is in degrees."""
    angle = np.deg2rad(degrees)
    along_cosine, along_sine = g[..., 1, 0] - g[..., 0, 1], g[..., 0, 0] + g[..., 1, 1]
    return np.asarray(np.pi / 180 * (np.cos(angle) * along_cosine - np.sin(angle) * along_sine))


def translation(tx: ArrayLike, ty: ArrayLike) -> Array:
    """The homogeneous matrices (..., 3, 3) that move a point by (tx, ty)."""
    x, y = _pair("the translation", tx, ty)
    return _matrices({(0, 0): np.ones_like(x), (1, 1): np.ones_like(y), (0, 2): x, (1, 2): y})


def translation_gradient(g: Array) -> tuple[Array, Array]:
    """The gradients of ``tx`` and ``ty``, which stand in the matrix as they are."""
    return g[..., 0, 2], g[..., 1, 2]


def scale(sx: ArrayLike, sy: ArrayLike) -> Array:
    """The homogeneous matrices (..., 3, 3) that stretch by ``sx`` and ``sy`` from the origin."""
    x, y = _pair("the scale", sx, sy)
    return _matrices({(0, 0): x, (1, 1): y})


def scale_gradient(g: Array) -> tuple[Array, Array]:
    """The gradients of ``sx`` and ``sy``, which stand in the matrix as they are."""
    return g[..., 0, 0], g[..., 1, 1]


def to_homogeneous(points: ArrayLike) -> Array:
    """Points of the plane, (n, 2), as homogeneous ones, (n, 3), whose third coordinate is 1."""
    plane = _points(points, 2)
    return np.concatenate([plane, np.ones_like(plane[:, :1])], axis=1)


def to_homogeneous_gradient(g: Array) -> Array:
    """The gradient of the points, (n, 2), for ``g`` of the shape (n, 3): the added 1 depends on nothing."""
    return g[:, :2]


def from_homogeneous(points: ArrayLike) -> Array:
    """Homogeneous points, (n, 3), as points of the plane, (n, 2): two coordinates over the third, which is not 0."""
    homogeneous = _points(points, 3)
    if np.any(homogeneous[:, 2] == 0):
        raise ValueError("a homogeneous point whose third coordinate is 0 lies at infinity")
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])


def from_homogeneous_gradient(points: Array, g: Array) -> Array:
    """The gradient of homogeneous points, (n, 3): ``g/w``, and by the quotient rule ``-(g₁x + g₂y)/w²`` for ``w``."""
    w = points[:, 2:]
    return np.concatenate([g / w, -np.sum(g * points[:, :2], axis=1, keepdims=True) / (w * w)], axis=1)


def _numbers(what: str, value: ArrayLike) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{what} must hold integers or floats, not {array.dtype}")
    if array.size == 0:
        raise ValueError(f"{what} is empty (shape {array.shape})")
    if np.isnan(array).any():
        raise ValueError(f"{what} contains NaN")
    return array


def _pair(what: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    first, second = _numbers(what, x), _numbers(what, y)
    if first.shape != second.shape:
        raise ValueError(f"{what} has two shapes, {first.shape} for x and {second.shape} for y")
    return first, second


def _points(points: ArrayLike, coordinates: int) -> Array:
    array = _numbers("the points", points)
    if array.ndim != 2 or array.shape[1] != coordinates:
        raise ValueError(f"the points must have the shape (n, {coordinates}), not {array.shape}")
    return array


def _matrices(entries: dict[tuple[int, int], Array]) -> Array:
    """Matrices (..., 3, 3) with these entries of the shape (...), 1 at the lower right and 0 elsewhere."""
    shape, dtype = np.shape(entries[0, 0]), np.result_type(*entries.values())
    matrices = np.zeros((*shape, 3, 3), dtype=dtype)
    matrices[..., 2, 2] = 1
    for (row, col), value in entries.items():
        matrices[..., row, col] = value
    return matrices
