"""Every kind of picture becomes RGB by the one rule, and what is none is refused in a sentence."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loaders import DecodeError, Kind
from loaders.images.kinds import decode_picture
from tests.picture_kinds import ODD, by_pillow, jpeg_of_size, picture_files, turned

RANDOM = np.random.default_rng(0)
SMOOTH = np.ascontiguousarray(RANDOM.integers(0, 256, (4, 5, 3), np.uint8).repeat(8, 0).repeat(8, 1))


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def colour() -> Image.Image:
    return Image.fromarray(SMOOTH)


def test_lossless_files_keep_every_pixel() -> None:
    for format_, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})):
        pixels, kind = decode_picture(encoded(colour(), format_, **options), "it")
        assert kind == Kind.FILE, format_
        assert np.array_equal(pixels, SMOOTH), format_


def test_a_plain_jpeg_is_known_as_such_and_looks_as_in_pillow() -> None:
    for mode, progressive in itertools.product(("RGB", "L"), (False, True)):
        data = encoded(colour().convert(mode), "JPEG", progressive=progressive)
        pixels, kind = decode_picture(data, "it")
        assert kind == Kind.JPEG
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(pixels, np.asarray(image.convert("RGB"))), (mode, progressive)


def test_exif_turns_the_picture() -> None:
    for orientation in range(1, 9):
        exif_turns_the_picture(orientation)


def exif_turns_the_picture(orientation: int) -> None:
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
    assert np.array_equal(pixels, turned), orientation


def test_of_16_bits_the_upper_byte_counts() -> None:
    values = RANDOM.integers(0, 65536, (6, 7)).astype(np.uint16)
    pixels, kind = decode_picture(encoded(Image.fromarray(values), "PNG"), "it")
    assert kind == Kind.FILE
    assert np.array_equal(pixels, np.repeat((values >> 8).astype(np.uint8)[:, :, None], 3, 2))


def test_other_colours_are_as_pillow_converts_them() -> None:
    for mode in ("L", "1", "P", "LA", "RGBA", "CMYK"):
        data = encoded(colour().convert(mode), "JPEG" if mode == "CMYK" else "PNG")
        pixels, kind = decode_picture(data, "it")
        assert kind == Kind.FILE, mode
        with Image.open(io.BytesIO(data)) as again:
            assert np.array_equal(pixels, np.asarray(again.convert("RGB"))), mode
        assert pixels.flags.c_contiguous, mode


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


def test_what_is_no_picture_is_a_sentence() -> None:
    for data in (b"", b"text", b"GIF89a", b"\xff\xd8\xff\xe0 not really"):
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


def test_every_kind_is_as_pillow_reads_it_or_a_sentence() -> None:
    for name, file in picture_files().items():
        expected = by_pillow(file)
        if expected is None:
            with pytest.raises(DecodeError, match=rf"^{name} is not a readable picture \([^\n]+\)$"):
                decode_picture(file, name)
        else:
            assert np.array_equal(decode_picture(file, name)[0], expected), name


ONLY_BY_PILLOW = ("extraneous_before_eoi", "sampling_41_21", "lossless_rgb_4x4", "jpeg_jfif_0", "jpeg_lossless_grey")


def test_what_the_fast_decoder_must_not_have_is_kept_for_pillow() -> None:
    for name in ONLY_BY_PILLOW:
        assert decode_picture(picture_files()[name], "it")[1] == Kind.FILE, name


def test_a_damaged_picture_under_another_ending_is_a_sentence() -> None:
    file = (ODD / "avif_damaged_37.jpg").read_bytes()
    with pytest.raises(DecodeError, match=r"^holiday\.jpg is not a readable picture \(Failed to decode frame 0: "):
        decode_picture(file, "holiday.jpg")


@given(tag=st.integers(0x100, 0x130), kind=st.integers(0, 20), orientation=st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_a_tag_of_a_wrong_type_beside_it_does_not_matter_to_the_orientation(
    tag: int, kind: int, orientation: int
) -> None:
    exif = turned(orientation)
    exif[0x10F] = "a maker of cameras"
    data = bytearray(encoded(colour(), "JPEG", exif=exif))
    entry = data.index(b"Exif\0\0") + 6 + 8 + 2  # the first of two, by the tags' numbers
    data[entry : entry + 8] = tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + (1).to_bytes(4, "big")
    wanted = by_pillow(bytes(data))
    assert wanted is not None
    assert np.array_equal(decode_picture(bytes(data), "it")[0], wanted)
    if tag < 0x112 and 1 < orientation < 9:
        assert (wanted.shape == SMOOTH.shape) == (orientation < 5)


def test_exif_that_cannot_be_read_turns_nothing() -> None:
    plain = encoded(colour(), "JPEG")
    for exif in (b"", b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
        pixels, kind = decode_picture(plain[:2] + segment + plain[2:], "it")
        assert kind == Kind.JPEG, exif
        assert np.array_equal(pixels, decode_picture(plain, "it")[0]), exif


def test_two_frames_of_which_the_second_is_small_do_not_hide_the_first() -> None:
    # Pillow would believe the second one, libjpeg refuses both; nothing may be decoded by the first one's size.
    large = jpeg_of_size(encoded(colour(), "JPEG"), 30000, 20000)
    at = large.index(b"\xff\xc0")
    frame = large[at : at + 19]
    small = frame[:5] + (8).to_bytes(2, "big") * 2 + frame[9:]
    with pytest.raises(DecodeError, match=r"^it is not a readable picture"):
        decode_picture(large[: at + 19] + small + large[at + 19 :], "it")


def test_a_lack_of_memory_is_not_the_file_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("loaders.images.kinds.simplejpeg.decode_jpeg", lacking)
    with pytest.raises(MemoryError):
        decode_picture(encoded(colour(), "JPEG"), "it")
