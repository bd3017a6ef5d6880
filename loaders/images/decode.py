"""Decodes what a format keeps of samples into pixels: a batch of one size, square crops, or whole images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from loaders.core.batch import BatchRequest, Indices
from loaders.core.buffers import batch_memory
from loaders.core.errors import DecodeError, StoreError
from loaders.core.options import DecodingOptions
from loaders.core.payloads import Buffer, Kind, Payloads
from loaders.images.codecs import Codec, ImageDecoder
from loaders.images.crops import central_boxes, random_boxes, resize_into
from loaders.images.headers import jpeg_size, png_size, require
from loaders.images.kinds import picture_of_size
from loaders.images.pillow import reason

_DCT = 8
"""libjpeg can decode at 1/8, 2/8, … of the full size."""
_Image = NDArray[np.uint8]


class Decoder:
    """Decodes the payloads of one split on threads."""

    def __init__(
        self,
        shape: tuple[int, int, int] | None,
        sizes: NDArray[np.int32] | None,
        subject: str,
        remedy: str,
        options: DecodingOptions,
    ) -> None:
        """Start no thread yet.

        Args:
            shape: ``(C, H, W)`` of each image; None if they have many sizes.
            sizes: height, width and `Kind` of images of many sizes, ``[n, 3]``.
            subject: "of the train split in …", for error messages.
            remedy: what to do about damaged samples, for error messages.
            options: number of threads, library, and whether JPEG files are decoded at a scale.
        """
        self._shape, self._sizes = shape, sizes
        self._subject, self._remedy = subject, remedy
        self._options = options
        self._files = ImageDecoder(options.threads, options.library, checked=True)

    def batch(self, payloads: Payloads, request: BatchRequest, size: int = 0) -> torch.Tensor:
        """Images of one size as they are, or of many sizes as square crops of ``size`` pixels.

        Returns:
            uint8 ``[B, C, H, W]``; decoded images in channels-last memory.

        Raises:
            DecodeError, StoreError: bytes that are not the image that was stored.
        """
        if self._shape is None:
            return self._crops(payloads, request, size)
        count = len(request.indices)
        name = payloads.name or (lambda i: f"image {request.indices[i]} {self._subject}")
        if payloads.kind == Kind.PIXELS:
            return self._stacked([payloads.get(i) for i in range(count)], self._shape, name)
        try:
            codec: Codec = "png" if payloads.kind == Kind.PNG else "jpeg"
            return self._files.decode(payloads.get, count, self._shape, name, codec)
        except DecodeError as error:
            raise DecodeError(f"{error}; {self._remedy}") from None

    def _stacked(self, parts: list[Buffer], shape: tuple[int, int, int], name: Callable[[int], str]) -> torch.Tensor:
        # A bytearray is filled by one copy and may be written to by the receiver.
        pixels = np.frombuffer(bytearray().join(parts), np.uint8)
        expected = int(np.prod(shape))
        if pixels.size != len(parts) * expected:
            i, length = next((i, len(part)) for i, part in enumerate(parts) if len(part) != expected)
            raise StoreError(f"{name(i)} has {length} bytes instead of {expected}; {self._remedy}")
        return torch.from_numpy(pixels.reshape(len(parts), *shape))

    def _crops(self, payloads: Payloads, request: BatchRequest, size: int) -> torch.Tensor:
        sizes, boxes = self.boxes(request)
        out = batch_memory((len(sizes), size, size, 3))
        rows, boxes_list = sizes.tolist(), boxes.tolist()

        def work(part: range) -> None:
            for i in part:
                image, box = self._decode(payloads.get(i), rows[i], int(request.indices[i]), boxes_list[i], size)
                top, left, height, width = box
                resize_into(image[top : top + height, left : left + width], out[i])

        self._files.spread(work, len(out))
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def boxes(self, request: BatchRequest) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Random crops for training, else central ones.

        Returns:
            int64 ``[B, 3]``, height, width and `Kind` of each image, and int64 ``[B, 4]``, top, left, height and width
            of its crop.
        """
        assert self._sizes is not None
        sizes = self._sizes[request.indices].astype(np.int64)
        if request.train:
            return sizes, random_boxes(sizes[:, :2], request.seed, request.epoch, request.indices)
        return sizes, central_boxes(sizes[:, :2])

    def each(self, payloads: Payloads, indices: Indices, make: Callable[[_Image], Any]) -> list[Any]:
        """The result of a function for each whole image, uint8 ``[H, W, C]``."""
        if self._sizes is None:
            images = self.batch(payloads, BatchRequest(indices))
            return [make(image) for image in images.permute(0, 2, 3, 1).numpy()]
        rows, results = self._sizes[indices].tolist(), [None] * len(indices)

        def work(part: range) -> None:
            for i in part:
                results[i] = make(self._decode(payloads.get(i), rows[i], int(indices[i]))[0])

        self._files.spread(work, len(indices))
        return results

    def _decode(
        self, data: Buffer, row: list[int], index: int, box: list[int] | None = None, size: int = 0
    ) -> tuple[_Image, list[int]]:
        """An image, and the position of the box in it, which differs if it was decoded at a scale."""
        height, width, kind = row
        box = box or [0, 0, height, width]
        try:
            if kind == Kind.PIXELS:
                pixels = np.frombuffer(data, np.uint8)
                if pixels.size != 3 * height * width:
                    raise DecodeError(f"it has {pixels.size} bytes instead of {3 * height * width}")
                return pixels.reshape(height, width, 3), box
            if kind == Kind.FILE or self._options.library == "pil":
                return picture_of_size(data, (height, width), plain=kind != Kind.FILE), box
            if kind == Kind.PNG:
                require(png_size(data), height, width)
                png: Any = data  # its annotation names fewer kinds of buffers than it takes
                return imagecodecs.spng_decode(png), box
            require(jpeg_size(data), height, width)
            if self._options.scaled and size:
                return _decode_scaled(data, (height, width), box, size)
            return simplejpeg.decode_jpeg(data, colorspace="RGB"), box
        except Exception as error:  # decoders raise any type
            raise DecodeError(
                f"image {index} {self._subject} cannot be read: {reason(error)}; {self._remedy}"
            ) from None

    def close(self) -> None:
        """End the threads."""
        self._files.close()


def _decode_scaled(data: Buffer, whole: tuple[int, int], box: list[int], size: int) -> tuple[_Image, list[int]]:
    """Decode at the smallest of libjpeg's scales at which the box has at least `size` pixels a side.

    Only for files with a `jpeg_size`: for other frames libjpeg would write beyond the result.
    """
    eighths = min(_DCT, -(-_DCT * size // min(box[2], box[3])))
    least = [-(-side * eighths // _DCT) for side in whole]
    image = simplejpeg.decode_jpeg(data, colorspace="RGB", min_height=least[0], min_width=least[1], min_factor=1)
    down, across = image.shape[0] / whole[0], image.shape[1] / whole[1]
    top, left = int(box[0] * down), int(box[1] * across)
    height = max(1, min(image.shape[0] - top, round(box[2] * down)))
    width = max(1, min(image.shape[1] - left, round(box[3] * across)))
    return image, [top, left, height, width]
