"""The one way from what a format keeps of samples to pixels: a batch of one size, square crops, or whole images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from loaders.core.batch import BatchRequest, Indices
from loaders.core.errors import DecodeError, StoreError
from loaders.core.payloads import Buffer, Kind, Payloads
from loaders.images.codecs import Codec, ImageDecoder, Library
from loaders.images.crops import central_boxes, random_boxes, resize_into
from loaders.images.digests import checksums_of, image_digest, shortened
from loaders.images.headers import jpeg_size, png_size, require
from loaders.images.kinds import picture_of_size
from loaders.images.pillow import reason

_DCT = 8
"""libjpeg can decode at 1/8, 2/8, … of the full size."""
_Image = NDArray[np.uint8]


class Decoder:
    """Makes pixels of the payloads of one split, on threads."""

    def __init__(
        self,
        shape: tuple[int, int, int] | None,
        sizes: NDArray[np.int32] | None,
        subject: str,
        remedy: str,
        threads: int = 0,
        *,
        scaled: bool = False,
        library: Library = "fast",
    ) -> None:
        """Start no thread yet.

        Args:
            shape: ``(C, H, W)`` of each image; None if they have many sizes.
            sizes: of images of many sizes height, width and `Kind`, ``[n, 3]``.
            subject: "of the train split in …", for error messages.
            remedy: what to do about damaged samples, for error messages.
            threads: how many decode; 0: one per usable core.
            scaled: decode JPEG files only as fine as a crop needs; not with ``pil``.
            library: what decodes JPEG and PNG files; the pixels are the same.
        """
        self._shape, self._sizes = shape, sizes
        self._subject, self._remedy = subject, remedy
        self._scaled, self._library = scaled, library
        self._files = ImageDecoder(threads, library, checked=True)

    def batch(self, payloads: Payloads, request: BatchRequest, size: int | None) -> torch.Tensor:
        """A batch of images of one size as they are, of many sizes as square crops of ``size`` pixels.

        Returns:
            uint8 ``[B, C, H, W]``; what is decoded in channels-last memory.

        Raises:
            DecodeError, StoreError: bytes that are not the image that was stored.
        """
        if self._shape is None:
            assert size is not None
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
        if pixels.size != len(parts) * int(np.prod(shape)):
            lengths = [len(part) for part in parts]
            i = next(i for i, length in enumerate(lengths) if length != int(np.prod(shape)))
            raise StoreError(f"{name(i)} has {lengths[i]} bytes instead of {int(np.prod(shape))}; {self._remedy}")
        return torch.from_numpy(pixels.reshape(len(parts), *shape))

    def _crops(self, payloads: Payloads, request: BatchRequest, size: int) -> torch.Tensor:
        sizes, boxes = self.boxes(request)
        out = np.empty((len(sizes), size, size, 3), np.uint8)
        rows, boxes_list = sizes.tolist(), boxes.tolist()

        def work(part: range) -> None:
            for i in part:
                image, box = self._decode(payloads.get(i), rows[i], int(request.indices[i]), boxes_list[i], size)
                top, left, height, width = box
                resize_into(image[top : top + height, left : left + width], out[i])

        self._files.spread(work, len(out))
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def boxes(self, request: BatchRequest) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the crops of images of many sizes lie: random ones for training, else the central ones.

        Returns:
            int64 ``[B, 3]``, height, width and `Kind` of each image, and int64 ``[B, 4]``, top, left, height and width
            of its crop.
        """
        assert self._sizes is not None
        sizes = self._sizes[request.indices].astype(np.int64)
        if request.train:
            return sizes, random_boxes(sizes[:, :2], request.seed, request.epoch, request.indices)
        return sizes, central_boxes(sizes[:, :2])

    def whole(self, payloads: Payloads, indices: Indices) -> list[_Image]:
        """The images as they are, uint8 ``[H, W, C]`` each and contiguous."""
        if self._shape is not None:
            images = self.batch(payloads, BatchRequest(indices), None)
            return list(images.permute(0, 2, 3, 1).contiguous().numpy())
        return self._each(payloads, indices, np.array)

    def checksums(self, payloads: Payloads, indices: Indices) -> NDArray[np.uint64]:
        """The shortened digest of each whole image."""
        if self._shape is not None:
            return checksums_of(self.batch(payloads, BatchRequest(indices), None).contiguous().numpy())
        digests = self._each(payloads, indices, lambda image: image_digest(np.ascontiguousarray(image), ragged=True))
        return shortened(np.frombuffer(bytearray().join(digests), np.uint8).reshape(-1, 32))

    def _each(self, payloads: Payloads, indices: Indices, make: Callable[[_Image], Any]) -> list[Any]:
        """What is made of each whole image of many sizes."""
        assert self._sizes is not None
        rows, results = self._sizes[indices].tolist(), [None] * len(indices)

        def work(part: range) -> None:
            for i in part:
                results[i] = make(self._decode(payloads.get(i), rows[i], int(indices[i]))[0])

        self._files.spread(work, len(indices))
        return results

    def _decode(
        self, data: Buffer, row: list[int], index: int, box: list[int] | None = None, size: int = 0
    ) -> tuple[_Image, list[int]]:
        """An image, and where the box lies in it, which was decoded at a scale."""
        height, width, kind = row
        box = box or [0, 0, height, width]
        try:
            if kind == Kind.PIXELS:
                pixels = np.frombuffer(data, np.uint8)
                if pixels.size != 3 * height * width:
                    raise DecodeError(f"it has {pixels.size} bytes instead of {3 * height * width}")
                return pixels.reshape(height, width, 3), box
            if kind == Kind.FILE or self._library == "pil":
                return picture_of_size(data, (height, width), plain=kind != Kind.FILE), box
            if kind == Kind.PNG:
                require(png_size(data), height, width)
                png: Any = data  # its annotation knows fewer kinds of buffers than it takes
                return imagecodecs.spng_decode(png), box
            require(jpeg_size(data), height, width)
            if self._scaled and size:
                return _decode_scaled(data, (height, width), box, size)
            return simplejpeg.decode_jpeg(data, colorspace="RGB"), box
        except Exception as error:  # decoders raise whatever they like
            raise DecodeError(
                f"image {index} {self._subject} cannot be read: {reason(error)}; {self._remedy}"
            ) from None

    def close(self) -> None:
        """End the threads."""
        self._files.close()


def _decode_scaled(data: Buffer, whole: tuple[int, int], box: list[int], size: int) -> tuple[_Image, list[int]]:
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
