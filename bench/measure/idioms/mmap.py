"""The limit for `mmap`: NumPy's gather over the mapped bytes, or a bare pool that decodes slices of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure.flat import read_flat
from loaders import ImageDataset


def idiom(
    dataset: ImageDataset[Any], batches: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """``np.take`` of rows and labels on a plain ndarray over the map; JPEG slices go to as many threads."""
    return read_flat(dataset, batches, lambda path: np.asarray(np.memmap(path, np.uint8, mode="r")))
