"""One HDF5 file with a group per split, read through HDF5 or through a map of its contiguous pixels."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import h5py
import numpy as np
from pydantic import model_validator

from loaders.core.batch import Indices
from loaders.core.errors import OptionError, StoreError
from loaders.core.format import Candidate, Format, Reader, Written
from loaders.core.options import EncodingOptions, read_option, store_option
from loaders.core.payloads import Kind, Payloads, Rows
from loaders.formats.hdf5 import io
from loaders.store.arrays import write_arrays
from loaders.store.intake import Intake
from loaders.store.manifest import Store

FILE = "images.h5"
_SPOOL = "spool"
_AUTOMATIC_CACHE_MB = 64


class Hdf5Options(EncodingOptions):
    """Options of the HDF5 loader."""

    element: Literal["image", "pixel"] = store_option(
        "image", description="image: one HDF5 element per image; pixel: the customary [N, C, H, W] bytes, read slower"
    )
    layout: Literal["contiguous", "chunked"] = store_option("contiguous", description="how HDF5 lays out the pixels")
    chunk_rows: int = store_option(1, ge=1, description="images in a chunk, where layout is chunked")
    compression: Literal["none", "lzf", "gzip"] = store_option("none", description="of chunks")
    access: Literal["api", "mapped"] = read_option(
        "api", description="api: reads through HDF5; mapped: maps the contiguous bytes that HDF5 locates"
    )
    cache_mb: int | None = read_option(
        None,
        ge=0,
        le=1 << 20,
        description="MiB of decoded chunks kept; unset: 64 where several images are compressed together, else none",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.layout == "contiguous":
            if self.compression != "none":
                raise OptionError(
                    f"compression={self.compression} needs chunks; add layout=chunked or use compression=none"
                )
            if self.chunk_rows != 1:
                raise OptionError(f"chunk_rows={self.chunk_rows} needs chunks; add layout=chunked or leave it out")
            if self.cache_mb:
                raise OptionError(f"cache_mb={self.cache_mb} is for chunks; add layout=chunked or leave it out")
        elif self.encoding == "jpeg":
            raise OptionError("encoding=jpeg is stored without chunks; use layout=contiguous or encoding=raw")
        elif self.access == "mapped":
            raise OptionError("access=mapped needs the pixels in one piece; use layout=contiguous or access=api")
        if self.encoding == "jpeg" and self.element == "pixel":
            raise OptionError("element=pixel is about decoded pixels; use encoding=raw or leave it out")
        return self

    def cache_bytes(self) -> int:
        """Size of the chunk cache.

        Uncompressed, HDF5 reads an image straight out of a chunk that does not fit its cache, which is faster than
        reading all of the chunk. Nor is a chunk of one image worth keeping: an epoch reads it once.
        """
        if self.cache_mb is not None:
            return self.cache_mb << 20
        return _AUTOMATIC_CACHE_MB << 20 if self.compression != "none" and self.chunk_rows > 1 else 0


class Hdf5Format(Format[Hdf5Options]):
    """HDF5 by h5py. See ``io`` for what makes it fast."""

    name = "hdf5"
    packages = ("h5py",)
    Options = Hdf5Options
    candidates = (Candidate(), Candidate({"encoding": "jpeg"}, reads=("process",), needs=("files",)))

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Write one file. What is kept one by one is gathered first: a contiguous dataset must know its size."""
        options = self.options
        rows = options.chunk_rows if options.layout == "chunked" else None
        if any(split.shape is None for split in splits.values()) and (rows is not None or options.element == "pixel"):
            raise OptionError("images of many sizes are stored end to end; leave layout and element out")
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
        """Open the file, and see that it holds what the manifest says."""
        path = store.location / FILE
        try:
            file = io.open_file(path)
            try:
                return _Hdf5Reader(file, path, self.options, store, split)
            except BaseException:
                file.close()
                raise
        except (OSError, KeyError) as error:
            raise io.refusal(path, error, store.remedy) from None


class _Hdf5Reader(Reader):
    """Reads one group; with ``access=mapped`` HDF5 only says where the bytes are."""

    def __init__(self, file: h5py.File, path: Path, options: Hdf5Options, store: Store, split: str) -> None:
        info, mapped = store.info.splits[split], options.access == "mapped"
        self._file, self._path, self._remedy = file, path, store.remedy
        self._kind = Kind.JPEG if options.encoding == "jpeg" else Kind.PIXELS
        self.labels = io.map_integers(file, f"{split}/labels", path)
        self._gather: io.Gather | None = None
        self._slices: io.Fetch | None = None
        if info.shape is None or options.encoding == "jpeg":
            data = io.open_dataset(file, f"{split}/{'jpeg' if options.encoding == 'jpeg' else 'images'}")
            offsets = io.map_integers(file, f"{split}/offsets", path)
            whole = offsets.shape == (info.count + 1,) and data.shape == (int(offsets[-1]),)
            whole = whole and bool(np.all(offsets[:-1] <= offsets[1:]))
        else:
            cache = options.cache_bytes()
            data = io.open_dataset(file, f"{split}/images", cache, _chunk_bytes(options.chunk_rows, info.shape))
            whole = (*data.shape, *data.dtype.shape) == (info.count, *info.shape)
        if not whole or self.labels.shape != (info.count,) or data.dtype.base != np.uint8:
            raise StoreError(f"{path} does not hold the {split} split of its manifest; {store.remedy}")
        if info.shape is None or options.encoding == "jpeg":
            pixels = io.map_dataset(data, path, data.shape) if mapped else None
            self._slices = io.fetch_union(data, offsets) if pixels is None else io.fetch_mapped(pixels, offsets)
        elif mapped:
            self._gather = io.gather_mapped(io.map_dataset(data, path, (info.count, *info.shape)))
        elif options.element == "image":
            self._gather = io.gather_elements(data, info.shape)
        else:
            self._gather = io.gather_sorted(data) if options.layout == "contiguous" else io.gather_rows(data)
        if mapped:
            file.close()

    def fetch(self, indices: Indices) -> Rows | Payloads:
        """Images in one read, or the bytes of each sample."""
        try:
            if self._gather is not None:
                return Rows(self._gather(indices))
            assert self._slices is not None
            return Payloads(self._slices(indices).__getitem__, kind=self._kind)
        except OSError as error:
            raise io.refusal(self._path, error, self._remedy) from None

    def close(self) -> None:
        """Close the file; closing it twice does no harm."""
        self._file.close()


def _chunk_bytes(rows: int | None, shape: tuple[int, ...]) -> int:
    return (rows or 0) * int(np.prod(shape))
