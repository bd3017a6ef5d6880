"""How the idioms of the flat-file formats read: everything but where the bytes are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure.idioms import Read
from bench.measure.pool import Pool
from loaders import ImageDataset


@contextlib.contextmanager
def read_flat(dataset: ImageDataset[Any], load: Callable[[Path], NDArray[np.uint8]]) -> Iterator[Read]:
    """Gather, or decode, each batch and its labels.

    Args:
        dataset: names the files.
        load: gives the bytes of a file as a flat array.
    """
    options: Any = dataset.options
    base = dataset.location / dataset.split
    labels = np.fromfile(base.with_suffix(".labels"), np.int64)
    if options.encoding == "raw":
        pixels = load(base.with_suffix(".pixels")).reshape(len(dataset), *dataset.split_info.fixed_shape)
        yield lambda indices: (np.take(pixels, indices, axis=0), np.take(labels, indices))
        return
    jpeg, offsets = load(base.with_suffix(".jpeg")), np.fromfile(base.with_suffix(".offsets"), np.int64)
    with Pool(options.threads, dataset.split_info.fixed_shape) as pool:
        yield lambda indices: (pool.decode_slices(jpeg, offsets, indices), np.take(labels, indices))
