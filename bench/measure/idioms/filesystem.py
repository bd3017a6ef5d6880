"""The limit for `filesystem`: a bare pool of threads that reads and decodes the same files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from loaders import ImageDataset
from loaders.decoding import Codec, default_threads
from loaders.filesystem import image_name, index_name


def idiom(
    dataset: ImageDataset[Any], batches: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """``open().read()`` and simplejpeg or libspng, on as many threads, each with an equal share of the batch.

    The paths are a list made beforehand, the sizes of the files are not checked, and images come as ``[B, H, W, C]``.
    """
    options: Any = dataset.options
    threads = options.threads or default_threads()
    codec: Codec = "png" if index_name(dataset.split, "png") in dataset.info.files else "jpeg"
    index = np.fromfile(dataset.location / index_name(dataset.split, codec), np.int64).reshape(-1, 2)
    labels = np.ascontiguousarray(index[:, 0])
    folder = dataset.location / dataset.split
    paths = [str(folder / image_name(label, i, codec)) for i, label in enumerate(labels.tolist())]
    channels, height, width = dataset.split_info.shape
    shape = (height, width) if channels == 1 else (height, width, channels)

    def load(part: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        for row, i in enumerate(part.tolist()):
            with open(paths[i], "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the read
                data = file.read()
            if codec == "png":
                imagecodecs.spng_decode(data, out=out[row])
            else:
                simplejpeg.decode_jpeg(data, colorspace="GRAY" if channels == 1 else "RGB", buffer=out[row])

    with ThreadPoolExecutor(threads) as pool:
        for indices in batches:
            out = np.empty((len(indices), *shape), np.uint8)
            step = max(1, -(-len(indices) // threads))
            starts = range(0, len(indices), step)
            list(pool.map(lambda a: load(indices[a : a + step], out[a : a + step]), starts))  # noqa: B023
            yield out.reshape(len(indices), height, width, channels), np.take(labels, indices)
