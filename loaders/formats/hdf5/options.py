"""Options of the HDF5 loader: the layout of the file, and how it is read."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from loaders.core.errors import OptionError
from loaders.core.options import EncodingOptions, read_option, store_option

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
        """Size of the chunk cache in bytes.

        HDF5 reads an image directly from an uncompressed chunk that does not fit its cache, which is faster than
        reading the whole chunk. Nor does it help to keep a chunk of one image, which an epoch reads once.
        """
        if self.cache_mb is not None:
            return self.cache_mb << 20
        return _AUTOMATIC_CACHE_MB << 20 if self.compression != "none" and self.chunk_rows > 1 else 0
