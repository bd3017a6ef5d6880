"""Every kind of picture becomes RGB by the one rule, and what is none is refused in a sentence."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loaders import DecodeError
from loaders.pictures import Kind, decode_picture

RANDOM = np.random.default_rng(0)
SMOOTH = np.ascontiguousarray(RANDOM.integers(0, 256, (4, 5, 3), np.uint8).repeat(8, 0).repeat(8, 1))


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def colour() -> Image.Image:
    return Image.fromarray(SMOOTH)


@pytest.mark.parametrize("format_", ["PNG", "BMP"])
def test_lossless_files_keep_every_pixel(format_: str) -> None:
    pixels, kind = decode_picture(encoded(colour(), format_), "it")
    assert kind == Kind.FILE
    assert np.array_equal(pixels, SMOOTH)


def test_webp() -> None:
    pixels, kind = decode_picture(encoded(colour(), "WEBP", lossless=True), "it")
    assert kind == Kind.FILE
    assert np.array_equal(pixels, SMOOTH)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_plain_jpeg_is_known_as_such_and_looks_as_in_pillow(mode: str, progressive: bool) -> None:
    data = encoded(colour().convert(mode), "JPEG", progressive=progressive)
    pixels, kind = decode_picture(data, "it")
    assert kind == Kind.JPEG
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(colour(), "JPEG", exif=exif, quality=95)
    pixels, kind = decode_picture(data, "it")
    assert kind == (Kind.JPEG if orientation == 1 else Kind.FILE)
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(image)
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[:, ::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[::-1],
    }[orientation]
    assert np.array_equal(pixels, turned)


def test_of_16_bits_the_upper_byte_counts() -> None:
    values = RANDOM.integers(0, 65536, (6, 7)).astype(np.uint16)
    pixels, kind = decode_picture(encoded(Image.fromarray(values), "PNG"), "it")
    assert kind == Kind.FILE
    assert np.array_equal(pixels, np.repeat((values >> 8).astype(np.uint8)[:, :, None], 3, 2))


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_other_colours_are_as_pillow_converts_them(mode: str) -> None:
    image = colour().convert(mode)
    format_ = "JPEG" if mode == "CMYK" else "PNG"
    data = encoded(image, format_)
    pixels, kind = decode_picture(data, "it")
    assert kind == Kind.FILE
    with Image.open(io.BytesIO(data)) as again:
        assert np.array_equal(pixels, np.asarray(again.convert("RGB")))
    assert pixels.flags.c_contiguous


def test_transparency_is_dropped() -> None:
    image = colour().convert("RGBA")
    image.putalpha(0)
    pixels, _ = decode_picture(encoded(image, "PNG"), "it")
    assert np.array_equal(pixels, SMOOTH)


def test_of_several_frames_the_first() -> None:
    frames = [Image.fromarray(np.full((3, 4, 3), value, np.uint8)) for value in (10, 200)]
    data = encoded(frames[0], "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    assert (decode_picture(data, "it")[0] == 10).all()


@given(cut=st.integers(0, 300))
@settings(max_examples=40, deadline=None)
def test_a_damaged_file_is_a_sentence(cut: int) -> None:
    data = encoded(colour(), "PNG")
    with pytest.raises(DecodeError, match=r"^holiday is not a readable picture"):
        decode_picture(data[: min(cut, len(data) // 2)], "holiday")


@pytest.mark.parametrize("data", [b"", b"text", b"GIF89a", b"\xff\xd8\xff\xe0 not really"])
def test_what_is_no_picture_is_a_sentence(data: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^it is not a readable picture"):
        decode_picture(data, "it")


def test_too_large_a_picture_is_a_sentence() -> None:
    # A header that announces more pixels than Pillow allows; there is no need for the pixels themselves.
    data = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(DecodeError, match=r"it is not a readable picture"):
        decode_picture(bytes(data), "it")
