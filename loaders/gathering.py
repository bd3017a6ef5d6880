"""Makes batches of pixels where they are: whole rows of images of one size, or crops of images of many."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.batch import Batch, Indices
from loaders.crops import Boxes
from loaders.device_crops import device_crops


class Gather:
    """Pixels and labels that one device can reach, gathered on that device.

    Rows are moved as the widest words that divide them: byte-wise reads over the bus would waste most of it.
    """

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        """Args: pixels is uint8 ``[n, C, H, W]``, contiguous; labels int64 ``[n]``, on the device that gathers."""
        self._shape = pixels.shape[1:]
        self._words = pixels.view(len(pixels), -1).view(widest_word(math.prod(self._shape)))
        self._labels = labels

    def read(self, indices: Indices) -> Batch:
        """A fresh batch on the device of the labels."""
        where = torch.from_numpy(indices).to(self._labels.device)
        rows = self._words.index_select(0, where).view(torch.uint8)
        return Batch(rows.view(len(indices), *self._shape), self._labels.index_select(0, where))


class RaggedGather:
    """Pixels of images of many sizes, end to end, and labels that one device can reach; cropped on that device."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor, offsets: NDArray[np.int64]) -> None:
        """Args: pixels is uint8, flat, ``[H, W, 3]`` each; labels int64 ``[n]``; offsets where each begins, ``[n]``."""
        self._pixels, self._labels, self._offsets = pixels, labels, offsets

    def crops(self, indices: Indices, sizes: NDArray[np.int64], boxes: Boxes, size: int) -> Batch:
        """A fresh batch of square crops, the bytes that `loaders.crops.resize_into` gives.

        Args:
            indices: ``[B]``.
            sizes: ``[B, 2]``, height and width of these images.
            boxes: ``[B, 4]``.
            size: side of the crops in pixels.
        """
        where = torch.from_numpy(indices).to(self._labels.device)
        images = device_crops(self._pixels, self._offsets[indices], sizes[:, 1], boxes, size)
        return Batch(images, self._labels.index_select(0, where))


def widest_word(row_bytes: int) -> torch.dtype:
    """The widest integer type whose size divides a row."""
    for dtype in (torch.int64, torch.int32, torch.int16):
        if row_bytes % dtype.itemsize == 0:
            return dtype
    return torch.uint8
