"""How large the images of a split are, and so where each lies among the pixels of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loaders.batch import Indices
from loaders.errors import OptionError, StoreError
from loaders.pictures import Kind
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

    def of(self, indices: Indices) -> NDArray[np.int64]:
        """Height and width of these images, ``[B, 2]``."""
        if self._shape is not None:
            return np.broadcast_to(np.array(self._shape[1:], np.int64), (len(indices), 2))
        assert self._described is not None
        return self._described[indices, :2].astype(np.int64)

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

    def check_jpeg(self) -> None:
        """See that all are files that nvJPEG reads.

        Raises:
            OptionError: some are not.
        """
        if self._described is None:
            return
        others = int((self._described[:, 2] != Kind.JPEG).sum())
        if others:
            raise OptionError(
                f"decoder=nvjpeg reads upright RGB or grey JPEG files, and {others} of the {self._count} files of "
                f"{self._what} are others; use --option decoder=fast"
            )
