"""Decodes a split piece by piece into the memory that the device gathers from, and checks that it fits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.core.batch import BatchRequest
from loaders.core.errors import BackendError
from loaders.core.payloads import Kind, Payloads
from loaders.images.decode import Decoder
from loaders.store.arrays import Arrays

PIECE = 64 * 2**20
"""Bytes of a piece, which the host needs in addition to the split."""


def pieces(sizes: NDArray[np.int64], most: int = PIECE) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive samples of ``sizes[i]`` bytes, each at most ``most`` bytes but at least one sample."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ends):
        begun = int(ends[start] - sizes[start])
        stop = max(start + 1, int(np.searchsorted(ends, begun + most, side="right")))
        yield start, stop
        start = stop


def decode_into(
    target: torch.Tensor, lengths: NDArray[np.int64], arrays: Arrays, decoder: Decoder, *, ragged: bool
) -> None:
    """Decode all files of a split into flat uint8 memory, ``lengths[i]`` bytes for the i-th image."""
    ends = np.cumsum(lengths)
    for start, stop in pieces(lengths, PIECE):
        indices = np.arange(start, stop)
        files = Payloads(arrays.slices(indices).__getitem__, kind=Kind.JPEG)
        if ragged:
            pixels = torch.from_numpy(np.concatenate(decoder.each(files, indices, np.ravel)))
        else:
            pixels = decoder.batch(files, BatchRequest(indices)).reshape(-1)
        target[ends[start] - lengths[start] : ends[stop - 1]].copy_(pixels)


def check_room(needed: int, free: int, where: str, instead: str) -> None:
    """Raise BackendError before allocating if the split does not fit."""
    if needed > free:
        raise BackendError(
            f"the split needs {needed / 1e9:.2f} GB and {where} has {free / 1e9:.2f} GB free; use {instead}"
        )


def remedy(mode: str, encoding: str) -> str:
    """What to use if a split does not fit."""
    others = {"cuda": ("pinned", "mapped"), "pinned": ("mapped",)}.get(mode, ())
    options = [f"--option mode={other}" for other in others if (other, encoding) != ("mapped", "jpeg")]
    return f"{', '.join(options)} or --limit" if options else "--limit"
