"""The limit for `mmap`: NumPy's gather over the bytes themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loaders import ImageDataset


def idiom(
    dataset: ImageDataset[Any], batches: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """``np.take`` of rows and of labels for each batch, on plain ndarrays, into fresh memory."""
    count, shape = len(dataset), dataset.split_info.shape
    pixels = np.asarray(np.memmap(dataset.location / f"{dataset.split}.pixels", np.uint8, mode="r"))
    pixels = pixels.reshape(count, *shape)
    labels = np.fromfile(dataset.location / f"{dataset.split}.labels", np.int64)
    for indices in batches:
        yield np.take(pixels, indices, axis=0), np.take(labels, indices)
