"""The idiom of `mmap` and `memory`: NumPy's gather, or a bare pool that decodes or crops slices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.idioms import Crops, Read, check_room
from bench.idioms.pool import Pixels, Pool, slices
from loaders import Indices, StoreDataset
from loaders.store.arrays import data_name, map_bytes


class _Gather:
    """A gather of rows and labels, uint8 ``[n, C, H, W]`` and int64 ``[n]``."""

    def __init__(self, pixels: Pixels, labels: NDArray[np.int64]) -> None:
        self._pixels, self._labels = pixels, labels
        self._memory = np.empty((0, *pixels.shape[1:]), np.uint8)

    def __call__(self, indices: Indices) -> tuple[Pixels, NDArray[np.int64]]:
        """Into fresh memory."""
        return np.take(self._pixels, indices, axis=0), np.take(self._labels, indices)

    def into(self, indices: Indices) -> tuple[Pixels, NDArray[np.int64]]:
        """Into memory that the next batch overwrites; ``mode`` keeps NumPy from a copy of its own."""
        if len(indices) > len(self._memory):
            self._memory = np.empty((len(indices), *self._pixels.shape[1:]), np.uint8)
        images = np.take(self._pixels, indices, axis=0, out=self._memory[: len(indices)], mode="clip")
        return images, np.take(self._labels, indices)


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
        yield _Gather(pixels, labels)
        return
    offsets = np.fromfile(base.with_suffix(".offsets"), np.int64)
    with Pool(dataset, crops) as pool:
        yield lambda indices: (pool(indices, slices(data, offsets, indices)), np.take(labels, indices))
