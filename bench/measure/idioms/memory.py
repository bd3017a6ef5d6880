"""The limit for `memory`: NumPy's gather over bytes in RAM, or a bare pool that decodes slices of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from bench.measure.flat import read_flat
from bench.measure.idioms import Read
from loaders import ImageDataset


def idiom(dataset: ImageDataset[Any]) -> AbstractContextManager[Read]:
    """``np.take`` of rows and labels on a plain ndarray; JPEG slices go to as many threads."""
    return read_flat(dataset, lambda path: np.fromfile(path, np.uint8))
