"""One image file per sample in a folder per class, as the sources come and most programs read them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, final

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from loaders.core.batch import Batch, Indices
from loaders.core.errors import DecodeError, LoaderError, StoreError
from loaders.core.faults import check_labels
from loaders.core.options import DecodingOptions, Encoding, LoaderOptions, read_option, store_option
from loaders.images.codecs import Codec, ImageDecoder, Library
from loaders.images.kinds import Kind
from loaders.images.ragged import Payloads
from loaders.images.threads import default_threads
from loaders.reading.dataset import ImageDataset
from loaders.store.appending import AppendedFiles
from loaders.store.arrays import integers, map_bytes
from loaders.store.intake import StreamedSplit
from loaders.store.samples import StoredBlock
from loaders.store.writer import Written

SUFFIX: dict[Codec, str] = {"png": "png", "jpeg": "jpg"}


def image_name(label: int, index: int, codec: Codec) -> str:
    """Path of an image within its split's folder; sorted names keep the order of labels and of samples."""
    return f"{label:04d}/{index:08d}.{SUFFIX[codec]}"


def index_name(split: str, codec: Codec) -> str:
    """The file with each image's label and size in bytes: little-endian int64 ``[n, 2]``."""
    return f"{split}.{SUFFIX[codec]}.index"


class FilesystemOptions(DecodingOptions):
    """Options of the filesystem loader."""

    compression: int = store_option(
        6, ge=0, le=9, description="zlib level of PNG files, 6 being customary; JPEG originals are kept as they are"
    )
    decoder: Library = read_option(
        "fast", description="fast: simplejpeg and libspng; pil: Pillow, what most programs use"
    )

    @property
    def library(self) -> Library:
        """As the option says."""
        return self.decoder

    @model_validator(mode="after")
    def _scaled_by_one(self) -> Self:
        if self.scaled and self.decoder == "pil":
            raise ValueError("scaled=true is for decoder=fast; Pillow decodes at other scales, to other pixels")
        return self


class _Files:
    """A split's index, its folder, and the threads that read and decode."""

    def __init__(self, location: Path, split: str, codec: Codec, index: NDArray[np.int64], decoder: ImageDecoder):
        self.codec = codec
        self.folder = location / split
        self.again = f"remove {location} and prepare it again"
        self.index = index  # mapped: of many millions of images only those that are asked for are read
        self.decoder = decoder
        try:
            # Names are looked up from here: shorter ones, and never those of a store that took this one's place.
            self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"cannot open {self.folder}: {error.strerror}; {self.again}") from None

    def load(self, name: str, size: int) -> bytes:
        """All bytes of one image file."""
        try:
            file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._descriptor)
            try:
                data = os.read(file, size + 1)
            finally:
                os.close(file)
        except FileNotFoundError:
            raise StoreError(f"{self.folder / name} is missing from its store; {self.again}") from None
        except OSError as error:
            raise StoreError(f"cannot read {self.folder / name}: {error.strerror}; {self.again}") from None
        if len(data) != size:
            found = f"{len(data)}" if len(data) < size else "more"
            raise StoreError(f"{self.folder / name} has {found} bytes instead of {size}; {self.again}")
        return data

    def close(self) -> None:
        """End the threads, then let the folder go."""
        self.decoder.close()
        os.close(self._descriptor)


@final
class FilesystemDataset(ImageDataset[_Files]):
    """PNG files, or the source's own JPEG files, read and decoded by a pool of threads."""

    name = "filesystem"
    device = "cpu"
    max_workers = None
    Options = FilesystemOptions
    ragged = True

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:  # noqa: ARG003
        """Always available."""
        return None

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: FilesystemOptions) -> Written:
        threads = default_threads()
        with ThreadPoolExecutor(threads) as pool:
            return Written([_write_split(s, folder, options.compression, pool, threads) for s in splits.values()])

    def _open(self) -> _Files:
        options: Any = self.options
        for codec in SUFFIX:
            name = index_name(self.split, codec)
            if name in self.info.files:
                data = map_bytes(self.location / name)
                if data.size != 16 * self.split_info.count:
                    raise self._foreign(name)
                index = integers(data).reshape(-1, 2)
                check_labels(index[:, 0], len(self.info.dataset.classes), self.split, self.location)
                decoder = ImageDecoder(options.threads, options.decoder, checked=True)
                return _Files(self.location, self.split, codec, index, decoder)
        raise StoreError(f"{self.location} has no index of its {self.split} images; remove it and prepare it again")

    def _foreign(self, name: str) -> StoreError:
        return StoreError(
            f"{self.location / name} is not the index of {self.split_info.count} images; "
            f"remove {self.location} and prepare it again"
        )

    def _read(self, handle: _Files, indices: Indices) -> Batch:
        shape = self.split_info.fixed_shape
        fetch, labels = self._payloads(handle, indices)

        def name(i: int) -> str:
            return str(handle.folder / image_name(int(labels[i]), int(indices[i]), handle.codec))

        try:
            images = handle.decoder.decode_each(len(labels), fetch, shape, name, handle.codec)
        except DecodeError as error:
            raise DecodeError(f"{error}; {handle.again}") from None
        return Batch(images, torch.from_numpy(labels))

    def _payloads(self, handle: _Files, indices: Indices) -> Payloads:
        """Files, each read when it is asked for, so that one thread reads while another decodes."""
        labels, sizes = (np.ascontiguousarray(column) for column in handle.index.take(indices, axis=0).T)
        if len(indices) and sizes.min() < 0:
            raise self._foreign(index_name(self.split, handle.codec))
        wanted = list(zip(labels.tolist(), indices.tolist(), sizes.tolist(), strict=True))

        def fetch(i: int) -> bytes:
            label, index, size = wanted[i]
            return handle.load(image_name(label, index, handle.codec), size)

        return Payloads(fetch, labels)

    @classmethod
    def _kept_bytes(cls, block: StoredBlock, options: FilesystemOptions) -> int:
        """Whole pages of the file system for each image, and a third of one for its name and the index."""
        sizes = [len(_encoded(block, i, options.compression)) for i in range(len(block.labels))]
        return sum(-(-size // 4096) * 4096 for size in sizes) + 300 * len(sizes)

    @classmethod
    def _kept_as(cls, options: Any, encoding: Encoding) -> Kind | None:  # noqa: ARG003
        return None if encoding == "jpeg" else Kind.PNG

    def _close(self, handle: _Files) -> None:
        handle.close()


def _write_split(split: StreamedSplit, folder: Path, level: int, pool: ThreadPoolExecutor, threads: int) -> str:
    """Write one split's images and its index, whose name it gives."""
    if not split.ragged and split.shape[0] not in (1, 3):
        raise LoaderError(
            f"image files hold 1 or 3 channels, not the {split.shape[0]} of the {split.name} split; use another loader"
        )
    codec: Codec = "jpeg" if split.encoding == "jpeg" else "png"
    root = folder / split.name
    # Of an attempt that is gone on with, images that were written after the last note are written again.
    root.mkdir(exist_ok=True)
    made: set[int] = set()
    done = split.stored
    name = index_name(split.name, codec)
    with AppendedFiles(split, folder, [name]) as appended:
        for block in split.blocks():
            for label in set(block.labels.tolist()) - made:
                (root / image_name(label, 0, codec)).parent.mkdir(exist_ok=True)
                made.add(label)
            step = max(1, -(-len(block.labels) // threads))

            def write(start: int, block: StoredBlock = block, first: int = done, step: int = step) -> list[int]:
                return [
                    (root / image_name(int(block.labels[i]), first + i, codec)).write_bytes(_encoded(block, i, level))
                    for i in range(start, min(start + step, len(block.labels)))
                ]

            sizes = [size for part in pool.map(write, range(0, len(block.labels), step)) for size in part]
            rows = np.stack([block.labels, np.array(sizes, np.int64)], axis=1)
            appended.files[0].write(rows.astype("<i8", copy=False).tobytes())
            done += len(sizes)
    return name


def _encoded(block: StoredBlock, i: int, level: int) -> bytes:
    """The source's own file, or a lossless one made of its pixels."""
    if block.files is not None:
        return bytes(block.files[i])
    if block.pictures:
        image = block.pictures[i]
    else:
        pixels = block.images[i]
        image = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    return bytes(imagecodecs.spng_encode(image, level=level))
