"""How the idioms of the flat-file formats read: everything but where the bytes are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.idioms import Crops, Read
from bench.idioms.plain_crops import PlainCrops
from bench.idioms.pool import Pool, slices
from loaders import StoreDataset
from loaders.store.arrays import data_name


@contextlib.contextmanager
def read_flat(dataset: StoreDataset, load: Callable[[Path], NDArray[np.uint8]], crops: Crops | None) -> Iterator[Read]:
    """Gather, decode or crop each batch, and gather its labels.

    Args:
        dataset: names the files.
        load: gives the bytes of a file as a flat array.
        crops: of a ragged store.
    """
    options: Any = dataset.options
    base = dataset.location / dataset.split
    labels = np.fromfile(base.with_suffix(".labels"), np.int64)
    data = load(dataset.location / data_name(dataset.split, options.encoding))
    if crops is None and options.encoding == "raw":
        pixels = data.reshape(len(dataset), *dataset.split_info.fixed_shape)
        yield lambda indices: (np.take(pixels, indices, axis=0), np.take(labels, indices))
        return
    offsets = np.fromfile(base.with_suffix(".offsets"), np.int64)
    if crops is not None:
        with PlainCrops(dataset, crops) as cut:
            yield lambda indices: (cut(indices, slices(data, offsets, indices)), np.take(labels, indices))
        return
    with Pool(options.threads, dataset.split_info.fixed_shape) as pool:
        yield lambda indices: (pool.decode_slices(data, offsets, indices), np.take(labels, indices))
