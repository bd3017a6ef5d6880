"""Decodes JPEG and PNG files of one size on a thread pool, straight into the batch's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from loaders.core.buffers import batch_memory
from loaders.core.errors import DecodeError
from loaders.core.payloads import Buffer
from loaders.images.pillow import open_image, reason
from loaders.images.threads import Spread

if TYPE_CHECKING:  # torch takes seconds to import: only what needs it pays
    import torch

Codec = Literal["jpeg", "png"]
Library = Literal["fast", "pil"]
_Into = Callable[[Buffer, NDArray[np.uint8], Callable[[int], str], int], None]


class ImageDecoder:
    """Decodes on threads, the caller's included. Pixels are those of libjpeg's accurate DCT and fancy upsampling.

    ``fast`` is simplejpeg for JPEG and imagecodecs' libspng for PNG, the fastest that we measured; both release the
    GIL. ``pil`` is Pillow, the most common choice; it gives the same pixels, and decodes JPEG files that simplejpeg
    refuses. No decoder produces more pixels than the memory has room for.
    """

    def __init__(self, threads: int = 0, library: Library = "fast", *, checked: bool = False) -> None:
        """Start no thread yet. With 0 threads there is one per usable core.

        ``checked``: the files were decoded without it when they were stored, so there are no CMYK images; not checking
        for them saves a tenth of the time.
        """
        self.spread = Spread(threads)
        self._into: dict[Codec, _Into] = {"jpeg": pil_into, "png": pil_into}
        if library == "fast":
            self._into = {"jpeg": _jpeg_into if checked else _unchecked_jpeg_into, "png": _png_into}

    def decode(
        self,
        get: Callable[[int], Buffer],
        count: int,
        shape: tuple[int, int, int],
        name: Callable[[int], str],
        codec: Codec = "jpeg",
    ) -> torch.Tensor:
        """Read and decode ``count`` image files of one ``shape``, ``(C, H, W)``.

        ``get`` returns the i-th file; it is called in the decoding threads, so that one thread reads while another
        decodes. ``name`` returns the i-th image's name for an error message.

        Returns:
            uint8 ``[B, C, H, W]`` in channels-last memory, which is the decoders' own layout.

        Raises:
            DecodeError: bytes that are not an image of this shape.
        """
        channels, height, width = shape
        out = batch_memory((count, height, width, channels))
        into = self._into[codec]

        def run(part: range) -> None:
            for i in part:
                into(get(i), out[i], name, i)

        self.spread(run, count)
        import torch

        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def close(self) -> None:
        """End the threads."""
        self.spread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unchecked_jpeg_into(data: Buffer, out: NDArray[np.uint8], name: Callable[[int], str], i: int) -> None:
    try:
        space = simplejpeg.decode_jpeg_header(data)[2]
    except MemoryError:
        raise
    except Exception:  # as below
        space = ""
    if space in ("CMYK", "YCCK"):  # would be converted silently, and differently by each library
        raise DecodeError(f"{name(i)} is a {space} image, neither colour nor grey; convert it to RGB")
    _jpeg_into(data, out, name, i)


def _jpeg_into(data: Buffer, out: NDArray[np.uint8], name: Callable[[int], str], i: int) -> None:
    try:
        decoded = simplejpeg.decode_jpeg(data, colorspace="GRAY" if out.shape[2] == 1 else "RGB", buffer=out)
    except MemoryError:
        raise
    except Exception:  # also libjpeg's warnings, unnamed samplings, an image too large: Pillow decides
        pil_into(data, out, name, i, ("JPEG",))
        return
    if decoded.shape != out.shape:
        raise DecodeError(f"{name(i)} {_other_size(decoded.shape[1], decoded.shape[0], out)}")


def _png_into(data: Buffer, out: NDArray[np.uint8], name: Callable[[int], str], i: int) -> None:
    readable: Any = data  # takes any buffer; its annotation names fewer
    try:
        imagecodecs.spng_decode(readable, out=out if out.shape[2] > 1 else out[:, :, 0])
    except ValueError:  # the header's size or channels do not fit; nothing was decoded
        height, width, channels = out.shape
        raise DecodeError(f"{name(i)} is not a PNG image of {width}x{height} pixels and {channels} channels") from None
    except Exception as error:  # its own, or any type from a binding
        raise DecodeError(f"{name(i)} is not a readable PNG image ({reason(error)})") from None


def pil_into(
    data: Buffer,
    out: NDArray[np.uint8],
    name: Callable[[int], str],
    i: int,
    formats: tuple[str, ...] | None = None,
) -> None:
    """Decode a whole file by Pillow into ``out``, uint8 ``[H, W, C]``; ``formats`` are Pillow's names, None for all.

    Raises:
        DecodeError: not an image of this shape, neither colour nor grey, or not readable; the message has ``name(i)``.
    """
    mode = "L" if out.shape[2] == 1 else "RGB"
    try:
        with open_image(data, formats=formats) as image:
            unfit = ""
            if image.mode not in ("L", "RGB"):
                unfit = f"is a {image.mode} image, neither colour nor grey; convert it to RGB"
            elif image.size != (out.shape[1], out.shape[0]):
                unfit = _other_size(image.width, image.height, out)
            else:
                image.draft(mode, None)  # grey from a colour JPEG is its luma plane, as with simplejpeg
                out[:] = np.asarray(image.convert(mode)).reshape(out.shape)
    except Exception as error:  # Pillow and its plug-ins raise any type
        kind = f"{formats[0]} image" if formats else "image"
        raise DecodeError(f"{name(i)} is not a readable {kind} ({reason(error)})") from None
    if unfit:
        raise DecodeError(f"{name(i)} {unfit}")


def _other_size(width: int, height: int, out: NDArray[np.uint8]) -> str:
    return f"is {width}x{height} pixels, not {out.shape[1]}x{out.shape[0]}"
