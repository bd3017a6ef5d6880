"""Opens images by Pillow with its pixel limit as an error and its warnings silenced, and explains its exceptions."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

from PIL import Image, UnidentifiedImageError

from loaders.core.errors import DecodeError

_MODULES = r"PIL\."
_SILENT = ("ignore", None, Warning, re.compile(_MODULES), 0)
_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")


def open_image(data: Any, size: tuple[int, int] | None = None, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Read the header of a whole image file. Pixels are decoded on access.

    Args:
        data: any buffer of bytes.
        size: required height and width, in either order because of EXIF turns; None: any size within Pillow's limit.
        formats: Pillow's names of the formats to try; None: all.

    Raises:
        DecodeError: another size, or too many pixels.
        Exception: any type from Pillow; see `reason`.
    """
    _silence()
    image = Image.open(io.BytesIO(data), formats=formats)
    if size is None:
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > limit:
            raise DecodeError(
                f"{image.width}x{image.height} are more pixels than the {limit:,} that Pillow thinks safe"
            )
    elif sorted(image.size) != sorted(size):
        raise DecodeError(f"it is {image.width}x{image.height} pixels instead of {size[1]}x{size[0]}")
    return image


def reason(error: Exception) -> str:
    """Why a decoder failed, for a message that names the file; a MemoryError is raised again.

    Decoders raise any type of exception, so their callers catch ``Exception``.
    """
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow knows"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than twice the {Image.MAX_IMAGE_PIXELS:,} pixels that Pillow thinks safe"
    text = _OBJECT.sub("the file", str(error).partition("\n")[0])
    return text if " " in text else f"{type(error).__name__} {text}".rstrip()


def _silence() -> None:
    """Ignore Pillow's warnings, which name no file: the pixels alone decide whether a file is accepted.

    The filter is global and stays: `warnings.catch_warnings` would change it for all threads and restore an old one
    while others still decode. It is moved to the front again if another filter was added.
    """
    if not warnings.filters or warnings.filters[0] != _SILENT:
        warnings.filterwarnings("ignore", module=_MODULES)
