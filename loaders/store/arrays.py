"""A split as flat files: pixels (or bytes of each sample with offsets) and labels, for every loader of plain bytes."""

from __future__ import annotations

import mmap
import resource
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.core.batch import Batch, Indices
from loaders.core.options import DecodingOptions, Encoding, encoding_option
from loaders.images.codecs import ImageDecoder
from loaders.images.ragged import Payloads
from loaders.store.appending import AppendedFiles
from loaders.store.intake import StreamedSplit
from loaders.store.samples import SplitInfo


def data_name(split: str, encoding: Encoding) -> str:
    """The file with a split's samples."""
    return f"{split}.{'pixels' if encoding == 'raw' else 'jpeg'}"


def write_arrays(split: StreamedSplit, folder: Path, encoding: Encoding) -> list[str]:
    """Write one split as little-endian flat files.

    ``<split>.pixels`` uint8 ``[n, C, H, W]``, or, all samples end to end, ``<split>.jpeg`` (files) or a ragged split's
    ``<split>.pixels`` (``[H, W, 3]`` each), with ``<split>.offsets`` int64 ``[n + 1]``; and ``<split>.labels`` int64.

    Returns:
        The names of the files.
    """
    names = [data_name(split.name, encoding), f"{split.name}.labels"]
    one_by_one = encoding == "jpeg" or split.ragged
    if one_by_one:
        names.append(f"{split.name}.offsets")
    with AppendedFiles(split, folder, names) as appended:
        data, labels, *rest = appended.files
        end = data.tell()
        if one_by_one and not split.state:
            rest[0].write(np.zeros(1, "<i8").data)
        for block in split.blocks():
            if one_by_one:
                payloads = block.payloads(encoding)
                ends = end + np.cumsum([len(payload) for payload in payloads], dtype="<i8")
                end = int(ends[-1]) if len(ends) else end
                data.writelines(payloads)
                rest[0].write(ends.data)
            else:
                data.write(block.images.data)
            labels.write(block.labels.astype("<i8", copy=False).data)
    return names


class Arrays(NamedTuple):
    """The files of one split as arrays over their own pages: read-only, filled on first touch.

    Attributes:
        pixels: uint8 ``[n, C, H, W]``, or None where samples are kept one by one.
        labels: int64 ``[n]``.
        payloads: uint8 ``[bytes]``, all samples end to end, or None.
        offsets: int64 ``[n + 1]``, where each begins, or None.
        ahead: to be asked for samples before they are read, or None.
    """

    pixels: NDArray[np.uint8] | None
    labels: NDArray[np.int64]
    payloads: NDArray[np.uint8] | None
    offsets: NDArray[np.int64] | None
    ahead: Ahead | None = None


class Ahead:
    """A file mapped for random reading: no neighbours are read, and a batch's pages are asked for at once.

    Otherwise the system reads as much around each page that is missing as suits a file that is read from end to end,
    which may be megabytes for an image of a few kilobytes; and page by page, each would be waited for. Asking costs as
    much as gathering does, so it is left alone while no page has had to be waited for.
    """

    _BATCHES = 8

    def __init__(self, path: Path) -> None:
        """Map it; it must not be empty."""
        with path.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._mapped.madvise(mmap.MADV_RANDOM)
        self.data: NDArray[np.uint8] = np.frombuffer(self._mapped, np.uint8)
        self._left, self._waited = self._BATCHES, 0

    def __call__(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Let the system begin to read these parts of the file, if pages have been missing lately."""
        waited = resource.getrusage(resource.RUSAGE_SELF).ru_majflt  # of all threads: others decode
        if waited > self._waited:
            self._left, self._waited = self._BATCHES, waited
        if self._left == 0:
            return
        self._left -= 1
        begins = begins - begins % mmap.PAGESIZE
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            self._mapped.madvise(mmap.MADV_WILLNEED, begin, end - begin)


def open_arrays(
    folder: Path, split: str, info: SplitInfo, encoding: Encoding, *, resident: bool = False, scattered: bool = False
) -> Arrays:
    """Map one split's files, or read them into memory if ``resident``; ``scattered``: read nothing around samples."""
    read = _read_bytes if resident else map_bytes
    labels = integers(read(folder / f"{split}.labels"))
    path = folder / data_name(split, encoding)
    ahead = Ahead(path) if scattered and path.stat().st_size else None
    data = ahead.data if ahead else read(path)
    if encoding == "raw" and info.shape is not None:
        return Arrays(data.reshape(info.count, *info.shape), labels, None, None, ahead)
    return Arrays(None, labels, data, integers(read(folder / f"{split}.offsets")), ahead)


def integers(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bytes as little-endian int64."""
    return data.view("<i8").astype(np.int64, copy=False)


def _read_bytes(path: Path) -> NDArray[np.uint8]:
    return np.fromfile(path, np.uint8)


def map_bytes(path: Path) -> NDArray[np.uint8]:
    """A file's bytes as a read-only array.

    A plain ndarray over the map: indexing an ``np.memmap`` object costs three times as much.
    """
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.empty(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, mode="r"))


class ArrayOptions(DecodingOptions):
    """Options of the loaders that keep plain bytes."""

    encoding: Encoding = encoding_option()


class ArrayReader:
    """Reads batches from a split's arrays: one gather, or one decoding of each sample's bytes."""

    def __init__(self, arrays: Arrays, shape: tuple[int, int, int] | None, threads: int) -> None:
        """Args: shape is None for a ragged split, which is read by `payloads` alone."""
        self.arrays = arrays
        self._shape = shape
        one_by_one = shape is not None and arrays.payloads is not None
        self._decoder = ImageDecoder(threads, checked=True) if one_by_one else None

    def read(self, indices: Indices) -> Batch:
        """Samples in the order asked, in fresh memory."""
        pixels, labels, _, _, ahead = self.arrays
        # The arrays' own methods: np.take costs a microsecond more, of some fifty for a batch.
        wanted = torch.from_numpy(labels.take(indices))
        if pixels is not None:
            if ahead is not None:
                each = pixels[0].nbytes
                ahead(indices * each, (indices + 1) * each)
            return Batch(torch.from_numpy(pixels.take(indices, axis=0)), wanted)
        assert self._decoder is not None
        assert self._shape is not None
        return Batch(self._decoder.decode(self._files(indices), self._shape), wanted)

    def payloads(self, indices: Indices) -> Payloads:
        """What is kept of each sample: slices of the file, whose pages the decoder touches."""
        return Payloads(self._files(indices).__getitem__, self.arrays.labels.take(indices))

    def _files(self, indices: Indices) -> list[NDArray[np.uint8]]:
        data, offsets = self.arrays.payloads, self.arrays.offsets
        assert data is not None and offsets is not None
        begins, ends = offsets[indices], offsets[indices + 1]
        if self.arrays.ahead is not None:
            self.arrays.ahead(begins, ends)
        return [data[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]

    def close(self) -> None:
        """End the decoding threads. The map ends with the last reference to it."""
        if self._decoder is not None:
            self._decoder.close()
