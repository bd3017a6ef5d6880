"""Decodes JPEG and PNG files on a thread pool, straight into the batch's memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from loaders.errors import DecodeError

Buffer = bytes | memoryview | NDArray[np.uint8]


def default_threads() -> int:
    """As many threads as this process may use cores, shared out among DataLoader workers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    worker = torch.utils.data.get_worker_info()
    return max(1, cores // worker.num_workers) if worker is not None else cores


class ImageDecoder:
    """A pool of decoding threads. Same pixels as libjpeg's accurate DCT and fancy upsampling."""

    def __init__(self, threads: int = 0) -> None:
        """Args: threads: 0 means one per usable core."""
        self.threads = threads or default_threads()
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def decode(self, files: Sequence[Buffer], shape: tuple[int, int, int], names: Sequence[str] = ()) -> torch.Tensor:
        """Decode JPEG files of one size.

        Returns:
            uint8 ``[B, C, H, W]`` in channels-last memory, which is the decoder's own layout.

        Raises:
            DecodeError: bytes that are not an image of this shape.
        """
        channels, height, width = shape
        out = np.empty((len(files), height, width, channels), np.uint8)

        def run(part: range) -> None:
            for i in part:
                _jpeg_into(files[i], out[i], names[i] if names else f"image {i} of the batch")

        self._spread(run, len(files))
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def _spread(self, run: Any, count: int) -> None:
        if self._pool is None or count < 2:
            run(range(count))
            return
        step = -(-count // self.threads)
        for future in [self._pool.submit(run, range(i, min(i + step, count))) for i in range(0, count, step)]:
            future.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _jpeg_into(data: Buffer, out: NDArray[np.uint8], name: str) -> None:
    space = "GRAY" if out.shape[2] == 1 else "RGB"
    try:
        decoded = simplejpeg.decode_jpeg(data, colorspace=space, buffer=out)
    except ValueError as error:
        raise DecodeError(f"{name} is not a readable JPEG image ({error})") from None
    if decoded.shape != out.shape:
        raise DecodeError(f"{name} is {decoded.shape[1]}x{decoded.shape[0]} pixels, not {out.shape[1]}x{out.shape[0]}")
