"""Pillow's warnings stay silent in every thread, its limit is an error, and what it raises becomes plain words."""

from __future__ import annotations

import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, UnidentifiedImageError

from loaders import DecodeError
from loaders.images.kinds import decode_picture
from loaders.images.pillow import open_image, reason
from tests.picture_kinds import encoded, picture_files, png_of_size, smooth

PALETTE = picture_files()["png_palette_alpha"]


def test_warnings_are_silent_whatever_filters_come_and_go_in_other_threads() -> None:
    def decode(_: int) -> None:
        decode_picture(PALETTE, "it")

    with warnings.catch_warnings(record=True) as caught:
        with open_image(PALETTE) as image, warnings.catch_warnings(record=True) as raw:
            warnings.simplefilter("always")
            image.convert("RGB")
            assert len(raw) == 1  # Pillow does warn of this file
        warnings.simplefilter("error")
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(decode, range(40)))
    assert not caught


def test_other_warnings_are_not_silenced() -> None:
    open_image(PALETTE).close()
    with pytest.warns(UserWarning, match="of our own"):
        warnings.warn("of our own", stacklevel=1)


def test_the_limit_is_an_error_and_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 44 * 60)
    open_image(encoded(smooth(), "PNG")).close()
    for format_ in ("PNG", "JPEG", "WEBP", "BMP"):
        with pytest.raises(DecodeError, match=r"^big is not a readable picture \(61x44 are more pixels than the 2,640"):
            decode_picture(encoded(smooth(0, 44, 61), format_), "big")
        with pytest.raises(DecodeError, match=r"^big is not a readable picture \(more than twice the 2,640 pixels"):
            decode_picture(encoded(smooth(0, 99, 99), format_), "big")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    open_image(png_of_size(encoded(smooth(), "PNG"), 30000, 20000)).close()


def test_a_size_is_compared_before_anything_is_decoded() -> None:
    open_image(encoded(smooth(), "PNG"), (44, 60)).close()
    open_image(encoded(smooth(), "PNG"), (60, 44)).close()  # it may yet be turned
    with pytest.raises(DecodeError, match="it is 9000x8000 pixels instead of 60x44"):
        open_image(png_of_size(encoded(smooth(), "PNG"), 9000, 8000), (44, 60))


def test_plain_words() -> None:
    cases: list[tuple[Exception, str]] = [
        (
            UnidentifiedImageError("cannot identify image file <_io.BytesIO object at 0x7f>"),
            "not an image that Pillow knows",
        ),
        (ValueError("bad <PIL.Image object at 0x7F12> there\nand more"), "bad the file there"),
        (KeyError(6), "KeyError 6"),
        (EOFError(), "EOFError"),
        (struct.error("unpack requires a buffer of 4 bytes"), "unpack requires a buffer of 4 bytes"),
    ]
    for error, words in cases:
        assert reason(error) == words
    with pytest.raises(MemoryError):
        reason(MemoryError())
