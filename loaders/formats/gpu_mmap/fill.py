"""Brings a split's pixels to where the device gathers them from, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.core.batch import Indices
from loaders.core.errors import BackendError

PIECE = 64 * 2**20
"""Bytes of a piece: the host's memory beyond the split itself."""


def pieces(sizes: NDArray[np.int64], most: int = PIECE) -> Iterator[tuple[int, int]]:
    """Consecutive samples, from and to, that take no more than so many bytes together; at least one.

    Args:
        sizes: ``[n]``, bytes of each sample.
        most: bytes.
    """
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ends):
        begun = int(ends[start] - sizes[start])
        stop = max(start + 1, int(np.searchsorted(ends, begun + most, side="right")))
        yield start, stop
        start = stop


def decode_into(target: torch.Tensor, sizes: NDArray[np.int64], decode: Callable[[Indices], torch.Tensor]) -> None:
    """Decode all samples into flat memory, one after the other.

    Args:
        target: uint8, flat.
        sizes: ``[n]``, bytes of each sample's pixels.
        decode: gives the pixels of some samples end to end, uint8 and flat.
    """
    end = 0
    for start, stop in pieces(sizes, PIECE):
        pixels = decode(np.arange(start, stop))
        begin, end = end, end + len(pixels)
        target[begin:end].copy_(pixels)


def check_room(needed: int, free: int, what: str, instead: str) -> None:
    """Refuse before allocating.

    Raises:
        BackendError: the split does not fit.
    """
    if needed > free:
        raise BackendError(
            f"the split needs {needed / 1e9:.2f} GB and {what} has {free / 1e9:.2f} GB free; use {instead}"
        )


def remedy(mode: str, encoding: str) -> str:
    """What to use where a split does not fit."""
    ways = {"cuda": ("pinned", "mapped"), "pinned": ("mapped",)}.get(mode, ())
    others = [f"--option mode={way}" for way in ways if (way, encoding) != ("mapped", "jpeg")]
    return f"{', '.join(others)} or --limit" if others else "--limit"
