"""One HDF5 file with a group per split, read through HDF5 or through a map of its contiguous pixels."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from loaders.core.batch import Batch, Indices
from loaders.core.errors import DecodeError, OptionError, StoreError
from loaders.core.faults import check_labels
from loaders.core.options import DecodingOptions, Encoding, LoaderOptions, encoding_option, read_option, store_option
from loaders.formats.hdf5 import io
from loaders.images.codecs import ImageDecoder
from loaders.images.ragged import Payloads
from loaders.reading.dataset import ImageDataset
from loaders.store.arrays import write_arrays
from loaders.store.intake import StreamedSplit
from loaders.store.samples import StoredBlock
from loaders.store.writer import Written

FILE = "images.h5"
_SPOOL = "spool"
_AUTOMATIC_CACHE_MB = 64


class Hdf5Options(DecodingOptions):
    """Options of the HDF5 loader."""

    encoding: Encoding = encoding_option()
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


class _Handle(NamedTuple):
    """An open split.

    Attributes:
        file: open only where HDF5 does the reading.
        labels: int64 ``[n]``, mapped.
        gather: reads images, or None where samples are kept one by one.
        fetch: reads those, or None.
        decoder: of the JPEG files.
    """

    file: h5py.File | None
    labels: NDArray[np.int64]
    gather: io.Gather | None
    fetch: io.Fetch | None
    decoder: ImageDecoder


@final
class Hdf5Dataset(ImageDataset[_Handle]):
    """HDF5 by h5py. See ``hdf5_io`` for what makes it fast."""

    name = "hdf5"
    device = "cpu"
    max_workers = None
    Options = Hdf5Options
    ragged = True

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:  # noqa: ARG003
        """Always available."""
        return None

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: Hdf5Options) -> Written:
        rows = options.chunk_rows if options.layout == "chunked" else None
        if any(split.ragged for split in splits.values()) and (rows is not None or options.element == "pixel"):
            raise OptionError("images of many sizes are stored end to end; leave layout and element out")
        chunk = max(0 if split.ragged else _chunk_bytes(rows, split.shape) for split in splits.values())
        if chunk >= 1 << 32:
            raise OptionError(f"chunk_rows={rows} makes chunks of {chunk >> 20} MiB; use fewer, HDF5 allows 4095 MiB")
        spool = folder / _SPOOL
        one_by_one = [split for split in splits.values() if options.encoding == "jpeg" or split.ragged]
        for split in one_by_one:
            spool.mkdir(exist_ok=True)
            write_arrays(split, spool, options.encoding)
        with io.create_file(folder / FILE, chunk) as (file, check):
            for split in splits.values():
                group = file.create_group(split.name)
                if split in one_by_one:
                    io.write_payloads(group, split.name, check, spool, options.encoding)
                else:
                    io.write_images(group, split, check, options.element, rows, options.compression)
        for split in one_by_one:
            split.begin_again_if_killed()
        shutil.rmtree(spool, ignore_errors=True)
        return Written([FILE])

    @classmethod
    def _kept_bytes(cls, block: StoredBlock, options: Hdf5Options) -> int:
        """What is spooled lies on the disk twice; of compressed pixels as many as zlib makes of them."""
        once = super()._kept_bytes(block, options) or 0
        if options.encoding == "jpeg" or block.pictures:
            return 2 * once
        if options.compression != "none":
            return len(zlib.compress(block.images.tobytes(), 4))
        return once

    def _open(self) -> _Handle:
        options: Any = self.options
        path = self.location / FILE
        try:
            file = io.open_file(path)
            try:
                handle = self._handle_of(file, path, options)
            except BaseException:
                file.close()
                raise
        except (OSError, KeyError) as error:
            raise io.refusal(path, error, self._again) from None
        if options.access == "mapped":
            file.close()
            return handle._replace(file=None)
        return handle

    def _handle_of(self, file: h5py.File, path: Path, options: Hdf5Options) -> _Handle:
        info = self.split_info
        labels = io.map_integers(file, f"{self.split}/labels", path)
        if options.encoding == "jpeg" or info.shape is None:
            data = io.open_dataset(file, f"{self.split}/{'jpeg' if options.encoding == 'jpeg' else 'images'}")
            offsets = io.map_integers(file, f"{self.split}/offsets", path)
            whole = offsets.shape == (info.count + 1,) and data.shape == (int(offsets[-1]),)
            whole = whole and bool(np.all(offsets[:-1] <= offsets[1:]))
        else:
            chunk = _chunk_bytes(options.chunk_rows, info.shape)
            data = io.open_dataset(file, f"{self.split}/images", options.cache_bytes(), chunk)
            whole = (*data.shape, *data.dtype.shape) == (info.count, *info.shape)
        if not whole or labels.shape != (info.count,) or data.dtype.base != np.uint8:
            raise StoreError(f"{path} does not hold the {self.split} split of its manifest; {self._again}")
        check_labels(labels, len(self.info.dataset.classes), self.split, path)
        gather, fetch = None, None
        if info.shape is None or options.encoding == "jpeg":
            fetch = io.fetch_union(data, offsets)
            if options.access == "mapped":
                fetch = io.fetch_mapped(io.map_dataset(data, path, data.shape), offsets)
        elif options.access == "mapped":
            gather = io.gather_mapped(io.map_dataset(data, path, (info.count, *info.shape)))
        elif options.element == "image":
            gather = io.gather_elements(data, info.shape)
        else:
            gather = io.gather_sorted(data) if options.layout == "contiguous" else io.gather_rows(data)
        return _Handle(file, labels, gather, fetch, ImageDecoder(options.threads, checked=True))

    def _read(self, handle: _Handle, indices: Indices) -> Batch:
        labels = torch.from_numpy(np.take(handle.labels, indices))
        try:
            if handle.gather is not None:
                return Batch(torch.from_numpy(handle.gather(indices)), labels)
            assert handle.fetch is not None
            files = handle.fetch(indices)
        except OSError as error:
            raise io.refusal(self.location / FILE, error, self._again) from None
        try:
            images = handle.decoder.decode_each(
                len(files),
                files.__getitem__,
                self.split_info.fixed_shape,
                lambda i: f"image {indices[i]} of the {self.split} split in {self.location / FILE}",
            )
        except DecodeError as error:
            raise DecodeError(f"{error}; {self._again}") from None
        return Batch(images, labels)

    def _payloads(self, handle: _Handle, indices: Indices) -> Payloads:
        assert handle.fetch is not None
        try:
            files = handle.fetch(indices)
        except OSError as error:
            raise io.refusal(self.location / FILE, error, self._again) from None
        return Payloads(files.__getitem__, np.take(handle.labels, indices))

    def _close(self, handle: _Handle) -> None:
        handle.decoder.close()
        if handle.file is not None:
            handle.file.close()

    @property
    def _again(self) -> str:
        return f"remove {self.location} and prepare it again"


def _chunk_bytes(rows: int | None, shape: tuple[int, int, int]) -> int:
    return (rows or 0) * int(np.prod(shape))
