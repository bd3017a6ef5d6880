"""Reads the size of an image from the header of a JPEG or PNG file, before it is decoded.

JPEG markers are followed as in libjpeg. Where libjpeg would skip bytes or warn, or if a frame is not coded by DCT, the
size is unknown. libjpeg-turbo 3.1.2 writes beyond the memory of a scaled result if the frame is lossless (SOF3), so
only files of known size may be decoded at a scale.
"""

from __future__ import annotations

import struct
from typing import Any

from loaders.core.errors import DecodeError

_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive DCT with Huffman codes."""
_SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Segments with a length before the frame: tables, restart interval, comments, application data."""
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_RGB8 = b"\x08\x02"


def jpeg_size(data: Any) -> tuple[int, int] | None:
    """Height and width of a whole JPEG file of 8 bits, one or three components, coded by DCT; None: not certain."""
    view = memoryview(data)
    end = len(view)
    if end < 4 or view[0] != 0xFF or view[1] != 0xD8:
        return None
    at = 2
    while at + 4 <= end and view[at] == 0xFF:
        marker = view[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        length = view[at + 2] << 8 | view[at + 3]
        if marker in _FRAMES:
            return _frame(view, at, length)
        if marker not in _SEGMENTS or length < 2:
            return None
        at += 2 + length
    return None


def _frame(view: memoryview, at: int, length: int) -> tuple[int, int] | None:
    if at + 10 > len(view):
        return None
    bits, height, width, components = struct.unpack_from(">BHHB", view, at + 4)
    plain = bits == 8 and components in (1, 3) and length == 8 + 3 * components and height and width
    return (height, width) if plain else None


def png_size(data: Any) -> tuple[int, int] | None:
    """Height and width of a whole PNG file of 8-bit RGB, such as a store's own; None: another file."""
    header = bytes(data[:26])
    if header[:16] != _PNG or header[24:] != _RGB8:
        return None
    width, height = struct.unpack_from(">II", header, 16)
    return height, width


def require(size: tuple[int, int] | None, height: int, width: int) -> None:
    """Raise DecodeError unless the size in a header is that of the stored image, in pixels."""
    if size is None:
        raise DecodeError("its header is not that of the image that was stored")
    if size != (height, width):
        raise DecodeError(f"it is {size[1]}x{size[0]} pixels instead of {width}x{height}")
