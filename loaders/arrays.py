"""A split as flat files: pixels (or JPEG bytes with offsets) and labels, for every loader that reads plain bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.batch import Batch, Indices
from loaders.decoding import ImageDecoder
from loaders.options import Encoding, LoaderOptions, encoding_option, read_option
from loaders.split import SplitInfo, StreamedSplit


def write_arrays(split: StreamedSplit, folder: Path, encoding: Encoding) -> list[str]:
    """Write one split as little-endian flat files.

    ``<split>.pixels`` uint8 ``[n, C, H, W]`` or ``<split>.jpeg`` (all files end to end) with ``<split>.offsets``
    int64 ``[n + 1]``; ``<split>.labels`` int64 ``[n]``.

    Returns:
        The names of the files.
    """
    data_name = f"{split.name}.{'pixels' if encoding == 'raw' else 'jpeg'}"
    names = [data_name, f"{split.name}.labels"]
    offsets = [0]
    with (folder / data_name).open("wb") as data, (folder / names[1]).open("wb") as labels:
        for block in split.blocks():
            if encoding == "raw":
                data.write(block.images.data)
            else:
                _append_files(data, block.files or (), offsets)
            labels.write(block.labels.astype("<i8", copy=False).data)
    if encoding == "jpeg":
        names.append(f"{split.name}.offsets")
        (folder / names[-1]).write_bytes(np.array(offsets, "<i8").data)
    return names


def _append_files(data: BinaryIO, files: Sequence[bytes], offsets: list[int]) -> None:
    for file in files:
        data.write(file)
        offsets.append(offsets[-1] + len(file))


class Arrays(NamedTuple):
    """The files of one split as arrays over their own pages: read-only, filled on first touch.

    Attributes:
        pixels: uint8 ``[n, C, H, W]``, or None for encoding ``jpeg``.
        labels: int64 ``[n]``, in memory.
        jpeg: uint8 ``[bytes]``, or None for encoding ``raw``.
        offsets: int64 ``[n + 1]``, in memory, or None.
    """

    pixels: NDArray[np.uint8] | None
    labels: NDArray[np.int64]
    jpeg: NDArray[np.uint8] | None
    offsets: NDArray[np.int64] | None


def open_arrays(folder: Path, split: str, info: SplitInfo, encoding: Encoding, *, resident: bool = False) -> Arrays:
    """Map one split's files, or read them into memory if ``resident``."""
    read = _read_bytes if resident else map_bytes
    labels = np.fromfile(folder / f"{split}.labels", "<i8").astype(np.int64, copy=False)
    if encoding == "raw":
        return Arrays(read(folder / f"{split}.pixels").reshape(info.count, *info.shape), labels, None, None)
    offsets = np.fromfile(folder / f"{split}.offsets", "<i8").astype(np.int64, copy=False)
    return Arrays(None, labels, read(folder / f"{split}.jpeg"), offsets)


def _read_bytes(path: Path) -> NDArray[np.uint8]:
    return np.fromfile(path, np.uint8)


def map_bytes(path: Path) -> NDArray[np.uint8]:
    """A file's bytes as a read-only array.

    A plain ndarray over the map: indexing an ``np.memmap`` object costs three times as much.
    """
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.empty(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, mode="r"))


class ArrayOptions(LoaderOptions):
    """Options of the loaders that keep plain bytes."""

    encoding: Encoding = encoding_option()
    threads: int = read_option(0, ge=0, le=1024, description="JPEG decoding threads; 0: one per core")


class ArrayReader:
    """Reads batches from a split's arrays: one gather, or one decoding of each sample's bytes."""

    def __init__(self, arrays: Arrays, shape: tuple[int, int, int], threads: int) -> None:
        self.arrays = arrays
        self._shape = shape
        self._decoder = ImageDecoder(threads, checked=True) if arrays.jpeg is not None else None

    def read(self, indices: Indices) -> Batch:
        """Samples in the order asked, in fresh memory."""
        pixels, labels, jpeg, offsets = self.arrays
        # The arrays' own methods: np.take costs a microsecond more, of some fifty for a batch.
        wanted = torch.from_numpy(labels.take(indices))
        if pixels is not None:
            return Batch(torch.from_numpy(pixels.take(indices, axis=0)), wanted)
        assert self._decoder is not None
        assert jpeg is not None and offsets is not None
        files = [jpeg[a:b] for a, b in zip(offsets[indices].tolist(), offsets[indices + 1].tolist(), strict=True)]
        return Batch(self._decoder.decode(files, self._shape), wanted)

    def close(self) -> None:
        """End the decoding threads. The map ends with the last reference to it."""
        if self._decoder is not None:
            self._decoder.close()
