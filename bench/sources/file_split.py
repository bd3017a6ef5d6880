"""Image files of one split, streamed in blocks from a tree or an archive, and made smaller if so is wished."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from bench.sources.archives import ArchiveFiles, Read
from bench.sources.files import MARKER, exists, read_bytes, shown
from loaders import Block, LoaderError, Split
from loaders.images.crops import resize_into
from loaders.images.kinds import decode_picture
from loaders.images.threads import Spread

QUALITY = 95
"""Of the JPEG files that stand for resized images: their pixels are what every loader and encoding then gives."""
_LONGEST_JPEG = 65500  # pixels on the longer side; larger images become PNG files
_BLOCK_BYTES, _BLOCK_FILES = 64 << 20, 512
Shape = tuple[int, int, int]


class Samples(NamedTuple):
    """Paths of image files below the root, their bytes and their labels, both int64 ``[n]``."""

    paths: list[str]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]

    def part(self, chosen: NDArray[np.bool_]) -> Samples:
        """Some of them."""
        return Samples([self.paths[i] for i in np.flatnonzero(chosen)], self.sizes[chosen], self.labels[chosen])


class FolderFiles:
    """The files below a folder, as `ArchiveFiles` are those in an archive. It is complete if it has the ``needed``."""

    def __init__(self, path: Path, needed: Sequence[str] = (), most_bytes: int | None = None) -> None:
        self.path, self._needed, self._most_bytes = path, needed, most_bytes

    def lacking(self) -> list[str]:
        """Which files or folders are not there."""
        return [name for name in self._needed if not exists(self.path / name)]

    def has_marker(self) -> bool:
        """Whether a twin's marker is there."""
        return exists(self.path / MARKER)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Read]:
        """A function that reads files."""
        yield lambda name: read_bytes(self.path / name, self._most_bytes)


DatasetFiles = FolderFiles | ArchiveFiles


class FileSplit:
    """Image files of one split; RGB of many sizes where no shape ``(C, H, W)`` is given.

    With a ``short_side`` in pixels, larger images become smaller JPEG files, or PNG files where they are very long.
    """

    encoding: Literal["raw", "jpeg"] = "jpeg"

    def __init__(self, files: DatasetFiles, samples: Samples, shape: Shape | None, short_side: int | None) -> None:
        self._files, self._samples, self.shape, self._short_side = files, samples, shape, short_side

    def __len__(self) -> int:
        return len(self._samples.paths)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of at most 512 files and, but for a single larger one, 64 MB. Raises ``DataError``."""
        paths, sizes, labels = self._samples
        end = len(paths) if stop is None else stop
        with self._files.opened() as read, contextlib.closing(Spread()) as spread:
            while start < end:
                ends = np.cumsum(sizes[start : min(start + _BLOCK_FILES, end)])
                until = start + max(1, int(np.searchsorted(ends, _BLOCK_BYTES, side="right")))
                files = [read(path) for path in paths[start:until]]
                if self._short_side is not None:
                    spread(partial(_resize, files, self._short_side), len(files))
                yield Block(None, files, labels[start:until], [shown(path) for path in paths[start:until]])
                start = until


class Survey(NamedTuple):
    """What a dataset of image files holds; ``fingerprint`` is a sha256 over names and sizes."""

    classes: tuple[str, ...]
    train: Samples
    test: Samples
    fingerprint: str
    notes: list[str]

    def splits(self, files: DatasetFiles, shape: Shape | None, short_side: int | None = None) -> dict[str, Split]:
        """Both splits; arguments as of `FileSplit`."""
        parts = {"train": self.train, "test": self.test}
        return {name: FileSplit(files, samples, shape, short_side) for name, samples in parts.items()}


def _resize(files: list[bytes], short_side: int, part: range) -> None:
    """Replace some files by smaller ones. What cannot be decoded is left to ``prepare``, which names it."""
    for i in part:
        with contextlib.suppress(LoaderError):
            pixels, _ = decode_picture(files[i], "it")
            factor = short_side / min(pixels.shape[:2])
            if factor < 1:
                height, width = (max(short_side, round(side * factor)) for side in pixels.shape[:2])
                larger, pixels = pixels, np.empty((height, width, 3), np.uint8)
                resize_into(larger, pixels)
            if max(pixels.shape) > _LONGEST_JPEG:
                files[i] = bytes(imagecodecs.spng_encode(pixels))
            else:
                files[i] = bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), QUALITY, "RGB", "420"))
