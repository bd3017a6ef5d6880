"""The idiom of `filesystem`: a bare pool of threads that reads and decodes the same files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import imagecodecs
import numpy as np

from bench.idioms import Crops, Read
from bench.idioms.pool import Fetch, Pixels, Pool, jpeg_into
from loaders import Indices, StoreDataset
from loaders.formats.filesystem import image_name, index_name
from loaders.images.codecs import Codec


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """``open().read()`` and simplejpeg or libspng, on as many threads, each with an equal share of the batch.

    The paths are a list made beforehand, the sizes of the files are not checked, and images come as ``[B, H, W, C]``.
    """
    codec: Codec = "png" if index_name(dataset.split, "png") in dataset.info.files else "jpeg"
    index = np.fromfile(dataset.location / index_name(dataset.split, codec), np.int64).reshape(-1, 2)
    labels = np.ascontiguousarray(index[:, 0])
    folder = dataset.location / dataset.split
    paths = [str(folder / image_name(label, i, codec)) for i, label in enumerate(labels.tolist())]

    def files(indices: Indices) -> Fetch:
        batch = [paths[i] for i in indices.tolist()]

        def read(row: int) -> bytes:
            with open(batch[row], "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the read
                return file.read()

        return read

    with Pool(dataset, crops, _png_into if codec == "png" else jpeg_into) as pool:
        yield lambda indices: (pool(indices, files(indices)), np.take(labels, indices))


def _png_into(data: bytes, out: Pixels) -> object:
    return imagecodecs.spng_decode(data, out=out if out.shape[2] > 1 else out[:, :, 0])
