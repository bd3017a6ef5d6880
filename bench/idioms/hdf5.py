"""The limit for `hdf5`: plain h5py, in the way that suits how the file is laid out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bench.idioms import Crops, Read
from bench.idioms.plain_crops import PlainCrops
from bench.idioms.pool import Pool, slices
from loaders import StoreDataset
from loaders.formats.hdf5 import io
from loaders.formats.hdf5.format import FILE, Hdf5Options

Pixels = Callable[[NDArray[np.int64]], NDArray[np.uint8]]


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """A sorted fancy index, put back in order, on contiguous pixels; the faster of that and ``d[i]`` on chunks.

    ``access=mapped`` is held against ``np.take`` on the map. What is kept one by one, JPEG files and images of many
    sizes, goes to a bare pool that takes ``d[a:b]`` of the dataset, or of the map.
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
            pixels = _pixels(dataset, images, options)
            yield lambda indices: (pixels(indices), np.take(labels, indices))
            return
        data, offsets = group["images" if options.encoding == "raw" else "jpeg"], group["offsets"][:]
        if options.access == "mapped":
            data = _mapped(dataset, data, data.shape)
        if crops is not None:
            with PlainCrops(dataset, crops) as cut:
                yield lambda indices: (cut(indices, slices(data, offsets, indices)), np.take(labels, indices))
            return
        with Pool(options.threads, dataset.split_info.fixed_shape) as pool:
            yield lambda indices: (pool.decode_slices(data, offsets, indices), np.take(labels, indices))


def _mapped(dataset: StoreDataset, found: h5py.Dataset, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    path = dataset.location / FILE
    return np.asarray(np.memmap(path, np.uint8, mode="r", offset=found.id.get_offset(), shape=shape))


def _pixels(dataset: StoreDataset, images: h5py.Dataset, options: Hdf5Options) -> Pixels:
    if options.access == "mapped":
        pixels = _mapped(dataset, images, (len(dataset), *dataset.split_info.fixed_shape))
        return lambda indices: np.take(pixels, indices, axis=0)

    def fancy(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        unique, places = np.unique(indices, return_inverse=True)
        found: NDArray[np.uint8] = images[unique][places]
        return found

    def rows(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        out = np.empty((len(indices), *dataset.split_info.fixed_shape), np.uint8)
        for place in np.argsort(indices).tolist():
            out[place] = images[int(indices[place])]
        return out

    # With chunks a fancy index is the slower one, but not along the one dimension of element=image.
    one_dimension = options.element == "image" and options.chunk_rows > 1
    return fancy if options.layout == "contiguous" or one_dimension else rows
