"""What each sample was when it was prepared, so that what a loader delivers can be held against it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loaders.core.batch import Indices
from loaders.core.errors import StoreError

_ROW = np.dtype([("pixels", "<u8"), ("label", "<i4")])


def checksums_name(split: str) -> str:
    """The file of a split: of each sample eight bytes of its `image_digest` and its label, little-endian int32."""
    return f"{split}.checksums"


def write_checksums(parts: Iterable[tuple[NDArray[np.uint64], NDArray[np.int64]]], folder: Path, split: str) -> str:
    """Write it from checksums and labels, some samples at a time; gives its name."""
    with (folder / checksums_name(split)).open("wb") as file:
        for pixels, labels in parts:
            rows = np.empty(len(pixels), _ROW)
            rows["pixels"], rows["label"] = pixels, labels
            file.write(rows.tobytes())
    return checksums_name(split)


class Comparison:
    """Holds samples that a loader delivered against those that were prepared."""

    def __init__(self, location: Path, split: str, count: int) -> None:
        """Map what was prepared.

        Args:
            location: folder of the store.
            split: name of the split.
            count: its samples.

        Raises:
            StoreError: the file is not that of the split.
        """
        path = location / checksums_name(split)
        if path.stat().st_size != _ROW.itemsize * count:
            raise StoreError(f"{path} does not describe {count} samples; remove {location} and prepare it again")
        self._truth = np.asarray(np.memmap(path, _ROW, mode="r"))
        self._split = split
        self._compared = self._wrong = 0
        self._first = ""

    def add(self, indices: Indices, pixels: NDArray[np.uint64], labels: NDArray[np.int64]) -> None:
        """Compare some samples.

        Args:
            indices: which were asked for, ``[B]``.
            pixels: `image_digest` of each that came, shortened, ``[B]``.
            labels: their labels, ``[B]``.
        """
        truth = self._truth[indices]
        wrong = np.flatnonzero((truth["pixels"] != pixels) | (truth["label"] != labels))
        if len(wrong) and not self._wrong:
            i = wrong[0]
            self._first = self._describe(int(indices[i]), pixels[i], int(labels[i]))
        self._compared += len(indices)
        self._wrong += len(wrong)

    def _describe(self, index: int, pixels: np.uint64, label: int) -> str:
        wanted = int(self._truth["label"][index])
        if self._truth["pixels"][index] == pixels:
            return f"sample {index}, whose label is {label} instead of {wanted}"
        others = np.flatnonzero(self._truth["pixels"] == pixels)
        if not len(others):
            return f"sample {index}, whose pixels differ"
        if label == self._truth["label"][others[0]]:
            return f"sample {index}, in whose place sample {others[0]} came: the order differs"
        return f"sample {index}, whose pixels are those of sample {others[0]}"

    def verdict(self) -> str | None:
        """What is wrong, for an error message; None where every sample is as it was prepared."""
        if not self._wrong:
            return None
        return (
            f"{self._wrong:,} of {self._compared:,} samples of the {self._split} split are not as they were prepared, "
            f"the first being {self._first}"
        )
