"""A value with its gradient, and the checks that every layer makes of what it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class Variable:
    """A trainable value and the gradient that backward passes add to.

    Attributes:
        value: the parameter, float32 or float64, any shape.
        grad: the sum of the gradients since the last ``zero_grad``; same shape and dtype as ``value``.
    """

    def __init__(self, value: Array) -> None:
        self.value = checked("a parameter", np.asarray(value))
        self.grad = np.zeros_like(self.value)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = np.zeros_like(self.value)


def checked(what: str, array: Array, *, ndim: int | None = None, shape: tuple[int | None, ...] | None = None) -> Array:
    """The array itself, if it can be computed with.

    Args:
        what: names the array in the message.
        array: to be checked.
        ndim: number of dimensions wanted, if that is fixed.
        shape: extents wanted; ``None`` for one that is free.

    Raises:
        ValueError: not floating-point, empty, not of the wanted shape, or with a NaN in it.
    """
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.floating):
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{what} must be a float32 or float64 array, not {kind}; convert it with np.asarray")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{what} must have {ndim} dimensions, not the shape {array.shape}")
    if shape is not None and (
        array.ndim != len(shape) or any(w is not None and w != h for w, h in zip(shape, array.shape, strict=True))
    ):
        wanted = ", ".join("any" if w is None else str(w) for w in shape)
        raise ValueError(f"{what} must have the shape ({wanted}), not {array.shape}")
    if array.size == 0:
        raise ValueError(f"{what} is empty (shape {array.shape}); give at least one sample")
    if np.isnan(array).any():
        raise ValueError(f"{what} contains NaN")
    return array
