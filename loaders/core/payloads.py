"""What a format gives for a batch: rows of pixels, or the bytes that it keeps of each sample."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Buffer: TypeAlias = Any
"""Bytes: ``bytes``, a ``memoryview`` or a flat uint8 array. Python 3.11 has no type for what has a buffer."""


class Kind(IntEnum):
    """What the bytes of a stored sample are, and so how they become pixels."""

    PIXELS = 0
    """Decoded uint8 pixels: ``[C, H, W]`` of a split of one size, ``[H, W, 3]`` of many sizes."""
    JPEG = 1
    """A JPEG file that decodes to its pixels without further work: RGB or grey, upright, coded by DCT. The fast decoder
    gives the same pixels as Pillow."""
    FILE = 2
    """Any other image file, including JPEG files that the fast decoder refuses; decoded by Pillow."""
    PNG = 3
    """A PNG file of 8-bit RGB or grey, made when the sample was stored."""


class Rows(NamedTuple):
    """Samples of one size as pixels.

    Attributes:
        images: uint8 ``[B, C, H, W]`` in fresh memory: an array, or a tensor on the format's device.
        labels: int64 ``[B]`` in fresh memory; None where the reader has ``labels``.
    """

    images: NDArray[np.uint8] | torch.Tensor
    labels: NDArray[np.int64] | torch.Tensor | None = None


class Payloads(NamedTuple):
    """Samples as the bytes that are kept of each.

    Attributes:
        get: gives the bytes of the i-th sample of the batch; several threads call it.
        labels: int64 ``[B]``; None where the reader has ``labels``.
        kind: what the bytes are in a split of one size. The kinds of a split of many sizes stand in the store.
        name: what to call the i-th sample in an error message; None: its index, split and store.
    """

    get: Callable[[int], Buffer]
    labels: NDArray[np.int64] | None = None
    kind: Kind = Kind.PIXELS
    name: Callable[[int], str] | None = None
