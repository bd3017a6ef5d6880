"""One image file per sample in a folder per class: the form that most programs read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from loaders.core.batch import Indices
from loaders.core.errors import LoaderError, StoreError
from loaders.core.format import Candidate, Format, Reader, Written
from loaders.core.options import DecodingOptions, Encoding, read_option, store_option
from loaders.core.payloads import Kind, Payloads
from loaders.images.codecs import Codec, Library
from loaders.images.threads import Spread
from loaders.store.arrays import integers, map_bytes
from loaders.store.intake import Intake
from loaders.store.manifest import Store
from loaders.store.samples import StoredBlock

SUFFIX: dict[Codec, str] = {"png": "png", "jpeg": "jpg"}


def image_name(label: int, index: int, codec: Codec) -> str:
    """Path of an image within its split's folder; sorted paths are in order of label, then of sample."""
    return f"{label:04d}/{index:08d}.{SUFFIX[codec]}"


def index_name(split: str, codec: Codec) -> str:
    """The file with each image's label and size in bytes: little-endian int64 ``[n, 2]``."""
    return f"{split}.{SUFFIX[codec]}.index"


class FilesystemOptions(DecodingOptions):
    """Options of the filesystem loader."""

    compression: int = store_option(
        6, ge=0, le=9, description="zlib level of PNG files, usually 6; JPEG originals are kept unchanged"
    )
    decoder: Library = read_option(
        "fast", description="fast: simplejpeg and libspng; pil: Pillow, as most programs use"
    )

    @property
    def library(self) -> Library:
        """The option ``decoder``."""
        return self.decoder

    def keeps_files(self, source: Encoding) -> bool:
        """Whether the source has JPEG files."""
        return source == "jpeg"

    @model_validator(mode="after")
    def _scaled_by_one(self) -> Self:
        if self.scaled and self.decoder == "pil":
            raise ValueError("scaled=true is for decoder=fast; Pillow decodes at other scales, to other pixels")
        return self


class FilesystemFormat(Format[FilesystemOptions]):
    """PNG files, or the source's own JPEG files."""

    name = "filesystem"
    Options = FilesystemOptions
    candidates = (Candidate(reads=("process", "thread", "workers")),)

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Write every image and an index for each split."""
        with contextlib.closing(Spread()) as spread:
            return Written([self._write_split(each, folder, spread) for each in splits.values()], pixels_as=Kind.PNG)

    def _write_split(self, split: Intake, folder: Path, spread: Spread) -> str:
        if split.shape is not None and (channels := split.shape[0]) not in (1, 3):
            raise LoaderError(
                f"image files hold 1 or 3 channels, not the {channels} of the {split.name} split; use another loader"
            )
        codec: Codec = "jpeg" if split.keeps_files else "png"
        root, name, level = folder / split.name, index_name(split.name, codec), self.options.compression
        root.mkdir()
        with (folder / name).open("wb") as index:
            for block in split.blocks():
                rows = np.stack([block.labels, np.zeros_like(block.labels)], axis=1)
                for label in set(block.labels.tolist()):
                    (root / image_name(label, 0, codec)).parent.mkdir(exist_ok=True)

                def write(part: range, block: StoredBlock = block, rows: Any = rows) -> None:
                    for i in part:
                        path = root / image_name(int(block.labels[i]), split.stored + i, codec)
                        rows[i, 1] = path.write_bytes(
                            block.files[i] if block.files else imagecodecs.spng_encode(block.hwc(i), level=level)
                        )

                spread(write, len(rows))
                index.write(rows.astype("<i8", copy=False).tobytes())
        return name

    def open(self, store: Store, split: str) -> Reader:
        """Open the folder and map the index."""
        codec: Codec = "png" if index_name(split, "png") in store.info.files else "jpeg"
        path = store.location / index_name(split, codec)
        index = map_bytes(path)
        if len(index) != 16 * store.info.splits[split].count:
            raise StoreError(f"{path} is not the index of the {split} images; {store.remedy}")
        return _FilesReader(store.location / split, codec, integers(index).reshape(-1, 2), store.remedy)


class _FilesReader(Reader):
    """Reads image files by name within an open folder."""

    def __init__(self, folder: Path, codec: Codec, index: NDArray[np.int64], remedy: str) -> None:
        self._folder, self._codec, self._remedy = folder, codec, remedy
        self._index = index  # mapped: only requested rows are read
        self.labels = index[:, 0]
        # File names relative to it are shorter, and never those of a store that replaced this one.
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def fetch(self, indices: Indices) -> Payloads:
        """Files, each read when it is decoded, so that one thread reads while another decodes."""
        rows = self._index.take(indices, axis=0).tolist()
        names = [image_name(row[0], i, self._codec) for row, i in zip(rows, indices.tolist(), strict=True)]

        def get(i: int) -> bytes:
            size = rows[i][1]
            try:
                file = os.open(names[i], os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._descriptor)
                try:
                    data = os.read(file, max(size, 0) + 1)
                finally:
                    os.close(file)
            except OSError as error:
                error.filename = str(self._folder / names[i])
                raise
            if len(data) != size:
                length = f"{len(data)}" if len(data) < size else "more"
                raise StoreError(f"{self._folder / names[i]} has {length} bytes instead of {size}; {self._remedy}")
            return data

        kind = Kind.JPEG if self._codec == "jpeg" else Kind.PNG
        return Payloads(get, kind=kind, name=lambda i: str(self._folder / names[i]))

    def close(self) -> None:
        """Close the folder."""
        os.close(self._descriptor)
