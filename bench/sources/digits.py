"""The 1,797 handwritten digits that scikit-learn ships: real images that need no download."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.sources.base import Contents, Source
from loaders import Block, DatasetInfo

# sha256 of the 1,797 images as bytes 0..16 followed by their labels as bytes.
OFFICIAL_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class ArraySplit:
    """A split that fits in memory: uint8 ``[n, C, H, W]`` and int64 ``[n]``."""

    encoding: Literal["raw", "jpeg"] = "raw"

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self._images, self._labels = images, labels
        _, channels, height, width = images.shape
        self.shape = (channels, height, width)

    def __len__(self) -> int:
        return len(self._labels)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """All in one block."""
        images, labels = self._images[start:stop], self._labels[start:stop]
        if len(labels):
            yield Block(images, None, labels)


class Digits(Source):
    """8x8 grey digits, each pixel repeated to 32x32 and each image to three channels.

    Official when scikit-learn's copy has the known checksum.
    """

    name = "digits"
    summary = "1,437 / 360 handwritten digits, 3x32x32, bundled with scikit-learn"

    def missing(self) -> str | None:
        """Never: the data comes with scikit-learn."""
        return None

    @cached_property
    def _contents(self) -> Contents:
        """Every fifth sample, counted in the order of classes, is a test sample: 1,437 and 360, stratified."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        small, labels = images.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.int64)
        checksum = hashlib.sha256(small.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
        official, classes = checksum == OFFICIAL_SHA256, tuple("0123456789")
        info = DatasetInfo(name=self.name, official=official, synthetic=False, classes=classes, fingerprint=checksum)
        # 16 grey levels spread over 0..255, exactly invertible.
        scaled = (small.astype(np.uint16) * 255 // 16).astype(np.uint8)
        grey = scaled.repeat(4, axis=1).repeat(4, axis=2)
        images = np.ascontiguousarray(np.broadcast_to(grey[:, None], (len(grey), 3, 32, 32)))
        test = np.zeros(len(labels), bool)
        test[np.argsort(labels, kind="stable")[::5]] = True
        parts = {"train": ~test, "test": test}
        return Contents(info, {name: ArraySplit(images[part], labels[part]) for name, part in parts.items()}, [])
