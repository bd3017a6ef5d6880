"""Random square crops of images of many sizes as a bare pool makes them: decode, crop, resize.

Loaders give the same bytes because boxes, resizing and the decoding of rare kinds of files have one implementation by
name, in ``loaders``; what lies between is written here once more, without a loader's checks. The one check that is left
is of the header before a scaled decoding, which would be unsafe without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from bench.idioms import Crops
from bench.idioms.pool import Fetch, Pool
from loaders import Kind, StoreDataset
from loaders.images.crops import random_boxes, resize_into
from loaders.images.headers import jpeg_size, require
from loaders.images.kinds import decode_picture
from loaders.store.sizes import map_sizes

Picture = NDArray[np.uint8]


def any_picture(data: Any) -> Picture:
    """Decode any other file than a plain JPEG to uint8 ``[H, W, 3]``, by the rule that all loaders follow."""
    return decode_picture(data, "it")[0]


class PlainCrops:
    """The crops of a split. Nothing that was decoded is kept."""

    def __init__(
        self,
        dataset: StoreDataset,
        crops: Crops,
        other: Callable[[Any], Picture] = any_picture,
        *,
        decoded: bool = False,
    ) -> None:
        """Read all sizes.

        Args:
            dataset: names the store, and says how many threads decode.
            crops: which.
            other: decodes files that are no plain JPEG.
            decoded: what is fetched are pixels, whatever the store keeps.
        """
        options: Any = dataset.options
        self._described = map_sizes(dataset.location, dataset.split).astype(np.int64)
        if decoded:
            self._described[:, 2] = Kind.PIXELS
        self._crops, self._other, self._scaled = crops, other, options.scaled
        self._pool = Pool(options.threads, (3, crops.size, crops.size))

    def __call__(self, indices: NDArray[np.int64], fetch: Fetch) -> NDArray[np.uint8]:
        """Crops in fresh memory, uint8 ``[B, size, size, 3]``; ``fetch`` is called in the threads."""
        out = self._pool.fresh(len(indices))
        self.into(out, indices, fetch)
        return out

    def into(self, out: NDArray[np.uint8], indices: NDArray[np.int64], fetch: Fetch) -> None:
        """The same in given memory."""
        size, seed, epoch = self._crops
        described = self._described[indices]
        boxes = random_boxes(described[:, :2], seed, epoch, indices).tolist()
        rows = described.tolist()

        def make(row: int, place: NDArray[np.uint8]) -> None:
            height, width, kind = rows[row]
            data, (top, left, high, wide) = fetch(row), boxes[row]
            if kind == Kind.PIXELS:
                image = np.frombuffer(data, np.uint8).reshape(height, width, 3)
            elif kind != Kind.JPEG:
                image = self._other(data)
            elif self._scaled:
                image, top, left, high, wide = _scaled(data, height, width, boxes[row], size)
            else:
                image = simplejpeg.decode_jpeg(data, colorspace="RGB")
            resize_into(image[top : top + high, left : left + wide], place)

        self._pool.fill(out, make)

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.__exit__(*exception)


def _scaled(data: Any, height: int, width: int, box: list[int], size: int) -> tuple[Picture, int, int, int, int]:
    """A JPEG file at the smallest of libjpeg's scales that a crop needs, and where the box lies in it."""
    require(jpeg_size(data), height, width)  # else libjpeg might write beyond the result
    top, left, high, wide = box
    eighths = min(8, -(-8 * size // min(high, wide)))
    image: Picture = simplejpeg.decode_jpeg(
        data,
        colorspace="RGB",
        min_height=-(-height * eighths // 8),
        min_width=-(-width * eighths // 8),
        min_factor=1,
    )
    down, across = image.shape[0] / height, image.shape[1] / width
    top, left = int(top * down), int(left * across)
    high = max(1, min(image.shape[0] - top, round(high * down)))
    wide = max(1, min(image.shape[1] - left, round(wide * across)))
    return image, top, left, high, wide
