"""Any picture file as RGB pixels, by one rule for all formats.

The rule: of a file with several frames the first; turned as its EXIF orientation says; grey, palette, CMYK and other
colours as Pillow's ``convert("RGB")`` gives them, which is what torchvision's ``ImageFolder`` trains on; of 16-bit
channels the upper byte; transparency is dropped, so that a hidden colour shows.
"""

from __future__ import annotations

import io
from enum import IntEnum
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from loaders.decoding import Buffer
from loaders.errors import DecodeError

_ORIENTATION = 0x0112
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of grey images of 16 bits; some versions open them as 32-bit integers, of the same values."""


class Kind(IntEnum):
    """What the bytes of a stored sample are, and so how they become pixels."""

    PIXELS = 0
    """Uint8 ``[H, W, 3]``, decoded when they were stored."""
    JPEG = 1
    """A JPEG file that the rule leaves as it is: RGB or grey, upright. The fast decoder gives the same pixels."""
    FILE = 2
    """Any other picture file."""
    PNG = 3
    """A PNG file of 8-bit RGB, made when the sample was stored."""


def decode_picture(data: Buffer, name: str) -> tuple[NDArray[np.uint8], Kind]:
    """Decode any picture by the module's rule.

    Args:
        data: a whole file.
        name: what to call it in an error message.

    Returns:
        uint8 ``[H, W, 3]``, and the kind of file.

    Raises:
        DecodeError: not a picture that Pillow reads, a damaged one, or one of more than Pillow's limit of pixels.
    """
    readable: Any = data
    try:
        with Image.open(io.BytesIO(readable)) as image:
            plain = image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")
            if plain and image.getexif().get(_ORIENTATION, 1) in (0, 1):
                return simplejpeg.decode_jpeg(readable, colorspace="RGB"), Kind.JPEG
            return _rgb(ImageOps.exif_transpose(image)), Kind.FILE
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # the libraries' ways to refuse
        raise DecodeError(f"{name} is not a readable picture ({error})") from None


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in _WIDE:
        values = np.asarray(image).astype(np.int64)
        grey = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey[:, :, None], (*grey.shape, 3)))
    return np.array(image.convert("RGB"))
