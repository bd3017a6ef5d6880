"""Columns scaled to [-1, 1] by their minimum and maximum, and back."""

from __future__ import annotations

import dataclasses

import numpy as np

from bench.gradients.layers.variable import Array, checked


@dataclasses.dataclass(frozen=True)
class Ranges:
    """The smallest and the largest value of each column, both float ``[D]``."""

    low: Array
    high: Array


def ranges_of(values: Array) -> Ranges:
    """The range of each column of ``values``, float ``[N, D]``.

    Raises:
        ValueError: no samples, NaN or infinities, not two-dimensional, or a column whose values are all the same.
    """
    checked("what is scaled", values, ndim=2)
    low, high = values.min(axis=0), values.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        extent = high - low
    for column in np.flatnonzero(~np.isfinite(extent)):
        raise ValueError(f"column {column} reaches from {low[column]} to {high[column]}, which is beyond any scale")
    for column in np.flatnonzero(extent == 0):
        raise ValueError(f"column {column} is {low[column]} everywhere and cannot be scaled; leave it out")
    return Ranges(low, high)


def normalise(values: Array, ranges: Ranges) -> Array:
    """``2 (v - low) / (high - low) - 1``: ``low`` becomes -1 and ``high`` 1, and what lies beyond ends outside."""
    checked("what is normalised", values, shape=(None, len(ranges.low)))
    return np.asarray((values - ranges.low) / (ranges.high - ranges.low) * 2 - 1)


def denormalise(values: Array, ranges: Ranges) -> Array:
    """The inverse of ``normalise``, but for rounding."""
    checked("what is denormalised", values, shape=(None, len(ranges.low)))
    return np.asarray(ranges.low + (values + 1) / 2 * (ranges.high - ranges.low))
