"""The limit for `memory`: NumPy's gather over bytes in RAM, or a bare pool that decodes or crops slices of them."""

from __future__ import annotations

from contextlib import AbstractContextManager

from bench.idioms import Crops, Read
from bench.idioms.flat import read_flat
from bench.idioms.room import read_bytes
from loaders import StoreDataset


def idiom(dataset: StoreDataset, crops: Crops | None = None) -> AbstractContextManager[Read]:
    """``np.take`` of rows and labels on a plain ndarray; slices go to as many threads."""
    return read_flat(dataset, read_bytes, crops)
