"""A value with its gradient, and the checks that every layer makes of what it is given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[np.floating[Any]]


class Variable:
    """A trainable value, float32 or float64 of any shape, and the gradient alike that backward passes add to.

    An optimiser replaces the value and never writes into it.
    """

    def __init__(self, value: Array, what: str = "a parameter") -> None:
        self.value = checked(what, np.asarray(value))
        self.grad = np.zeros_like(self.value)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = np.zeros_like(self.value)


def checked(
    what: str,
    array: Array,
    *,
    ndim: int | None = None,
    shape: tuple[int | None, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> Array:
    """The array itself, if it can be computed with; ``what`` names it in the message.

    An extent of ``shape`` that is ``None`` is free. Raises ``ValueError`` for what is not float32 or float64, empty, of
    another shape or dtype, or has NaN or an infinity in it.
    """
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{what} must be a float32 or float64 array, not {kind}; convert it with np.asarray")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{what} must have {ndim} dimensions, not the shape {array.shape}")
    if shape is not None and (
        array.ndim != len(shape) or any(w is not None and w != h for w, h in zip(shape, array.shape, strict=True))
    ):
        extents = ", ".join("any" if w is None else str(w) for w in shape)
        raise ValueError(f"{what} must have the shape ({extents}), not {array.shape}")
    if array.size == 0:
        raise ValueError(f"{what} is empty (shape {array.shape}); give at least one sample")
    if dtype is not None and array.dtype != dtype:
        raise ValueError(f"{what} is {array.dtype} where {np.dtype(dtype)} is computed; convert one of them")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} contains {'NaN' if np.isnan(array).any() else 'an infinity'}")
    return array


def number(what: str, value: ArrayLike, *, positive: bool = False) -> float:
    """A setting, a number or an array of no dimensions, as a Python float, which takes on any array's dtype.

    Raises ``ValueError`` if it is not one number, not finite, or not positive where it must be.
    """
    array = np.asarray(value)
    if array.ndim != 0 or array.dtype.kind not in "iuf":
        raise ValueError(f"{what} must be one number, not {value!r}")
    as_float = float(array)
    if not math.isfinite(as_float) or (positive and as_float <= 0.0):
        raise ValueError(f"{what} must be {'positive and ' if positive else ''}finite, not {as_float}")
    return as_float
