"""The limit for `mmap`: NumPy's gather over the mapped bytes, or a bare pool that decodes or crops slices of them."""

from __future__ import annotations

from contextlib import AbstractContextManager

from bench.idioms import Crops, Read
from bench.idioms.flat import read_flat
from loaders import StoreDataset
from loaders.store.arrays import map_bytes


def idiom(dataset: StoreDataset, crops: Crops | None = None) -> AbstractContextManager[Read]:
    """``np.take`` of rows and labels on a plain ndarray over the map; slices go to as many threads."""
    return read_flat(dataset, map_bytes, crops)
