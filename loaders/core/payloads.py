"""What a format returns for a batch: rows of pixels, or the stored bytes of each sample."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch takes seconds to import: only what needs it pays
    import torch

Buffer: TypeAlias = Any
"""``bytes``, a ``memoryview`` or a flat uint8 array. Python 3.11 has no type for buffers."""


class Kind(IntEnum):
    """What the bytes of a stored sample are, and so how they are decoded."""

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
    """Samples of one size as pixels, in fresh memory: arrays, or tensors on the format's device."""

    images: NDArray[np.uint8] | torch.Tensor  # [B, C, H, W]
    labels: NDArray[np.int64] | torch.Tensor | None = None  # [B]; None if the reader has labels


class Payloads(NamedTuple):
    """Samples as the stored bytes of each."""

    get: Callable[[int], Buffer]  # the bytes of the i-th sample of the batch; several threads call it
    labels: NDArray[np.int64] | None = None  # [B]; None if the reader has labels
    kind: Kind = Kind.PIXELS  # in a split of one size; for many sizes the store has each sample's kind
    name: Callable[[int], str] | None = None  # of the i-th sample in error messages; None: index, split and store
