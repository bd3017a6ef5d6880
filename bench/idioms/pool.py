"""A bare pool of decoding threads, each with an equal share of the batch: what idioms of encoded images use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from loaders.images.codecs import pil_into
from loaders.images.threads import default_threads

Fetch = Callable[[int], Any]
"""Gives what is kept of the i-th sample of a batch: a buffer."""
Into = Callable[[Any, NDArray[np.uint8]], object]


def jpeg_into(data: Any, out: NDArray[np.uint8]) -> None:
    """Decode into uint8 ``[H, W, C]`` by simplejpeg, or by Pillow what that refuses."""
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY" if out.shape[-1] == 1 else "RGB", buffer=out)
    except Exception:  # it refuses in many ways what loaders leave to Pillow, too
        pil_into(data, out, lambda _: "it", 0, ("JPEG",))


def slices(data: Any, offsets: NDArray[np.int64], indices: NDArray[np.int64]) -> Fetch:
    """Samples that lie end to end: ``data[offsets[i]:offsets[i + 1]]`` for each index, when it is asked for."""
    bounds = list(zip(offsets[indices].tolist(), offsets[indices + 1].tolist(), strict=True))
    return lambda row: data[bounds[row][0] : bounds[row][1]]


class Pool:
    """As many threads as asked for, 0 meaning one per core."""

    def __init__(self, threads: int, shape: tuple[int, int, int]) -> None:
        """Args: shape is ``(C, H, W)`` of every image."""
        self._threads = threads or default_threads()
        self._pool = ThreadPoolExecutor(self._threads)
        channels, height, width = shape
        self._shape = (height, width, channels)

    def fresh(self, count: int) -> NDArray[np.uint8]:
        """Memory for so many images, uint8 ``[B, H, W, C]``."""
        return np.empty((count, *self._shape), np.uint8)

    def fill(self, out: NDArray[np.uint8], make: Callable[[int, NDArray[np.uint8]], object]) -> None:
        """Call ``make(row, out[row])`` for every row."""
        count = len(out)
        step = max(1, -(-count // self._threads))

        def work(start: int) -> None:
            for row in range(start, min(start + step, count)):
                make(row, out[row])

        list(self._pool.map(work, range(0, count, step)))

    def decode(self, count: int, fetch: Fetch, into: Into = jpeg_into) -> NDArray[np.uint8]:
        """Get and decode ``count`` images into fresh memory, uint8 ``[B, H, W, C]``."""
        out = self.fresh(count)
        self.fill(out, lambda row, place: into(fetch(row), place))
        return out

    def decode_slices(self, jpeg: Any, offsets: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode files that lie end to end."""
        return self.decode(len(indices), slices(jpeg, offsets, indices))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()
