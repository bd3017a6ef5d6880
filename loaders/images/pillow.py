"""Pillow kept in hand: its limit of pixels is an error, its warnings are silent, what decoders raise becomes words."""

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
    """Read the header of an image file. Pixels are decoded when they are asked for.

    Args:
        data: a whole file, any buffer of bytes.
        size: height and width that it must have, in any order, for it may have to be turned; None: any size with no
            more pixels than Pillow thinks safe.
        formats: those of Pillow to try; None: all.

    Raises:
        DecodeError: another size, or too many pixels.
        Exception: whatever Pillow raises; see `reason`.
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
    """Why a decoder refused a file, in words for the sentence that names the file.

    Decoders raise whatever they like, so that their callers catch every ``Exception`` and ask here.

    Raises:
        MemoryError: it was one, which is not the file's fault.
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
    """What Pillow warns of names no file, and whether a file is taken is decided by its pixels alone.

    The filter is the process's and stays: `warnings.catch_warnings` would change it for all threads and put an old one
    back under those that still decode. It is put in front again where something else was put there.
    """
    if not warnings.filters or warnings.filters[0] != _SILENT:
        warnings.filterwarnings("ignore", module=_MODULES)
