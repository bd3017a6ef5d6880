"""One HDF5 file with a group per split, read through HDF5 or through a map of its contiguous pixels."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from loaders.core.batch import Indices
from loaders.core.errors import OptionError, StoreError
from loaders.core.format import Candidate, Format, Reader, Written
from loaders.core.payloads import Kind, Payloads, Rows
from loaders.formats.hdf5 import io
from loaders.formats.hdf5.options import Hdf5Options
from loaders.store.arrays import Arrays, ArraysReader, write_arrays
from loaders.store.intake import Intake
from loaders.store.manifest import Store

FILE = "images.h5"
_SPOOL = "spool"


class Hdf5Format(Format[Hdf5Options]):
    """HDF5 by h5py. See ``io`` for what makes it fast."""

    name = "hdf5"
    packages = ("h5py",)
    Options = Hdf5Options
    candidates = (Candidate(), Candidate({"encoding": "jpeg"}, reads=("process",), needs="files"))

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Write one file. Payloads are gathered first: a contiguous dataset must know its size."""
        options = self.options
        rows = options.chunk_rows if options.layout == "chunked" else None
        if any(split.shape is None for split in splits.values()) and (rows is not None or options.element == "pixel"):
            raise OptionError("images of many sizes are stored end to end; omit layout and element")
        chunk = max(_chunk_bytes(rows, split.shape or (0,)) for split in splits.values())
        if chunk >= 1 << 32:
            raise OptionError(f"chunk_rows={rows} makes chunks of {chunk >> 20} MiB; use fewer, HDF5 allows 4095 MiB")
        spool = folder / _SPOOL
        spool.mkdir(exist_ok=True)
        write_arrays({name: split for name, split in splits.items() if not split.rows}, spool)
        with io.create_file(folder / FILE, chunk) as (file, check):
            for split in splits.values():
                group = file.create_group(split.name)
                if split.rows:
                    io.write_images(group, split, check, options.element, rows, options.compression)
                else:
                    io.write_payloads(group, split.name, check, spool, options.encoding)
        shutil.rmtree(spool, ignore_errors=True)
        return Written([FILE])

    def open(self, store: Store, split: str) -> Reader:
        """Open the file, and check that it agrees with the manifest."""
        path = store.location / FILE
        try:
            file = io.open_file(path)
            try:
                reader = self._reader(file, path, store, split)
            except BaseException:
                file.close()
                raise
        except (OSError, KeyError) as error:
            raise io.refusal(path, error, store.remedy) from None
        if self.options.access == "mapped":
            file.close()
        return reader

    def _reader(self, file: h5py.File, path: Path, store: Store, split: str) -> Reader:
        options, info = self.options, store.info.splits[split]
        labels, offsets = io.map_integers(file, f"{split}/labels", path), None
        if info.shape is None or options.encoding == "jpeg":
            data = io.open_dataset(file, f"{split}/{'jpeg' if options.encoding == 'jpeg' else 'images'}")
            offsets = io.map_integers(file, f"{split}/offsets", path)
            fits = offsets.shape == (info.count + 1,) and data.shape == (int(offsets[-1]),)
            fits = fits and bool(np.all(offsets[:-1] <= offsets[1:]))
        else:
            cache = options.cache_bytes()
            data = io.open_dataset(file, f"{split}/images", cache, _chunk_bytes(options.chunk_rows, info.shape))
            fits = (*data.shape, *data.dtype.shape) == (info.count, *info.shape)
        if not fits or labels.shape != (info.count,) or data.dtype.base != np.uint8:
            raise StoreError(f"{path} does not hold the {split} split of its manifest; {store.remedy}")
        if options.access == "mapped":
            if offsets is not None:
                arrays = Arrays(labels, None, io.map_dataset(data, path, data.shape), offsets)
            else:
                arrays = Arrays(labels, io.map_dataset(data, path, (info.count, *info.fixed_shape)))
            return ArraysReader(arrays, options.kind)
        if offsets is not None:
            read: io.Read = io.read_union(data, offsets)
        elif options.element == "image":
            read = io.read_elements(data, info.fixed_shape)
        else:
            read = io.read_sorted(data) if options.layout == "contiguous" else io.read_rows(data)
        return _Hdf5Reader(file, path, read, labels, options.kind, store.remedy)


class _Hdf5Reader(Reader):
    """Reads one group through HDF5."""

    def __init__(
        self, file: h5py.File, path: Path, read: io.Read, labels: NDArray[np.int64], kind: Kind, remedy: str
    ) -> None:
        self.labels = labels
        self._file, self._path, self._read, self._remedy = file, path, read, remedy
        self._kind = kind

    def fetch(self, indices: Indices) -> Rows | Payloads:
        """Images in one read, or the bytes of each sample."""
        try:
            images = self._read(indices)
        except OSError as error:
            raise io.refusal(self._path, error, self._remedy) from None
        return Rows(images) if isinstance(images, np.ndarray) else Payloads(images.__getitem__, kind=self._kind)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _chunk_bytes(rows: int | None, shape: tuple[int, ...]) -> int:
    return (rows or 0) * int(np.prod(shape))
