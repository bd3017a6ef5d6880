"""The idiom of `mmap` and `memory`: NumPy's gather, or a bare pool that decodes or crops slices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from bench.idioms import Crops, Read, check_room
from bench.idioms.pool import Pool, slices
from loaders import StoreDataset
from loaders.store.arrays import data_name, map_bytes


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """``np.take`` of rows and labels on a plain ndarray, over the map or in memory; slices go to as many threads."""
    options: Any = dataset.options
    base, path = dataset.location / dataset.split, dataset.location / data_name(dataset.split, options.encoding)
    labels = np.fromfile(base.with_suffix(".labels"), np.int64)
    if dataset.name == "memory":
        check_room(path.stat().st_size, torch.device("cpu"))
        data = np.fromfile(path, np.uint8)
    else:
        data = map_bytes(path)
    if crops is None and options.encoding == "raw":
        pixels = data.reshape(len(dataset), *dataset.split_info.fixed_shape)
        yield lambda indices: (np.take(pixels, indices, axis=0), np.take(labels, indices))
        return
    offsets = np.fromfile(base.with_suffix(".offsets"), np.int64)
    with Pool(dataset, crops) as pool:
        yield lambda indices: (pool(indices, slices(data, offsets, indices)), np.take(labels, indices))
