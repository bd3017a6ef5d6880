"""How large the images of a split are, and so where each lies among the pixels of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loaders.errors import StoreError
from loaders.ragged import map_sizes
from loaders.split import SplitInfo


class StoredSizes:
    """Of the images of one size or of many."""

    def __init__(self, location: Path, split: str, info: SplitInfo) -> None:
        """Map the sizes. Their file was found to be whole when the dataset made its `RaggedReader`."""
        self._shape, self._count = info.shape, info.count
        self._what = f"the {split} split in {location}"
        self._again = f"remove {location} and prepare it again"
        self._described: NDArray[np.int32] | None = None
        if info.shape is None:
            self._described = map_sizes(location, split)

    def bytes(self) -> NDArray[np.int64]:
        """Bytes of the pixels of each image, ``[n]``."""
        if self._shape is not None:
            return np.full(self._count, np.prod(self._shape), np.int64)
        assert self._described is not None
        return 3 * self._described[:, 0].astype(np.int64) * self._described[:, 1]

    @property
    def total(self) -> int:
        """Bytes of all."""
        return int(self.bytes().sum())

    def offsets(self) -> NDArray[np.int64]:
        """Where each image begins if all lie end to end, ``[n]``."""
        sizes = self.bytes()
        ends = np.cumsum(sizes)
        ends -= sizes
        return ends

    def check(self, offsets: NDArray[np.int64] | None, length: int) -> None:
        """See that pixels lie as the sizes say: a device that reads beyond them ends the process.

        Args:
            offsets: as stored, ``[n + 1]``.
            length: bytes of all pixels.

        Raises:
            StoreError: they lie otherwise.
        """
        assert offsets is not None
        sizes = self.bytes()
        stored = np.diff(offsets)
        if len(stored) != self._count or offsets[0] != 0 or offsets[-1] != length:
            raise StoreError(f"the offsets of {self._what} do not fit its pixels; {self._again}")
        wrong = np.flatnonzero(stored != sizes)
        if len(wrong):
            i = int(wrong[0])
            raise StoreError(f"image {i} of {self._what} has {stored[i]} bytes instead of {sizes[i]}; {self._again}")
