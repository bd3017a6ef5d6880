"""Splits as flat files of pixels or payloads, offsets and labels: resumable writing, and reading by memory map."""

from __future__ import annotations

import contextlib
import math
import mmap
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loaders.core.batch import Indices
from loaders.core.buffers import batch_memory
from loaders.core.format import Reader
from loaders.core.options import Encoding
from loaders.core.payloads import Kind, Payloads, Rows
from loaders.store.intake import Intake
from loaders.store.journal import StaleError
from loaders.store.manifest import Store


def data_name(split: str, encoding: Encoding) -> str:
    """Name of the file with a split's samples."""
    return f"{split}.{'pixels' if encoding == 'raw' else 'jpeg'}"


def write_arrays(splits: Mapping[str, Intake], folder: Path) -> list[str]:
    """Write splits as little-endian flat files; returns their names.

    ``<split>.pixels`` uint8 ``[n, C, H, W]``, or, all samples end to end, ``<split>.jpeg`` (files) or
    ``<split>.pixels`` (``[H, W, 3]`` each), with ``<split>.offsets`` int64 ``[n + 1]``; and ``<split>.labels`` int64.
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
                    payloads = block.payloads
                    ends = end + np.cumsum([len(part) for part in payloads], dtype="<i8")
                    end = int(ends[-1]) if len(ends) else end
                    data.writelines(payloads)
                    offsets[0].write(ends.data)
                labels.write(block.labels.astype("<i8", copy=False).data)
    return written


@contextlib.contextmanager
def _appended(split: Intake, folder: Path, names: list[str]) -> Iterator[list[BinaryIO]]:
    """Files open for appending, cut to the lengths of the checkpoint.

    Raises:
        StaleError: a file is missing, or shorter than in the checkpoint.
    """
    with contextlib.ExitStack() as life:
        files: dict[str, BinaryIO] = {}
        for name in names:
            path, length = folder / name, split.state.get(name, 0)
            if split.state and not (path.exists() and path.stat().st_size >= length):
                raise StaleError(name)
            files[name] = life.enter_context(path.open("r+b" if split.state else "wb"))
            files[name].truncate(length)
            files[name].seek(length)
        lengths: dict[str, int] = {}

        def save() -> dict[str, int]:
            for name, file in files.items():
                if not file.closed:
                    file.flush()
                    lengths[name] = file.tell()
            return lengths

        split.checkpoint(save)
        yield list(files.values())
        save()


class Arrays(NamedTuple):
    """The files of one split as read-only arrays: rows in ``pixels``, or payloads with ``offsets``."""

    labels: NDArray[np.int64]  # [n]
    pixels: NDArray[np.uint8] | None  # [n, C, H, W]
    payloads: NDArray[np.uint8] | None = None  # [bytes], all samples end to end
    offsets: NDArray[np.int64] | None = None  # [n + 1], the start of each
    ahead: Ahead | None = None  # requests pages before they are read

    def slices(self, indices: Indices) -> list[NDArray[np.uint8]]:
        """The bytes of each sample, as slices of the payloads."""
        assert self.payloads is not None and self.offsets is not None
        begins, ends = self.offsets[indices], self.offsets[indices + 1]
        if self.ahead is not None:
            self.ahead(begins, ends)
        return [self.payloads[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


class ArraysReader(Reader):
    """Reads batches from a split's arrays: one gather of rows, or a slice for each sample."""

    def __init__(self, arrays: Arrays, kind: Kind) -> None:
        self.labels = arrays.labels
        self._arrays, self._kind = arrays, kind
        if arrays.pixels is not None:
            self._shape = arrays.pixels.shape[1:]
            self._each = math.prod(self._shape)

    def fetch(self, indices: Indices) -> Rows | Payloads:
        """Rows, or slices of the payloads, which are read when they are decoded."""
        if self._arrays.pixels is None:
            return Payloads(self._arrays.slices(indices).__getitem__, kind=self._kind)
        if (ahead := self._arrays.ahead) is not None:
            ahead(indices * self._each, (indices + 1) * self._each)
        # The indices have been checked: mode "clip" writes to the result at once. PyTorch's gather on two threads is
        # twice as fast, and then half of the batch lies in the cache of a core that does not read it.
        out = batch_memory((len(indices), *self._shape))
        return Rows(self._arrays.pixels.take(indices, axis=0, out=out, mode="clip"))


class Ahead:
    """A file mapped for random reading: without readahead, and requesting all pages of a batch at once.

    The system's readahead suits sequential reading and may read megabytes for an image of a few kilobytes; without it
    each page would be waited for in turn. A request costs as much as the gather, so there is none while no page had to
    be waited for.
    """

    _BATCHES = 8

    def __init__(self, path: Path) -> None:
        """Map a file that is not empty."""
        with path.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._mapped.madvise(mmap.MADV_RANDOM)
        self.data: NDArray[np.uint8] = np.frombuffer(self._mapped, np.uint8)
        self._left, self._waited = self._BATCHES, 0

    def __call__(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Let the system start reading these parts of the file, if pages had to be waited for recently."""
        waited = resource.getrusage(resource.RUSAGE_SELF).ru_majflt  # of all threads, since others decode
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
    """Map one split's files, or read them into memory if ``resident``; ``scattered``: without readahead."""
    info, folder = store.info.splits[split], store.location
    read = (lambda path: np.fromfile(path, np.uint8)) if resident else map_bytes
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


def map_bytes(path: Path) -> NDArray[np.uint8]:
    """A file's bytes as a read-only ndarray; indexing an ``np.memmap`` object would cost three times as much."""
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.empty(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, mode="r"))
