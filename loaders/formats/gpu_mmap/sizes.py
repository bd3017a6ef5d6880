"""How large the images of a split are, and whether its pixels lie as their sizes say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loaders.core.errors import StoreError
from loaders.images.ragged import map_sizes
from loaders.store.samples import SplitInfo


def stored_sizes(location: Path, split: str, info: SplitInfo) -> NDArray[np.int64]:
    """Bytes of the pixels of each image, ``[n]``. Their file was found to be whole when the `RaggedReader` was made."""
    if info.shape is not None:
        return np.full(info.count, np.prod(info.shape), np.int64)
    described = map_sizes(location, split)
    return 3 * described[:, 0].astype(np.int64) * described[:, 1]


def check_offsets(
    offsets: NDArray[np.int64], sizes: NDArray[np.int64], length: int, split: str, location: Path
) -> None:
    """See that pixels lie end to end as their sizes say: a device that reads beyond them ends the process.

    Args:
        offsets: as stored, ``[n + 1]``.
        sizes: ``[n]``, bytes of each image.
        length: bytes of all pixels.
        split: its name.
        location: folder of the store.

    Raises:
        StoreError: they lie otherwise.
    """
    what, again = f"the {split} split in {location}", f"remove {location} and prepare it again"
    stored = np.diff(offsets)
    if len(stored) != len(sizes) or offsets[0] != 0 or offsets[-1] != length:
        raise StoreError(f"the offsets of {what} do not fit its pixels; {again}")
    wrong = np.flatnonzero(stored != sizes)
    if len(wrong):
        i = int(wrong[0])
        raise StoreError(f"image {i} of {what} has {stored[i]} bytes instead of {sizes[i]}; {again}")
