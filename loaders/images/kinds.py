"""Decodes any image file to RGB pixels by one rule for all formats.

The rule: the first frame; turned by its EXIF orientation, if that can be read; grey, palette, CMYK and other colours by
Pillow's ``convert("RGB")``, as in torchvision's ``ImageFolder``; the upper byte of 16-bit channels; transparency is
dropped, so that hidden colours are shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from loaders.core.errors import DecodeError
from loaders.core.payloads import Buffer, Kind
from loaders.images.headers import jpeg_size
from loaders.images.pillow import open_image, reason

_ORIENTATION = 0x0112
_TURNS: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of 16-bit grey images; some versions open them as 32-bit integers with the same values."""


def decode_picture(data: Buffer, name: str) -> tuple[NDArray[np.uint8], Kind]:
    """Decode a whole file by the module's rule to uint8 ``[H, W, 3]``, and tell its kind.

    Raises:
        DecodeError: Pillow cannot read it, it is damaged, or it exceeds Pillow's limit of pixels; named by ``name``.
    """
    try:
        with open_image(data) as image:
            if _is_plain(image, data) and (pixels := _fast(data)) is not None:
                return pixels, Kind.JPEG
            return _by_rule(image), Kind.FILE
    except Exception as error:  # Pillow and its plug-ins raise any type
        raise DecodeError(f"{name} is not a readable picture ({reason(error)})") from None


def picture_of_size(data: Buffer, size: tuple[int, int], *, plain: bool) -> NDArray[np.uint8]:
    """Decode a whole stored file by Pillow to uint8 ``[H, W, 3]``; its height and width are compared first.

    ``plain``: it was stored as `Kind.JPEG` or `Kind.PNG`, to which the rule adds nothing.

    Raises:
        DecodeError: another size.
        Exception: any type from Pillow; see `loaders.images.pillow.reason`.
    """
    with open_image(data, size) as image:
        pixels = np.asarray(image.convert("RGB")) if plain else _by_rule(image)
    if pixels.shape[:2] != size:
        raise DecodeError(f"it is {pixels.shape[1]}x{pixels.shape[0]} pixels instead of {size[1]}x{size[0]}")
    return pixels


def _is_plain(image: Image.Image, data: Buffer) -> bool:
    """Whether the fast decoder may decode it."""
    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return False
    return jpeg_size(data) == (image.height, image.width) and _turn(image) is None


def _fast(data: Any) -> NDArray[np.uint8] | None:
    """None for files that the fast decoder refuses: also those with libjpeg's warnings, and with unnamed samplings."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except MemoryError:
        raise
    except Exception:  # a ValueError or a KeyError; Pillow decides
        return None
    return pixels


def _by_rule(image: Image.Image) -> NDArray[np.uint8]:
    width, height = image.size
    image.load()  # some formats have their EXIF at the end
    if sorted(image.size) != sorted((width, height)):
        raise DecodeError(f"its header tells {width}x{height} pixels, and it has {image.width}x{image.height}")
    turn = _turn(image)
    return _rgb(image if turn is None else image.transpose(turn))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The operation that makes it upright."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION))
    except MemoryError:
        raise
    except Exception:  # EXIF data that Pillow cannot read is ignored
        return None


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in _WIDE:
        values = np.asarray(image).astype(np.int64)
        grey = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey[:, :, None], (*grey.shape, 3)))
    return np.array(image.convert("RGB"))
