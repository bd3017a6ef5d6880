"""Makes batches from pixels that a device can read: rows of images of one size, or crops of images of many sizes."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.core.batch import Batch, BatchRequest, Indices
from loaders.core.format import Reader
from loaders.core.payloads import Payloads, Rows
from loaders.formats.gpu_mmap.crops import device_crops
from loaders.formats.gpu_mmap.device import send
from loaders.store.arrays import Arrays


class DeviceReader(Reader):
    """Pixels that one device can read."""

    life = contextlib.ExitStack()
    """Releases the memory that the device reads."""

    def close(self) -> None:
        """Wait for the device and release the memory that it reads."""
        self.life.close()


class RowsReader(DeviceReader):
    """Images of one size, gathered on the device.

    Rows are read in the widest words that divide them: single bytes would waste most of the bus's bandwidth.
    """

    def __init__(self, pixels: torch.Tensor, labels: NDArray[np.int64]) -> None:
        """Args: pixels: uint8 ``[n, C, H, W]``, contiguous; labels: ``[n]``, in the host's memory."""
        self._shape = pixels.shape[1:]
        self._words = pixels.view(len(pixels), -1).view(widest_word(math.prod(self._shape)))
        self._labels = labels

    def fetch(self, indices: Indices) -> Rows:
        """A fresh batch on the device of the pixels."""
        known = np.empty((2, len(indices)), np.int64)
        known[0], known[1] = indices, self._labels.take(indices)
        at, labels = send(known, self._words.device).unbind()
        rows = self._words.index_select(0, at).view(torch.uint8)
        return Rows(rows.view(len(indices), *self._shape), labels)


class CropsReader(DeviceReader):
    """Images of many sizes, end to end, cropped on the device; whole images are read from the store's files."""

    def __init__(self, pixels: torch.Tensor, arrays: Arrays, offsets: NDArray[np.int64], limit: int) -> None:
        """Args: pixels and limit as in `device_crops`; offsets: ``[n]``, the start of each image."""
        self._pixels, self._arrays, self._offsets, self._limit = pixels, arrays, offsets, limit
        self._labels = arrays.labels.copy()

    def fetch(self, indices: Indices) -> Payloads:
        """The bytes in the store's file."""
        return Payloads(self._arrays.slices(indices).__getitem__, self._labels.take(indices))

    def crops(self, request: BatchRequest, sizes: NDArray[np.int64], boxes: NDArray[np.int64], size: int) -> Batch:
        """A fresh batch of square crops, with the bytes of `loaders.images.crops.resize_into`."""
        offsets = self._offsets[request.indices]
        images = device_crops(self._pixels, offsets, sizes[:, 1], boxes, size, self._limit)
        return Batch(images, send(self._labels.take(request.indices), images.device))


def widest_word(row_bytes: int) -> torch.dtype:
    """The widest integer type whose size divides a row."""
    for dtype in (torch.int64, torch.int32, torch.int16):
        if row_bytes % dtype.itemsize == 0:
            return dtype
    return torch.uint8
