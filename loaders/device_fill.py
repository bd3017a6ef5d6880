"""Brings a split's pixels to where the device gathers them from, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.batch import Indices
from loaders.errors import BackendError

PIECE = 64 * 2**20
"""Bytes of a piece: the host's memory beyond the split itself. A multiple of what direct reads are aligned to."""


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


def copy_into(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copy bytes, from the pages of a file perhaps, without a second copy of all in between."""
    for start in range(0, len(target), PIECE):
        target[start : start + PIECE].copy_(source[start : start + PIECE])


def decode_into(target: torch.Tensor, sizes: NDArray[np.int64], decode: Callable[[Indices], torch.Tensor]) -> None:
    """Decode all samples into flat memory, one after the other.

    Args:
        target: uint8, flat.
        sizes: ``[n]``, bytes of each sample's pixels.
        decode: gives the pixels of some samples end to end, uint8 and flat.
    """
    end = 0
    for start, stop in pieces(sizes):
        pixels = decode(np.arange(start, stop))
        begin, end = end, end + len(pixels)
        target[begin:end].copy_(pixels)


def read_into(target: torch.Tensor, path: Path, open_direct: Callable[[Path], Any]) -> None:
    """Read a file straight into the device's memory.

    Args:
        target: uint8, flat, as long as the file.
        path: the file.
        open_direct: see `loaders.device.Device`.

    Raises:
        BackendError: it cannot be read, or not wholly.
    """
    instead = "use --option mode=cuda"
    try:
        with open_direct(path) as file:
            for start in range(0, len(target), PIECE):
                piece = target[start : start + PIECE]
                done = int(file.read(piece, file_offset=start))
                if done != len(piece):
                    raise BackendError(
                        f"kvikio read {done} instead of {len(piece)} bytes at {start} of {path}; {instead}"
                    )
    except (OSError, RuntimeError) as error:  # what it raises is either
        why = str(error).partition("\n")[0]
        raise BackendError(f"kvikio cannot read {path} ({why}); {instead}") from None


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
    in_place = "--option mode=mapped" + (" --option decoder=nvjpeg" if encoding == "jpeg" else "")
    if mode == "mapped":
        return "--limit"
    return f"{in_place} or --limit" if mode == "pinned" else f"--option mode=pinned, {in_place} or --limit"
