"""The idiom of `hdf5`: plain h5py, in the way that suits how the file is laid out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

from bench.idioms import Crops, Read
from bench.idioms.pool import Pixels, Pool, slices
from loaders import Indices, StoreDataset
from loaders.formats.hdf5 import io
from loaders.formats.hdf5.format import FILE


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """A sorted fancy index, put back in order, on contiguous pixels; the faster of that and ``d[i]`` on chunks.

    With ``access=mapped`` it is ``np.take`` on the map. What is kept one by one, JPEG files and images of many sizes,
    goes to a bare pool that takes ``d[a:b]`` of the dataset, or of the map.
    The file is opened without sieve and with the loader's chunk cache, several times as fast as h5py's defaults:
    where the loader has the file open too, HDF5 makes both opens share these settings, so they must be the same.
    """
    options: Any = dataset.options
    with io.open_file(dataset.location / FILE) as file:
        group = file[dataset.split]
        labels = group["labels"][:]
        if crops is None and options.encoding == "raw":
            chunk = options.chunk_rows * int(np.prod(dataset.split_info.fixed_shape))
            images = io.open_dataset(file, f"{dataset.split}/images", options.cache_bytes(), chunk)
            rows = _rows(dataset, images)
            yield lambda indices: (rows(indices), np.take(labels, indices))
            return
        data, offsets = group["images" if options.encoding == "raw" else "jpeg"], group["offsets"][:]
        if options.access == "mapped":
            data = _mapped(dataset, data, data.shape)
        with Pool(dataset, crops) as pool:
            yield lambda indices: (pool(indices, slices(data, offsets, indices)), np.take(labels, indices))


def _mapped(dataset: StoreDataset, data: h5py.Dataset, shape: tuple[int, ...]) -> Pixels:
    path = dataset.location / FILE
    return np.asarray(np.memmap(path, np.uint8, mode="r", offset=data.id.get_offset(), shape=shape))


def _rows(dataset: StoreDataset, images: h5py.Dataset) -> Callable[[Indices], Pixels]:
    """Gives pixels ``[B, C, H, W]`` in the way that suits the layout."""
    options: Any = dataset.options
    shape = dataset.split_info.fixed_shape
    if options.access == "mapped":
        pixels = _mapped(dataset, images, (len(dataset), *shape))
        return lambda indices: np.take(pixels, indices, axis=0)

    def fancy(indices: Indices) -> Pixels:
        unique, inverse = np.unique(indices, return_inverse=True)
        return np.asarray(images[unique])[inverse]

    def one_by_one(indices: Indices) -> Pixels:
        out = np.empty((len(indices), *shape), np.uint8)
        for row in np.argsort(indices).tolist():
            out[row] = images[int(indices[row])]
        return out

    # With chunks a fancy index is the slower one, but not along the one dimension of element=image.
    one_dimension = options.element == "image" and options.chunk_rows > 1
    return fancy if options.layout == "contiguous" or one_dimension else one_by_one
