"""Makes batches of pixels where they are: whole rows of images of one size, or crops of images of many."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.core.batch import Batch, Indices
from loaders.formats.gpu_mmap.crops import device_crops
from loaders.formats.gpu_mmap.device import send
from loaders.images.crops import Boxes


class Gather:
    """Pixels that one device can reach, gathered on that device.

    Rows are moved as the widest words that divide them: byte-wise reads over the bus would waste most of it.
    """

    def __init__(self, pixels: torch.Tensor, labels: NDArray[np.int64]) -> None:
        """Args: pixels is uint8 ``[n, C, H, W]``, contiguous; labels ``[n]``, which the host looks up."""
        self._shape = pixels.shape[1:]
        self._words = pixels.view(len(pixels), -1).view(widest_word(math.prod(self._shape)))
        self._labels = labels

    def read(self, indices: Indices) -> Batch:
        """A fresh batch on the device of the pixels."""
        known = np.empty((2, len(indices)), np.int64)
        known[0], known[1] = indices, self._labels.take(indices)
        at, labels = send(known, self._words.device).unbind()
        rows = self._words.index_select(0, at).view(torch.uint8)
        return Batch(rows.view(len(indices), *self._shape), labels)


class RaggedGather:
    """Pixels of images of many sizes, end to end, that one device can reach; cropped on that device."""

    def __init__(self, pixels: torch.Tensor, labels: NDArray[np.int64], offsets: NDArray[np.int64], limit: int) -> None:
        """Args: pixels and limit as `device_crops` takes them; labels ``[n]``; offsets ``[n]``, where each begins."""
        self._pixels, self._labels, self._offsets, self._limit = pixels, labels, offsets, limit

    def crops(self, indices: Indices, widths: NDArray[np.int64], boxes: Boxes, size: int) -> Batch:
        """A fresh batch of square crops, the bytes that `loaders.images.crops.resize_into` gives.

        Args:
            indices: ``[B]``.
            widths: ``[B]``, of these images.
            boxes: ``[B, 4]``.
            size: side of the crops in pixels.
        """
        images = device_crops(self._pixels, self._offsets[indices], widths, boxes, size, self._limit)
        return Batch(images, send(self._labels.take(indices), images.device))


def widest_word(row_bytes: int) -> torch.dtype:
    """The widest integer type whose size divides a row."""
    for dtype in (torch.int64, torch.int32, torch.int16):
        if row_bytes % dtype.itemsize == 0:
            return dtype
    return torch.uint8
