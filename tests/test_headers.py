"""Headers tell a size only where every decoder agrees with it: what is not sure is no size."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loaders import DecodeError
from loaders.images.headers import jpeg_size, png_size, require
from tests.picture_kinds import encoded, frame_at, jpeg_of_size, picture_files, png_of_size, smooth, with_byte

FILES = picture_files()
BY_DCT = [name for name, file in FILES.items() if file[:2] == b"\xff\xd8" and file[frame_at(file) + 1] < 0xC3]
PLAIN = FILES["jpeg_420"]


def test_only_jpeg_coded_by_dct_has_a_size() -> None:
    for name, file in FILES.items():
        with Image.open(io.BytesIO(file)) as image:
            known = name in BY_DCT and image.mode != "CMYK"
            assert jpeg_size(file) == ((image.height, image.width) if known else None), name


def test_takes_any_buffer() -> None:
    for data in (PLAIN, memoryview(PLAIN), bytearray(PLAIN), np.frombuffer(PLAIN, np.uint8)):
        assert jpeg_size(data) == (44, 60)
    png = encoded(smooth(), "PNG")
    for data in (png, memoryview(png), bytearray(png), np.frombuffer(png, np.uint8)):
        assert png_size(data) == (44, 60)


@given(
    st.sampled_from(BY_DCT), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=3), st.integers()
)
@settings(max_examples=300, deadline=None)
def test_never_tells_another_size_or_frame_than_libjpeg(name: str, bytes_: list[tuple[int, int]], cut: int) -> None:
    file = FILES[name]
    for at, value in bytes_:
        file = with_byte(file, at % len(file), value)
    file = file[: cut % (len(file) + 1)] if cut % 3 == 0 else file
    found = jpeg_size(file)
    try:
        wanted = simplejpeg.decode_jpeg_header(file)[:2]
    except (ValueError, KeyError):  # a size that is told of a file that libjpeg refuses does no harm
        return
    assert found in (wanted, None)


def test_other_markers_are_not_sure() -> None:
    for marker in (0x00, 0x01, 0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xD0, 0xD8, 0xD9, 0xDA):
        assert jpeg_size(with_byte(PLAIN, frame_at(PLAIN) + 1, marker)) is None, marker
        assert jpeg_size(with_byte(PLAIN, 3, marker)) is None, marker


def test_bytes_before_a_marker_are_not_sure() -> None:
    at = frame_at(PLAIN)
    assert jpeg_size(PLAIN[:at] + b"\0" + PLAIN[at:]) is None
    assert jpeg_size(PLAIN[:at] + b"\xff" + PLAIN[at:]) == (44, 60)  # fills up


def test_a_header_that_is_cut_has_no_size() -> None:
    for length in range(frame_at(PLAIN) + 10):
        assert jpeg_size(PLAIN[:length]) is None, length


def test_twelve_bits_no_height_and_four_components_have_no_size() -> None:
    at = frame_at(PLAIN)
    assert jpeg_size(with_byte(PLAIN, at + 4, 12)) is None
    assert jpeg_size(with_byte(PLAIN, at + 9, 4)) is None
    assert jpeg_size(jpeg_of_size(PLAIN, 60, 0)) is None
    assert jpeg_size(jpeg_of_size(PLAIN, 30000, 20000)) == (20000, 30000)


def test_png() -> None:
    assert png_size(png_of_size(encoded(smooth(), "PNG"), 30000, 20000)) == (20000, 30000)
    for name in ("png_L", "png_RGBA", "png_P", "png_rgb16", "jpeg_420"):
        assert png_size(FILES[name]) is None
    assert png_size(b"") is None


def test_what_is_required() -> None:
    require((3, 4), 3, 4)
    with pytest.raises(DecodeError, match="it is 4x3 pixels instead of 3x4"):
        require((3, 4), 4, 3)
    with pytest.raises(DecodeError, match="its header is not that of the image that was stored"):
        require(None, 4, 3)
