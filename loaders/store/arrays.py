"""A split as flat files: pixels, or bytes of each sample with offsets, and labels; writing them can be resumed."""

from __future__ import annotations

import contextlib
import mmap
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loaders.core.batch import Indices
from loaders.core.format import Reader
from loaders.core.options import Encoding
from loaders.core.payloads import Kind, Payloads, Rows
from loaders.store.intake import Intake
from loaders.store.journal import StaleError
from loaders.store.manifest import Store


def data_name(split: str, encoding: Encoding) -> str:
    """The file with a split's samples."""
    return f"{split}.{'pixels' if encoding == 'raw' else 'jpeg'}"


def write_arrays(splits: Mapping[str, Intake], folder: Path) -> list[str]:
    """Write splits as little-endian flat files.

    ``<split>.pixels`` uint8 ``[n, C, H, W]``, or, all samples end to end, ``<split>.jpeg`` (files) or
    ``<split>.pixels`` (``[H, W, 3]`` each), with ``<split>.offsets`` int64 ``[n + 1]``; and ``<split>.labels`` int64.

    Returns:
        The names of the files.
    """
    written = []
    for split in splits.values():
        names = [data_name(split.name, "jpeg" if split.keeps_files else "raw"), f"{split.name}.labels"]
        if not split.rows:
            names.append(f"{split.name}.offsets")
        written += names
        with _appended(split, folder, names) as (data, labels, *offsets):
            end = data.tell()
            if offsets and not split.state:
                offsets[0].write(np.zeros(1, "<i8").data)
            for block in split.blocks():
                if split.rows:
                    data.write(block.images.data)
                else:
                    ends = end + np.cumsum([len(part) for part in block.payloads], dtype="<i8")
                    end = int(ends[-1]) if len(ends) else end
                    data.writelines(block.payloads)
                    offsets[0].write(ends.data)
                labels.write(block.labels.astype("<i8", copy=False).data)
    return written


@contextlib.contextmanager
def _appended(split: Intake, folder: Path, names: list[str]) -> Iterator[list[BinaryIO]]:
    """Files open for appending, cut back to where a checkpoint was taken.

    Raises:
        StaleError: a file is missing, or shorter than the checkpoint says.
    """
    with contextlib.ExitStack() as life:
        files: list[BinaryIO] = []
        for name in names:
            try:
                file = life.enter_context((folder / name).open("r+b" if split.state else "wb"))
            except FileNotFoundError:
                if split.state:
                    raise StaleError(name) from None
                raise
            files.append(file)
            if split.state:
                if file.seek(0, 2) < split.state[name]:
                    raise StaleError(name)
                file.truncate(split.state[name])
                file.seek(split.state[name])
        lengths: dict[str, int] = {}

        def save() -> dict[str, int]:
            for name, file in zip(names, files, strict=True):
                if not file.closed:
                    file.flush()
                    lengths[name] = file.tell()
            return lengths

        split.checkpoint(save)
        yield files
        save()


class Arrays(NamedTuple):
    """The files of one split as arrays over their own pages: read-only, filled on first touch.

    Attributes:
        labels: int64 ``[n]``.
        pixels: uint8 ``[n, C, H, W]``, or None where samples are kept one by one.
        payloads: uint8 ``[bytes]``, all samples end to end, or None.
        offsets: int64 ``[n + 1]``, where each begins, or None.
        ahead: to be asked for samples before they are read, or None.
    """

    labels: NDArray[np.int64]
    pixels: NDArray[np.uint8] | None
    payloads: NDArray[np.uint8] | None = None
    offsets: NDArray[np.int64] | None = None
    ahead: Ahead | None = None

    def slices(self, indices: Indices) -> list[NDArray[np.uint8]]:
        """The bytes of samples that are kept one by one, as slices of the map."""
        assert self.payloads is not None and self.offsets is not None
        begins, ends = self.offsets[indices], self.offsets[indices + 1]
        if self.ahead is not None:
            self.ahead(begins, ends)
        return [self.payloads[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


class ArraysReader(Reader):
    """Reads batches from a split's arrays: one gather of rows, or a slice for each sample."""

    def __init__(self, arrays: Arrays, encoding: Encoding) -> None:
        self.labels = arrays.labels
        self._arrays = arrays
        self._kind = Kind.JPEG if encoding == "jpeg" else Kind.PIXELS

    def fetch(self, indices: Indices) -> Rows | Payloads:
        """Rows in fresh memory, or slices of the map, whose pages are touched when they are decoded."""
        pixels, ahead = self._arrays.pixels, self._arrays.ahead
        if pixels is None:
            return Payloads(self._arrays.slices(indices).__getitem__, kind=self._kind)
        if ahead is not None:
            each = pixels[0].nbytes
            ahead(indices * each, (indices + 1) * each)
        # The array's own method: np.take costs a microsecond more, of some thirty for a batch.
        return Rows(pixels.take(indices, axis=0))


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
    store: Store, split: str, encoding: Encoding, *, resident: bool = False, scattered: bool = False
) -> Arrays:
    """Map one split's files, or read them into memory if ``resident``; ``scattered``: read nothing around samples."""
    info, folder = store.info.splits[split], store.location
    read = _read_bytes if resident else map_bytes
    labels = integers(read(folder / f"{split}.labels"))
    path = folder / data_name(split, encoding)
    ahead = Ahead(path) if scattered and path.stat().st_size else None
    data = ahead.data if ahead else read(path)
    if encoding == "raw" and info.shape is not None:
        return Arrays(labels, data.reshape(info.count, *info.shape), ahead=ahead)
    return Arrays(labels, None, data, integers(read(folder / f"{split}.offsets")), ahead)


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
