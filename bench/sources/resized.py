"""A ragged split whose images are made smaller before they are stored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from bench.sources.image_folder import Files, Survey
from loaders import Block, LoaderError, Split
from loaders.images.crops import resize_into
from loaders.images.kinds import decode_picture
from loaders.images.threads import Spread

QUALITY = 95
"""Of the JPEG files that stand for the smaller images: their pixels are what every loader and encoding then gives."""

_MOST = 65500
"""Pixels a side of a JPEG file; larger ones become PNG files."""


def resized(split: Split, short_side: int | None) -> Split:
    """The split, or one whose images have at most so short a short side."""
    return split if short_side is None else _Resized(split, short_side)


def splits_of(root: Path, found: Survey, short_side: int | None) -> dict[str, Split]:
    """Both splits of a tree, their images made smaller if so is wished."""
    parts = {"train": Files(root, found.train), "test": Files(root, found.test)}
    return {name: resized(split, short_side) for name, split in parts.items()}


class _Resized:
    """JPEG files of images made smaller, PNG files of very long ones; what cannot be decoded is left to ``prepare``."""

    encoding: Literal["raw", "jpeg"] = "jpeg"
    shape = None

    def __init__(self, split: Split, short_side: int) -> None:
        self._split, self._side = split, short_side

    def __len__(self) -> int:
        return len(self._split)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of the split, decoded and encoded again on all cores."""
        with contextlib.closing(Spread()) as spread:
            for block in self._split.blocks(start, stop):
                files = list(block.files or ())

                def work(part: range, files: list[bytes] = files) -> None:
                    for i in part:
                        # Its own error goes without the name, and is raised again with it when the file is stored.
                        with contextlib.suppress(LoaderError):
                            files[i] = self._smaller(files[i])

                spread(work, len(files))
                yield block._replace(files=files)

    def _smaller(self, file: bytes) -> bytes:
        pixels, _ = decode_picture(file, "it")
        height, width = pixels.shape[:2]
        factor = self._side / min(height, width)
        if factor < 1:
            target = (max(self._side, round(height * factor)), max(self._side, round(width * factor)))
            smaller: NDArray[np.uint8] = np.empty((*target, 3), np.uint8)
            resize_into(pixels, smaller)
            pixels = smaller
        if max(pixels.shape) > _MOST:
            return bytes(imagecodecs.spng_encode(pixels))
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), QUALITY, "RGB", "420"))
