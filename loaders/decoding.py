"""Decodes JPEG and PNG files on a thread pool, straight into the batch's memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import imagecodecs
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image

from loaders.errors import DecodeError
from loaders.threads import Spread

Buffer = bytes | memoryview | NDArray[np.uint8]
Codec = Literal["jpeg", "png"]
Library = Literal["fast", "pil"]


class ImageDecoder:
    """Decoding threads, the caller's among them. Pixels are those of libjpeg's accurate DCT and fancy upsampling.

    ``fast`` is simplejpeg for JPEG and imagecodecs' libspng for PNG, the quickest that we measured; both let
    other threads run meanwhile. ``pil`` is Pillow, which most programs use today; it gives the same pixels.
    """

    def __init__(self, threads: int = 0, library: Library = "fast", *, checked: bool = False) -> None:
        """Start no thread yet.

        Args:
            threads: how many decode at the same time; 0: one per usable core.
            library: what decodes.
            checked: the files went through a decoder without this when they were stored, so that those which only
                a second look recognises, a tenth of the time, need not be looked for: CMYK images.
        """
        self._spread = Spread(threads)
        self.threads = self._spread.threads
        self._into = {
            "fast": {"jpeg": _jpeg_into if checked else _unknown_jpeg_into, "png": _png_into},
            "pil": {"jpeg": _pil_into, "png": _pil_into},
        }[library]

    def decode(
        self,
        files: Sequence[Buffer],
        shape: tuple[int, int, int],
        names: Sequence[str] = (),
        codec: Codec = "jpeg",
    ) -> torch.Tensor:
        """Decode image files of one size.

        Returns:
            uint8 ``[B, C, H, W]`` in channels-last memory, which is the decoders' own layout.

        Raises:
            DecodeError: bytes that are not an image of this shape.
        """

        def name(i: int) -> str:
            return names[i] if names else f"image {i} of the batch"

        return self.decode_each(len(files), files.__getitem__, shape, name, codec)

    def decode_each(
        self,
        count: int,
        fetch: Callable[[int], Buffer],
        shape: tuple[int, int, int],
        name: Callable[[int], str],
        codec: Codec = "jpeg",
    ) -> torch.Tensor:
        """Get and decode image files of one size, so that one thread reads while another decodes.

        Args:
            count: how many images.
            fetch: gives the file of an image in ``[0, count)``; called in the decoding threads.
            shape: ``(C, H, W)`` that each must have.
            name: what to call an image in an error message.
            codec: the files' format.

        Returns:
            As ``decode`` does.

        Raises:
            DecodeError: bytes that are not an image of this shape.
        """
        channels, height, width = shape
        out = np.empty((count, height, width, channels), np.uint8)
        into = self._into[codec]

        def run(part: range) -> None:
            for i in part:
                into(fetch(i), out[i], name, i)

        self._spread(run, count)
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def close(self) -> None:
        """End the threads."""
        self._spread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unknown_jpeg_into(data: Buffer, out: NDArray[np.uint8], name: Callable[[int], str], i: int) -> None:
    try:
        space = simplejpeg.decode_jpeg_header(data)[2]
    except ValueError as error:
        raise DecodeError(f"{name(i)} is not a readable JPEG image ({error})") from None
    if space in ("CMYK", "YCCK"):  # would be converted without a word, and differently by each library
        raise DecodeError(f"{name(i)} is a {space} image, neither colour nor grey; convert it to RGB")
    _jpeg_into(data, out, name, i)


def _jpeg_into(data: Buffer, out: NDArray[np.uint8], name: Callable[[int], str], i: int) -> None:
    try:
        decoded = simplejpeg.decode_jpeg(data, colorspace="GRAY" if out.shape[2] == 1 else "RGB", buffer=out)
    except ValueError as error:  # also an image too large for the buffer
        raise DecodeError(
            f"{name(i)} is not a readable JPEG image of {out.shape[1]}x{out.shape[0]} pixels ({error})"
        ) from None
    if decoded.shape != out.shape:
        _check_size(decoded.shape[1], decoded.shape[0], out, name, i)


def _png_into(data: Buffer, out: NDArray[np.uint8], name: Callable[[int], str], i: int) -> None:
    readable: Any = data  # takes any buffer; its annotation names fewer
    try:
        imagecodecs.spng_decode(readable, out=out if out.shape[2] > 1 else out[:, :, 0])
    except imagecodecs.SpngError as error:
        raise DecodeError(f"{name(i)} is not a readable PNG image ({error})") from None
    except ValueError:  # libspng read a whole image and found that it does not fit
        height, width, channels = out.shape
        raise DecodeError(f"{name(i)} is not a PNG image of {width}x{height} pixels and {channels} channels") from None


def _pil_into(data: Buffer, out: NDArray[np.uint8], name: Callable[[int], str], i: int) -> None:
    mode = "L" if out.shape[2] == 1 else "RGB"
    readable: Any = data
    try:
        with Image.open(io.BytesIO(readable)) as image:
            if image.mode not in ("L", "RGB"):
                raise DecodeError(f"{name(i)} is a {image.mode} image, neither colour nor grey; convert it to RGB")
            _check_size(image.width, image.height, out, name, i)
            image.draft(mode, None)  # grey from a colour JPEG is its luma plane, as in the other library
            out[:] = np.asarray(image.convert(mode)).reshape(out.shape)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's ways to refuse
        raise DecodeError(f"{name(i)} is not a readable image ({error})") from None


def _check_size(width: int, height: int, out: NDArray[np.uint8], name: Callable[[int], str], i: int) -> None:
    if (height, width) != out.shape[:2]:
        raise DecodeError(f"{name(i)} is {width}x{height} pixels, not {out.shape[1]}x{out.shape[0]}")
