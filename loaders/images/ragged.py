"""Reads images of many sizes: whole ones, or batches of square crops of one size, on threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from loaders.core.batch import Batch, BatchRequest, Indices
from loaders.core.errors import DecodeError, StoreError
from loaders.images.codecs import Buffer, Library
from loaders.images.crops import central_boxes, random_boxes, resize_into
from loaders.images.headers import jpeg_size, png_size, require
from loaders.images.kinds import Kind, picture_of_size
from loaders.images.pillow import reason
from loaders.images.threads import Spread
from loaders.store.checksums import image_digest, shortened
from loaders.store.samples import SplitInfo

_DCT = 8
"""libjpeg can decode at 1/8, 2/8, … of the full size."""


class Payloads(NamedTuple):
    """What a format keeps of some samples.

    Attributes:
        fetch: gives the bytes of the i-th of them, a file or uint8 pixels ``[H, W, 3]``; many threads may call it.
        labels: int64 ``[B]``.
    """

    fetch: Callable[[int], Buffer]
    labels: NDArray[np.int64]


def sizes_name(split: str) -> str:
    """The file that describes the images of a ragged split: little-endian int32 ``[n, 3]``, height, width, `Kind`."""
    return f"{split}.sizes"


def write_sizes(described: Iterable[NDArray[np.int32]], folder: Path, split: str) -> str:
    """Write it, some samples at a time; gives its name."""
    with (folder / sizes_name(split)).open("wb") as file:
        for part in described:
            file.write(part.astype("<i4", copy=False).tobytes())
    return sizes_name(split)


def map_sizes(location: Path, split: str) -> NDArray[np.int32]:
    """What it says, mapped: of ten million images only those that are asked for are read."""
    return np.asarray(np.memmap(location / sizes_name(split), "<i4", mode="r").reshape(-1, 3))


class RaggedReader:
    """Turns what a format keeps of samples into pixels."""

    def __init__(
        self,
        location: Path,
        split: str,
        info: SplitInfo,
        threads: int,
        *,
        scaled: bool = False,
        library: Library = "fast",
    ) -> None:
        """Map the sizes; of ten million images only those that are asked for are read.

        Args:
            location: folder of the store.
            split: its name.
            info: of the split.
            threads: how many decode; 0: one per core.
            scaled: let JPEG files be decoded only as fine as the crop needs; not with ``pil``.
            library: what decodes JPEG and PNG files; the pixels are the same.

        Raises:
            StoreError: the file is not that of the split.
        """
        path = location / sizes_name(split)
        if path.stat().st_size != 12 * info.count:
            raise StoreError(f"{path} does not describe {info.count} images; remove {location} and prepare it again")
        self._sizes = map_sizes(location, split)
        self._what = f"of the {split} split in {location}"
        self._again = f"remove {location} and prepare it again"
        self._scaled, self._library = scaled, library
        self._spread = Spread(threads)

    def crops(self, payloads: Payloads, request: BatchRequest, size: int) -> Batch:
        """A square crop of each image: a random one for training, else the central one.

        Args:
            payloads: of the samples asked for.
            request: which these are, and what draws the crops.
            size: side of the crops in pixels.

        Returns:
            uint8 ``[B, 3, size, size]`` in channels-last memory.

        Raises:
            DecodeError: bytes that are not the image that was stored.
        """
        indices = request.indices
        described, boxes = self.boxes(request)
        out = np.empty((len(indices), size, size, 3), np.uint8)
        rows, places = described.tolist(), boxes.tolist()

        def work(part: range) -> None:
            for i in part:
                image, box = self._decode(payloads.fetch(i), rows[i], places[i], size, int(indices[i]))
                top, left, height, width = box
                resize_into(image[top : top + height, left : left + width], out[i])

        self._spread(work, len(indices))
        return Batch(torch.from_numpy(out).permute(0, 3, 1, 2), torch.from_numpy(payloads.labels))

    def boxes(self, request: BatchRequest) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the crops lie: random ones for training, else the central ones.

        Returns:
            int64 ``[B, 3]``, height, width and `Kind` of each image, and int64 ``[B, 4]``, top, left, height and width
            of its crop.
        """
        described = self._sizes[request.indices].astype(np.int64)
        sizes = described[:, :2]
        if request.train:
            return described, random_boxes(sizes, request.seed, request.epoch, request.indices)
        return described, central_boxes(sizes)

    def whole(self, payloads: Payloads, indices: Indices) -> list[NDArray[np.uint8]]:
        """The images as they are, uint8 ``[H, W, 3]`` each."""
        rows = self._sizes[indices].tolist()
        found: list[Any] = [None] * len(indices)

        def work(part: range) -> None:
            for i in part:
                found[i] = np.array(self._decode(payloads.fetch(i), rows[i], None, 0, int(indices[i]))[0])

        self._spread(work, len(indices))
        return found

    def checksums(self, payloads: Payloads, indices: Indices) -> NDArray[np.uint64]:
        """What `loaders.store.checksums` keeps of each of the images."""
        rows = self._sizes[indices].tolist()
        digests = np.empty((len(indices), 32), np.uint8)

        def work(part: range) -> None:
            for i in part:
                image = self._decode(payloads.fetch(i), rows[i], None, 0, int(indices[i]))[0]
                digests[i] = np.frombuffer(image_digest(np.ascontiguousarray(image), ragged=True), np.uint8)

        self._spread(work, len(indices))
        return shortened(digests)

    def _decode(
        self, data: Buffer, described: list[int], box: list[int] | None, size: int, index: int
    ) -> tuple[NDArray[np.uint8], list[int]]:
        """An image, and where the box lies in it, which was decoded at a scale."""
        height, width, kind = described
        box = box or [0, 0, height, width]
        if kind == Kind.PIXELS:
            pixels = np.frombuffer(data, np.uint8)
            if pixels.size != 3 * height * width:
                raise self._damaged(index, f"it has {pixels.size} bytes instead of {3 * height * width}")
            return pixels.reshape(height, width, 3), box
        try:
            if kind == Kind.FILE or self._library == "pil":
                return picture_of_size(data, (height, width), plain=kind != Kind.FILE), box
            if kind == Kind.PNG:
                require(png_size(data), height, width)
                png: Any = data  # its annotation knows fewer kinds of buffers than it takes
                return imagecodecs.spng_decode(png), box
            require(jpeg_size(data), height, width)
            if self._scaled and size:
                return self._decode_scaled(data, (height, width), box, size)
            return simplejpeg.decode_jpeg(data, colorspace="RGB"), box
        except Exception as error:  # decoders raise whatever they like
            raise self._damaged(index, reason(error)) from None

    def _decode_scaled(
        self, data: Buffer, whole: tuple[int, int], box: list[int], size: int
    ) -> tuple[NDArray[np.uint8], list[int]]:
        """Decode at the smallest of libjpeg's scales at which the box has at least `size` pixels a side.

        Only what `jpeg_size` knows may come here: of another frame libjpeg would write beyond the result.
        """
        eighths = min(_DCT, -(-_DCT * size // min(box[2], box[3])))
        least = [-(-side * eighths // _DCT) for side in whole]
        image = simplejpeg.decode_jpeg(data, colorspace="RGB", min_height=least[0], min_width=least[1], min_factor=1)
        down, across = image.shape[0] / whole[0], image.shape[1] / whole[1]
        top, left = int(box[0] * down), int(box[1] * across)
        height = max(1, min(image.shape[0] - top, round(box[2] * down)))
        width = max(1, min(image.shape[1] - left, round(box[3] * across)))
        return image, [top, left, height, width]

    def _damaged(self, index: int, why: str) -> DecodeError:
        return DecodeError(f"image {index} {self._what} cannot be read: {why}; {self._again}")

    def close(self) -> None:
        """End the threads."""
        self._spread.close()
