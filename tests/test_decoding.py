"""Decoding: the same pixels from both libraries, every kind of bad file refused by name, threads that end."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from loaders import DecodeError, StoreError
from loaders.images.codecs import Codec, ImageDecoder, Library
from loaders.images.threads import default_threads
from tests.picture_kinds import frame_at, jpeg_of_size, picture_files, with_byte

HEIGHT, WIDTH = 12, 20
SHAPE = (3, HEIGHT, WIDTH)
LIBRARIES: list[Library] = ["fast", "pil"]
CODECS: list[Codec] = ["jpeg", "png"]


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A smooth colour picture, ``[H, W, C]``."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]


def encoded(codec: str, pixels: NDArray[np.uint8], mode: str = "RGB", **options: Any) -> bytes:
    """An image file as other programs write it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, codec.upper(), **options)
    return buffer.getvalue()


def opened(file: bytes, mode: str = "RGB") -> NDArray[np.uint8]:
    """What Pillow makes of it, ``[C, H, W]``."""
    pixels = np.asarray(Image.open(io.BytesIO(file)).convert(mode))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode(
    decoder: ImageDecoder,
    files: Sequence[Any],
    shape: tuple[int, int, int] = SHAPE,
    names: Sequence[str] = (),
    codec: Codec = "jpeg",
) -> torch.Tensor:
    """Decode files that are in memory."""
    name = names.__getitem__ if names else lambda i: f"image {i} of the batch"
    return decoder.decode(files.__getitem__, len(files), shape, name, codec)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("codec", CODECS)
def test_gives_the_pixels_of_pillow(library: Library, codec: Codec) -> None:
    files = [encoded(codec, picture(seed)) for seed in range(23)]
    for threads in (1, 2, 5):
        with ImageDecoder(threads, library) as decoder:
            images = decode(decoder, files, codec=codec)
        assert images.dtype == torch.uint8
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert np.array_equal(images.numpy(), np.stack([opened(file) for file in files])), threads


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_kind_of_jpeg(library: Library) -> None:
    kinds: list[dict[str, Any]] = [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 30}]
    with ImageDecoder(1, library) as decoder:
        for options in kinds:
            file = encoded("jpeg", picture(), **options)
            assert np.array_equal(decode(decoder, [file])[0], opened(file)), options


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_grey_jpeg_becomes_three_channels(library: Library) -> None:
    file = encoded("jpeg", picture(), "L")
    with ImageDecoder(1, library) as decoder:
        images = decode(decoder, [file, encoded("jpeg", picture())], SHAPE)
        assert torch.equal(images[0, 0], images[0, 2])
        assert np.array_equal(images[0], opened(file))


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_channel(library: Library) -> None:
    with ImageDecoder(1, library) as decoder:
        for codec in CODECS:
            grey = encoded(codec, picture(), "L")
            images = decode(decoder, [grey], (1, HEIGHT, WIDTH), codec=codec)
            assert np.array_equal(images[0], opened(grey, "L")), codec


def test_both_libraries_take_the_same_grey_from_a_colour_jpeg() -> None:
    files = [encoded("jpeg", picture(seed)) for seed in range(5)]
    with ImageDecoder(1, "fast") as fast, ImageDecoder(1, "pil") as pil:
        shape = (1, HEIGHT, WIDTH)
        assert torch.equal(decode(fast, files, shape), decode(pil, files, shape))


@pytest.mark.parametrize("library", LIBRARIES)
def test_takes_any_buffer(library: Library) -> None:
    with ImageDecoder(1, library) as decoder:
        for codec in CODECS:
            file = encoded(codec, picture())
            for buffer in (file, memoryview(file), bytearray(file), np.frombuffer(file, np.uint8)):
                assert np.array_equal(decode(decoder, [buffer], codec=codec)[0], opened(file)), (codec, type(buffer))


def test_no_files() -> None:
    with ImageDecoder(2) as decoder:
        assert decode(decoder, [], SHAPE).shape == (0, *SHAPE)


def damaged(codec: str) -> dict[str, bytes]:
    """Files that are not a picture of ``SHAPE``."""
    file = encoded(codec, picture())
    middle = len(file) // 2
    return {
        "empty": b"",
        "text": b"not an image at all, but quite as long as one" * 10,
        "half": file[:middle],
        "cut": file[:-30],
        "small": encoded(codec, picture(0, 8, 8)),
        "large": encoded(codec, picture(0, 64, 48)),
        "turned": encoded(codec, picture(0, WIDTH, HEIGHT)),
        "wider": encoded(codec, picture(0, HEIGHT, WIDTH + 1)),
        "other codec": encoded("jpeg" if codec == "png" else "png", picture()),
    }


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("codec", CODECS)
def test_refuses_a_bad_file_by_name(library: Library, codec: Codec, checked: bool) -> None:
    good = encoded(codec, picture())
    with ImageDecoder(1, library, checked=checked) as decoder:
        for damage, bad in damaged(codec).items():
            if library == "pil" and damage == "other codec":
                continue  # Pillow looks at the file, not at its name
            with pytest.raises(DecodeError) as caught:
                decode(decoder, [good, bad, good], SHAPE, ["a", "cats/b.img", "c"], codec)
            assert str(caught.value).startswith("cats/b.img is "), damage
            assert "\n" not in str(caught.value), damage
            assert np.array_equal(decode(decoder, [good], codec=codec)[0], opened(good)), damage


@pytest.mark.parametrize("library", LIBRARIES)
def test_refuses_cmyk_alpha_and_a_flipped_byte(library: Library) -> None:
    flipped = bytearray(encoded("png", picture()))
    flipped[len(flipped) // 2] ^= 0xFF
    with ImageDecoder(1, library) as decoder:
        for file in (bytes(flipped), encoded("png", picture(), "RGBA")):
            with pytest.raises(DecodeError, match="image 0 of the batch"):
                decode(decoder, [file], SHAPE, codec="png")
        with pytest.raises(DecodeError, match=r"^x\.jpg is a CMYK image.*RGB"):
            decode(decoder, [encoded("jpeg", picture(), "CMYK")], SHAPE, ["x.jpg"])


def test_an_error_in_any_thread_is_raised_and_leaves_the_pool_usable() -> None:
    files = [encoded("jpeg", picture(seed)) for seed in range(64)]
    with ImageDecoder(3) as decoder:
        for bad in (0, 30, 63, 30, 0):
            with pytest.raises(DecodeError, match=f"^image {bad} of"):
                decode(decoder, [*files[:bad], b"", *files[bad + 1 :]], SHAPE)
            assert np.array_equal(decode(decoder, files, SHAPE)[63], opened(files[63]))


@pytest.mark.parametrize("threads", [1, 4])
def test_what_fetching_raises_comes_through(threads: int) -> None:
    def fetch(i: int) -> bytes:
        if i == 7:
            raise StoreError("seven is missing")
        return encoded("jpeg", picture())

    with ImageDecoder(threads) as decoder, pytest.raises(StoreError, match="seven is missing"):
        decoder.decode(fetch, 9, SHAPE, str)


def test_files_are_fetched_once_each_by_several_threads() -> None:
    fetched: list[tuple[int, int]] = []
    both = threading.Barrier(2)

    def fetch(i: int) -> bytes:
        fetched.append((i, threading.get_ident()))
        if sum(thread == threading.get_ident() for _, thread in fetched) == 1:
            both.wait(20)  # neither can do the whole batch alone
        return encoded("jpeg", picture(i))

    with ImageDecoder(2) as decoder:
        images = decoder.decode(fetch, 50, SHAPE, str)
    assert sorted(i for i, _ in fetched) == list(range(50))
    assert len({thread for _, thread in fetched}) == 2
    assert np.array_equal(images[49], opened(encoded("jpeg", picture(49))))


def test_several_callers_share_the_threads() -> None:
    files = [encoded("png", picture(seed)) for seed in range(40)]
    expected = np.stack([opened(file) for file in files])

    def turn(number: int) -> bool:
        order = np.random.default_rng(number).integers(0, 40, 33)
        images = decode(decoder, [files[i] for i in order], SHAPE, codec="png")
        return np.array_equal(images.numpy(), expected[order])

    with ImageDecoder(3) as decoder, ThreadPoolExecutor(4) as callers:
        assert all(callers.map(turn, range(60)))


def test_threads_end() -> None:
    files = [encoded("jpeg", picture())] * 40
    before = threading.active_count()
    decoder = ImageDecoder(4)
    assert threading.active_count() == before
    for _ in range(30):
        decode(decoder, files, SHAPE)
    assert threading.active_count() <= before + 3
    decoder.close()
    decoder.close()
    assert threading.active_count() == before


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = default_threads()
    assert cores >= 1
    for workers, expected in [(1, cores), (cores, 1), (cores + 5, 1)]:
        info = SimpleNamespace(num_workers=workers)
        monkeypatch.setattr("torch.utils.data.get_worker_info", lambda info=info: info)
        assert default_threads() == expected
        with ImageDecoder() as decoder:
            assert decoder.spread.threads == expected
        with ImageDecoder(3) as decoder:
            assert decoder.spread.threads == 3


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("library", LIBRARIES)
def test_jpeg_that_the_fast_decoder_refuses_is_as_pillow_reads_it(library: Library, checked: bool) -> None:
    names = ("extraneous_before_eoi", "sampling_41_21", "sampling_441_64x64", "jpeg_jfif_0", "jpeg_lossless_grey")
    with ImageDecoder(1, library, checked=checked) as decoder:
        for name in (*names, "jpeg_rgb"):
            file = picture_files()[name]
            expected = opened(file)
            assert np.array_equal(decode(decoder, [file], expected.shape)[0], expected), name


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("library", LIBRARIES)
def test_no_more_is_decoded_than_there_is_room_for(library: Library, checked: bool) -> None:
    for file in (jpeg_of_size(encoded("jpeg", picture()), 9000, 8000), encoded("jpeg", picture(0, 4, 4000))):
        refused = pytest.raises(DecodeError, match=r"^x is \d+x\d+ pixels, not 20x12$")
        with ImageDecoder(1, library, checked=checked) as decoder, refused:
            decode(decoder, [file], SHAPE, ["x"])


def test_a_lossless_frame_that_is_none_is_refused_by_name() -> None:
    file = encoded("jpeg", picture())
    with ImageDecoder(1) as decoder, pytest.raises(DecodeError, match=r"^x is not a readable JPEG image"):
        decode(decoder, [with_byte(file, frame_at(file) + 1, 0xC3)], SHAPE, ["x"])
