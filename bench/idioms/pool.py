"""A bare pool of threads that decodes or crops images, each thread with an equal share of the batch.

Crops equal a loader's byte for byte because boxes, resizing and the decoding of rare kinds of files have one
implementation in ``loaders``; what lies between is written here again, without a loader's checks. The one check left
is of the header before a scaled decoding, which would be unsafe without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from bench.idioms import Crops
from loaders import Indices, Kind, StoreDataset
from loaders.images.codecs import pil_into
from loaders.images.crops import random_boxes, resize_into
from loaders.images.headers import jpeg_size, require
from loaders.images.kinds import decode_picture
from loaders.images.threads import default_threads
from loaders.store.sizes import map_sizes

Pixels = NDArray[np.uint8]
Fetch = Callable[[int], Any]
"""Gives the stored bytes of the i-th sample of a batch: a buffer."""
Into = Callable[[Any, Pixels], object]


def jpeg_into(data: Any, out: Pixels) -> None:
    """Decode into uint8 ``[H, W, C]`` by simplejpeg, or by Pillow what that refuses."""
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY" if out.shape[-1] == 1 else "RGB", buffer=out)
    except Exception:  # it refuses in many ways what loaders leave to Pillow, too
        pil_into(data, out, lambda _: "it", 0, ("JPEG",))


@contextlib.contextmanager
def stored_images(dataset: StoreDataset, crops: Crops | None) -> Iterator[Callable[[Indices, Sequence[Any]], Pixels]]:
    """Makes images of a batch's indices and stored bytes: by a pool, or pixels of one size by joining them."""
    options: Any = dataset.options
    if crops is not None or options.encoding == "jpeg":
        with Pool(dataset, crops) as pool:
            yield lambda indices, stored: pool(indices, stored.__getitem__)
    else:
        shape = dataset.split_info.fixed_shape
        yield lambda _, stored: np.frombuffer(bytearray().join(stored), np.uint8).reshape(len(stored), *shape)


def slices(data: Any, offsets: NDArray[np.int64], indices: Indices) -> Fetch:
    """Samples that lie end to end: ``data[offsets[i]:offsets[i + 1]]`` for each index, when it is asked for."""
    bounds = list(zip(offsets[indices].tolist(), offsets[indices + 1].tolist(), strict=True))
    return lambda row: data[bounds[row][0] : bounds[row][1]]


class Pool(contextlib.AbstractContextManager["Pool"]):
    """Decodes the images of a split, or crops them where it has many sizes."""

    def __init__(
        self, dataset: StoreDataset, crops: Crops | None = None, into: Into = jpeg_into, *, decoded: bool = False
    ) -> None:
        """Args: into decodes images of one size; decoded: pixels of many sizes are fetched, whatever the store keeps.

        The dataset's options say how many threads, 0 meaning one per core.
        """
        options: Any = dataset.options
        self._threads = options.threads or default_threads()
        self._executor = ThreadPoolExecutor(self._threads)
        self._crops, self._into = crops, into
        if crops is None:
            channels, *sides = dataset.split_info.fixed_shape
            self.shape = (*sides, channels)
        else:
            self.shape = (crops.size, crops.size, 3)
            self._scaled = options.scaled
            self._described = map_sizes(dataset.location, dataset.split).astype(np.int64)
            if decoded:
                self._described[:, 2] = Kind.PIXELS

    def __call__(self, indices: Indices, fetch: Fetch, out: Pixels | None = None) -> Pixels:
        """Images, uint8 ``[B, H, W, C]``, in fresh memory or in ``out``; ``fetch`` is called in the threads."""
        images = np.empty((len(indices), *self.shape), np.uint8) if out is None else out
        crop = None if self._crops is None else self._cropping(self._crops, indices, fetch)
        step = max(1, -(-len(images) // self._threads))

        def work(start: int) -> None:
            for row in range(start, min(start + step, len(images))):
                if crop is None:
                    self._into(fetch(row), images[row])
                else:
                    crop(row, images[row])

        list(self._executor.map(work, range(0, len(images), step)))
        return images

    def _cropping(self, crops: Crops, indices: Indices, fetch: Fetch) -> Callable[[int, Pixels], None]:
        """A function that writes one crop of the batch."""
        described = self._described[indices]
        boxes = random_boxes(described[:, :2], crops.seed, crops.epoch, indices).tolist()
        rows = described.tolist()

        def crop(row: int, out: Pixels) -> None:
            height, width, kind = rows[row]
            data, box = fetch(row), boxes[row]
            if kind == Kind.PIXELS:
                image = np.frombuffer(data, np.uint8).reshape(height, width, 3)
            elif kind == Kind.PNG:
                image = imagecodecs.spng_decode(data)
            elif kind == Kind.FILE:
                image = decode_picture(data, "it")[0]
            elif self._scaled:
                image, box = _scaled(data, height, width, box, crops.size)
            else:
                image = simplejpeg.decode_jpeg(data, colorspace="RGB")
            top, left, high, wide = box
            resize_into(image[top : top + high, left : left + wide], out)

        return crop

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown()


def _scaled(data: Any, height: int, width: int, box: list[int], size: int) -> tuple[Pixels, list[int]]:
    """A JPEG file at the smallest of libjpeg's scales that a crop needs, and where the box lies in it."""
    require(jpeg_size(data), height, width)  # else libjpeg might write beyond the result
    top, left, high, wide = box
    eighths = min(8, -(-8 * size // min(high, wide)))
    smallest = {"min_height": -(-height * eighths // 8), "min_width": -(-width * eighths // 8), "min_factor": 1}
    image: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB", **smallest)
    down, across = image.shape[0] / height, image.shape[1] / width
    top, left = int(top * down), int(left * across)
    high = max(1, min(image.shape[0] - top, round(high * down)))
    wide = max(1, min(image.shape[1] - left, round(wide * across)))
    return image, [top, left, high, wide]
