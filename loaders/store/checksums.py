"""Checksums of all samples as they were prepared, to compare with those that a loader delivers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loaders.core.batch import Indices
from loaders.core.errors import StoreError, remedy

_ROW = np.dtype([("pixels", "<u8"), ("label", "<i4")])


def checksums_name(split: str) -> str:
    """Name of a split's file: for each sample eight bytes of its `image_digest` and its label, little-endian int32."""
    return f"{split}.checksums"


def write_checksums(parts: Iterable[tuple[NDArray[np.uint64], NDArray[np.int64]]], folder: Path, split: str) -> str:
    """Write the file from checksums and labels of consecutive samples; returns its name."""
    with (folder / checksums_name(split)).open("wb") as file:
        for pixels, labels in parts:
            rows = np.empty(len(pixels), _ROW)
            rows["pixels"], rows["label"] = pixels, labels
            file.write(rows.tobytes())
    return checksums_name(split)


class Comparison:
    """Compares delivered samples with the prepared ones."""

    def __init__(self, location: Path, split: str, count: int) -> None:
        """Map the checksums of a split of ``count`` samples, in the store at ``location``.

        Raises:
            StoreError: the file belongs to another split.
        """
        path = location / checksums_name(split)
        if path.stat().st_size != _ROW.itemsize * count:
            raise StoreError(f"{path} does not describe {count} samples; {remedy(location)}")
        self._truth = np.asarray(np.memmap(path, _ROW, mode="r"))
        self._split = split
        self._compared = self._wrong = 0
        self._first = ""

    def add(self, indices: Indices, pixels: NDArray[np.uint64], labels: NDArray[np.int64]) -> None:
        """Compare delivered samples, ``[B]`` each; ``pixels`` are the shortened `image_digest` of the images."""
        truth = self._truth[indices]
        wrong = np.flatnonzero((truth["pixels"] != pixels) | (truth["label"] != labels))
        if len(wrong) and not self._wrong:
            i = wrong[0]
            self._first = self._describe(int(indices[i]), pixels[i], int(labels[i]))
        self._compared += len(indices)
        self._wrong += len(wrong)

    def _describe(self, index: int, pixels: np.uint64, label: int) -> str:
        if self._truth["pixels"][index] == pixels:
            return f"sample {index}, whose label is {label} instead of {self._truth['label'][index]}"
        others = np.flatnonzero(self._truth["pixels"] == pixels)
        if not len(others):
            return f"sample {index}, whose pixels differ"
        if label == self._truth["label"][others[0]]:
            return f"sample {index}, in whose place sample {others[0]} came: the order differs"
        return f"sample {index}, whose pixels are those of sample {others[0]}"

    def verdict(self) -> str | None:
        """What is wrong, for an error message; None if all samples are as they were prepared."""
        if not self._wrong:
            return None
        return (
            f"{self._wrong:,} of {self._compared:,} samples of the {self._split} split are not as they were prepared, "
            f"the first being {self._first}"
        )
