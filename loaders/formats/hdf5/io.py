"""Writes splits to HDF5 groups, and reads them in the fastest way for each layout."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5f, h5p, h5s
from numpy.typing import NDArray

from loaders.core.batch import Indices
from loaders.core.buffers import batch_memory
from loaders.core.errors import StoreError
from loaders.core.options import Encoding
from loaders.store.arrays import data_name, integers
from loaders.store.intake import Intake

Read = Callable[[Indices], NDArray[np.uint8] | list[NDArray[np.uint8]]]
"""Returns images ``[B, C, H, W]``, or a list of the bytes of each, in the requested order and fresh memory."""
Check = Callable[[], None]

_LIBRARY = ("v110", "v110")  # indexes chunks by an array rather than a tree; HDF5 1.10 and later can read it
_MOST_SLOTS = 1_000_003
_COPY_BYTES = 16 << 20


class _Sink(FileIO):
    """A file for h5py to write, which hides its first error from HDF5.

    On a full disk HDF5 fails to write its buffers, fails again on closing, and crashes the process later. So writes
    always succeed for HDF5, and `check` raises the error.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it, unless a write has failed."""
        left = memoryview(data)
        try:
            while left and self._error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self._error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file, unless a write has failed."""
        try:
            return self.tell() if self._error else super().truncate(size)
        except OSError as error:
            self._error = error
            return self.tell()

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error


@contextlib.contextmanager
def create_file(path: Path, chunk_bytes: int) -> Iterator[tuple[h5py.File, Check]]:
    """Yield a new file, and a function to call regularly: it raises ``OSError`` if the disk had an error.

    The cache holds a whole chunk, so that chunks that are filled by several writes are compressed only once.
    """
    with _Sink(path) as sink:
        try:
            with h5py.File(sink, "w", libver=_LIBRARY, rdcc_nbytes=(1 << 20) + chunk_bytes) as file:
                yield file, sink.check
        finally:
            sink.check()  # also instead of HDF5's own error


def write_images(
    group: h5py.Group, split: Intake, check: Check, element: str, chunk_rows: int | None, compression: str
) -> None:
    """Write ``images`` and ``labels``; ``check`` is called after each block, ``chunk_rows`` None is contiguous."""
    # An image is either one element of an array datatype or three more dimensions of the dataset.
    whole = element == "image"
    inner = () if whole else split.fixed_shape
    datatype: Any = np.dtype((np.uint8, split.fixed_shape)) if whole else np.dtype("u1")
    images = group.create_dataset(
        "images",
        (len(split), *inner),
        datatype,
        chunks=None if chunk_rows is None else (max(1, min(chunk_rows, len(split))), *inner),
        compression=None if compression == "none" else compression,
        fill_time="never",
    )
    labels, done = [np.empty(0, np.int64)], 0
    for block in split.blocks():
        images[done : done + len(block.labels)] = block.images
        labels.append(block.labels)
        done += len(block.labels)
        check()
    group["labels"] = np.concatenate(labels).astype("<i8", copy=False)


def write_payloads(group: h5py.Group, split: str, check: Check, spool: Path, encoding: Encoding) -> None:
    """Write ``jpeg`` files or ``images`` of many sizes end to end, ``offsets`` and ``labels``, from `write_arrays`.

    Its files are in the folder ``spool``: a contiguous dataset must know its size when it is created, and a
    half-written HDF5 file cannot be resumed. ``check`` is called after each part.
    """
    source = spool / data_name(split, encoding)
    size = source.stat().st_size
    data = group.create_dataset("jpeg" if encoding == "jpeg" else "images", (size,), np.uint8, fill_time="never")
    with source.open("rb") as gathered:
        for start in range(0, size, _COPY_BYTES):
            part = np.frombuffer(gathered.read(_COPY_BYTES), np.uint8)
            data[start : start + len(part)] = part
            check()
    for name in ("offsets", "labels"):
        group[name] = np.fromfile(spool / f"{split}.{name}", "<i8")
        check()


def open_file(path: Path) -> h5py.File:
    """Open for reading images in random order."""
    access = h5p.create(h5p.FILE_ACCESS)
    # A store never changes. Equals h5py's locking=False, which must be the same for every open of the file.
    access.set_file_locking(False, False)
    access.set_fclose_degree(h5f.CLOSE_STRONG)  # as in h5py, and also the same for every open
    # HDF5 would fill its sieve buffer, 64 KB, for every image: five times as slow for 3 KB of CIFAR-10.
    access.set_sieve_buf_size(0)
    return h5py.File(h5f.open(os.fsencode(path), h5f.ACC_RDONLY, access))


def open_dataset(file: h5py.File, name: str, cache_bytes: int = 0, chunk_bytes: int = 1) -> h5py.Dataset:
    """A dataset with its own chunk cache; ``KeyError`` if there is no such dataset."""
    access = h5p.create(h5p.DATASET_ACCESS)
    # HDF5 recommends a prime number of slots, about a hundred per chunk.
    slots = min(_MOST_SLOTS, _prime(100 * (cache_bytes // chunk_bytes) + 1))
    access.set_chunk_cache(slots, cache_bytes, 0.0)
    # If it is read-only, h5py asks for shape and type once rather than at each read.
    return h5py.Dataset(h5d.open(file.id, name.encode(), access), readonly=True)


def _prime(least: int) -> int:
    while any(least % divisor == 0 for divisor in range(2, int(least**0.5) + 1)):
        least += 1
    return least


def refusal(path: Path, error: Exception, again: str) -> StoreError:
    """One sentence for what HDF5 cannot read or find."""
    reason = str(error.args[-1]).partition("\n")[0].strip()
    if isinstance(error, PermissionError):
        return StoreError(f"cannot read {path}: {reason}; make it readable")
    if isinstance(error, BlockingIOError) or "already open" in reason or "lock" in reason:
        return StoreError(f"cannot read {path}: {_who_has_it(path, again)} ({reason})")
    return StoreError(f"cannot read {path}: {reason}; {again}")


def _who_has_it(path: Path, again: str) -> str:
    """HDF5 marks a file that is open for writing; a killed program leaves the mark but not its lock."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "another program has it open for writing; wait for that program, or close the file there"
    return f"another program has it open, or was killed while it wrote to it; close the file there, or {again}"


def read_elements(images: h5py.Dataset, shape: tuple[int, int, int]) -> Read:
    """One read of one point per image, which HDF5 returns in the requested order."""
    identifier, datatype = images.id, images.id.get_type()

    def read(indices: Indices) -> NDArray[np.uint8]:
        out = batch_memory((len(indices), *shape))
        if len(indices):
            space = identifier.get_space()  # a new one, since several threads may read
            space.select_elements(indices.reshape(-1, 1))
            identifier.read(h5s.create_simple((len(indices),)), space, out, datatype)
        return out

    return read


def read_sorted(images: h5py.Dataset) -> Read:
    """One fancy index, which must be sorted and without duplicates; the result is put back in order."""

    def read(indices: Indices) -> NDArray[np.uint8]:
        unique, inverse = np.unique(indices, return_inverse=True)
        pixels: NDArray[np.uint8] = np.take(images[unique], inverse, axis=0)
        return pixels

    return read


def read_rows(images: h5py.Dataset) -> Read:
    """One read per image, sorted so that chunks are read once: a fancy index of chunks is twenty times slower."""

    def read(indices: Indices) -> NDArray[np.uint8]:
        out = batch_memory((len(indices), *images.shape[1:]))
        for i in np.argsort(indices).tolist():
            out[i] = images[int(indices[i])]
        return out

    return read


def read_union(jpeg: h5py.Dataset, offsets: NDArray[np.int64]) -> Read:
    """One read of all files' bytes as a union of slabs, in the file's order: h5py's ``d[a:b]`` is slower."""
    identifier, datatype = jpeg.id, jpeg.id.get_type()

    def read(indices: Indices) -> list[NDArray[np.uint8]]:
        unique, inverse = np.unique(indices, return_inverse=True)
        begins, sizes = offsets[unique], offsets[unique + 1] - offsets[unique]
        ends = np.cumsum(sizes)
        gathered = np.empty(int(sizes.sum()), np.uint8)
        if len(gathered):
            space, join = identifier.get_space(), h5s.SELECT_SET
            for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True):
                space.select_hyperslab((begin,), (size,), op=join)
                join = h5s.SELECT_OR
            identifier.read(h5s.create_simple(gathered.shape), space, gathered, datatype)
        files = [gathered[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]
        return [files[i] for i in inverse.tolist()]

    return read


def map_integers(file: h5py.File, name: str, path: Path) -> NDArray[np.int64]:
    """A contiguous dataset of int64 as a memory map; OSError or KeyError if there is no such dataset."""
    dataset = open_dataset(file, name)
    if dataset.dtype != np.dtype("<i8") or dataset.ndim != 1:
        raise OSError(f"{name} is not a row of integers")
    return integers(map_dataset(dataset, path, (dataset.nbytes,)))


def map_dataset(dataset: h5py.Dataset, path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A contiguous dataset's bytes in the file, as a read-only array that outlives the dataset.

    Raises:
        OSError: the bytes are not contiguous in the file.
    """
    size = int(np.prod(shape))
    if size == 0:
        return np.empty(shape, np.uint8)
    offset: Any = dataset.id.get_offset()
    if offset is None or offset + size > path.stat().st_size:
        raise OSError(f"{dataset.name} is not contiguous in the file")
    return np.asarray(np.memmap(path, np.uint8, mode="r", offset=offset, shape=shape))
