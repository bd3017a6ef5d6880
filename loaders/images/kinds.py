"""Any picture file as RGB pixels, by one rule for all formats.

The rule: of a file with several frames the first; turned as its EXIF orientation says, if it has one that can be read;
grey, palette, CMYK and other colours as Pillow's ``convert("RGB")`` gives them, which is what torchvision's
``ImageFolder`` trains on; of 16-bit channels the upper byte; transparency is dropped, so that a hidden colour shows.
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
"""Pillow's modes of grey images of 16 bits; some versions open them as 32-bit integers, of the same values."""


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
    try:
        with open_image(data) as image:
            if _is_plain(image, data) and (pixels := _fast(data)) is not None:
                return pixels, Kind.JPEG
            return _by_rule(image), Kind.FILE
    except Exception as error:  # Pillow and its plug-ins raise whatever they like
        raise DecodeError(f"{name} is not a readable picture ({reason(error)})") from None


def picture_of_size(data: Buffer, size: tuple[int, int], *, plain: bool) -> NDArray[np.uint8]:
    """Decode a file that was stored, by Pillow. Its size is compared before its pixels are decoded.

    Args:
        data: a whole file.
        size: height and width of its pixels.
        plain: it was stored as `Kind.JPEG` or `Kind.PNG`, of which nothing but the pixels need be looked at.

    Returns:
        uint8 ``[H, W, 3]``.

    Raises:
        DecodeError: another size.
        Exception: whatever Pillow raises; see `loaders.images.pillow.reason`.
    """
    with open_image(data, size) as image:
        pixels = np.asarray(image.convert("RGB")) if plain else _by_rule(image)
    if pixels.shape[:2] != size:
        raise DecodeError(f"it is {pixels.shape[1]}x{pixels.shape[0]} pixels instead of {size[1]}x{size[0]}")
    return pixels


def _is_plain(image: Image.Image, data: Buffer) -> bool:
    """Whether the fast decoder may be asked for it."""
    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return False
    return jpeg_size(data) == (image.height, image.width) and _turn(image) is None


def _fast(data: Any) -> NDArray[np.uint8] | None:
    """None for what the fast decoder refuses: also what libjpeg only warns of, and samplings that have no name."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except MemoryError:
        raise
    except Exception:  # a ValueError or a KeyError; Pillow decides, whatever it is
        return None
    return pixels


def _by_rule(image: Image.Image) -> NDArray[np.uint8]:
    told = image.size
    image.load()  # some formats have their EXIF at the end
    if sorted(image.size) != sorted(told):
        raise DecodeError(f"its header tells {told[0]}x{told[1]} pixels, and it has {image.width}x{image.height}")
    turn = _turn(image)
    return _rgb(image if turn is None else image.transpose(turn))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes it upright. The EXIF data is left as it is: much of it could not be written back."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION))
    except MemoryError:
        raise
    except Exception:  # EXIF data that Pillow cannot read turns nothing, and leaves the pixels as good as any
        return None


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in _WIDE:
        values = np.asarray(image).astype(np.int64)
        grey = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey[:, :, None], (*grey.shape, 3)))
    return np.array(image.convert("RGB"))
