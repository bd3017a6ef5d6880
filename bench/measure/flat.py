"""How the idioms of the flat-file formats read: everything but where the bytes are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure.pool import Pool
from loaders import ImageDataset


def read_flat(
    dataset: ImageDataset[Any], batches: Sequence[NDArray[np.int64]], load: Callable[[Path], NDArray[np.uint8]]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Gather, or decode, each batch and its labels.

    Args:
        dataset: names the files.
        batches: indices of each batch.
        load: gives the bytes of a file as a flat array.
    """
    options: Any = dataset.options
    base = dataset.location / dataset.split
    labels = np.fromfile(base.with_suffix(".labels"), np.int64)
    if options.encoding == "raw":
        pixels = load(base.with_suffix(".pixels")).reshape(len(dataset), *dataset.split_info.shape)
        for indices in batches:
            yield np.take(pixels, indices, axis=0), np.take(labels, indices)
        return
    jpeg, offsets = load(base.with_suffix(".jpeg")), np.fromfile(base.with_suffix(".offsets"), np.int64)
    with Pool(options.threads, dataset.split_info.shape) as pool:
        for indices in batches:
            ends = list(zip(offsets[indices].tolist(), offsets[indices + 1].tolist(), strict=True))
            images = pool.decode(len(ends), lambda row, ends=ends: jpeg[ends[row][0] : ends[row][1]])  # type: ignore[misc]
            yield images, np.take(labels, indices)
