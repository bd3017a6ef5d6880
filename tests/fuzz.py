"""Damaged picture files of every kind: each gives Pillow's pixels, or one sentence. Run by ``scripts/fuzz``.

Files are damaged before they are stored, and again after it. All of it happens in child processes in which glibc checks
its heap (``MALLOC_CHECK_=3``), so that a write beyond a buffer is a signal; a child says which file it is at.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loaders import BatchRequest, DecodeError, DecodingOptions, Kind, Payloads
from loaders.formats.filesystem import FilesystemOptions
from loaders.images.codecs import Codec, ImageDecoder, Library
from loaders.images.crops import random_boxes, resize_into
from loaders.images.decode import Decoder
from loaders.images.kinds import decode_picture
from tests.picture_kinds import by_pillow, frame_at, jpeg_of_size, picture_files, png_of_size

BATCH, SIZE, MOST_PIXELS = 100, 6, 2_000_000
MARKERS = (0x00, 0x01, *range(0xC0, 0xE3), 0xED, 0xEE, 0xFE, 0xFF)
LIBRARIES: tuple[Library, ...] = ("fast", "pil")
NAME = "the name"
COMMAND = [sys.executable, "-W", "always", "-m", "tests.fuzz"]
OF_LIBTIFF = re.compile(r"(tempfile\.tif|\w+Decode): ")
"""libtiff, inside Pillow, writes to the process's stderr; nothing in Python can keep it quiet."""


class FaultError(Exception):
    """What must not happen."""


def damaged(random: np.random.Generator, file: bytes, others: list[bytes]) -> bytes:
    """A file after one accident or a few."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        ways = (_flipped, _early_bytes, _cut, _inserted, _spliced, _other_marker, _other_size, _lossless)
        file = ways[random.integers(len(ways))](random, file, others)
    return file


def _flipped(random: np.random.Generator, file: bytes, _: list[bytes]) -> bytes:
    changed = bytearray(file)
    for bit in random.integers(0, 8 * len(file), random.integers(1, 9)).tolist() if file else ():
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _early_bytes(random: np.random.Generator, file: bytes, _: list[bytes]) -> bytes:
    changed = bytearray(file)
    for at in random.integers(0, min(len(file), 200), random.integers(1, 4)).tolist() if file else ():
        changed[at] = random.integers(256)
    return bytes(changed)


def _cut(random: np.random.Generator, file: bytes, _: list[bytes]) -> bytes:
    return file[: random.integers(len(file) + 1)]


def _inserted(random: np.random.Generator, file: bytes, _: list[bytes]) -> bytes:
    at = int(random.integers(len(file) + 1))
    return file[:at] + bytes(random.choice([0, 0xFF, 0x41], random.integers(1, 60)).tolist()) + file[at:]


def _spliced(random: np.random.Generator, file: bytes, others: list[bytes]) -> bytes:
    other = others[random.integers(len(others))]
    return file[: random.integers(len(file) + 1)] + other[random.integers(len(other) + 1) :]


def _other_marker(random: np.random.Generator, file: bytes, _: list[bytes]) -> bytes:
    places = [i for i in range(len(file) - 1) if file[i] == 0xFF]
    if not places:
        return file
    at = places[random.integers(min(len(places), 12))]
    return file[: at + 1] + bytes([MARKERS[random.integers(len(MARKERS))]]) + file[at + 2 :]


def _other_size(random: np.random.Generator, file: bytes, _: list[bytes]) -> bytes:
    width, height = random.choice([0, 1, 7, 44, 60, 61, 500, 30000, 65535], 2).tolist()
    if file[:4] == b"\x89PNG" and len(file) > 33:
        return png_of_size(file, width, height)
    with contextlib.suppress(IndexError):  # it has lost its frame
        if file[:2] == b"\xff\xd8":
            return jpeg_of_size(file, width, height)
    places = [i for i in range(min(len(file) - 1, 400)) if file[i] in (44, 43, 59, 60)]
    at = places[random.integers(len(places))] if places else 0
    return file[:at] + int(width).to_bytes(2, "little") + file[at + 2 :]


def _lossless(random: np.random.Generator, file: bytes, _: list[bytes]) -> bytes:
    """Three bytes of an ordinary JPEG file that make a lossless one of it."""
    changed = bytearray(file)
    with contextlib.suppress(IndexError):  # it is none, or has lost its frame or its scan
        frame, scan = frame_at(file), file.index(b"\xff\xda") if b"\xff\xda" in file else len(file)
        changed[frame + 1] = 0xC3
        parameters = scan + 5 + 2 * file[scan + 4]
        changed[parameters : parameters + 2] = (1, 0)
    return bytes(changed)


def case(seed: int, number: int, kinds: list[bytes]) -> str:
    """Try one file.

    Returns:
        What became of it.

    Raises:
        FaultError: that of a rule of this project; anything else that is raised is a fault as well.
    """
    random = np.random.default_rng((seed, number))
    whole = kinds[number % len(kinds)]
    file = whole if random.random() < 0.3 else damaged(random, whole, kinds)
    wanted = by_pillow(file)
    try:
        pixels, kind = decode_picture(file, NAME)
    except DecodeError as error:
        _check_sentence(error)
        if NAME not in str(error):
            raise FaultError(f"no name in {error}") from None
        if wanted is not None and "Pillow thinks safe" not in str(error) and "its header tells" not in str(error):
            raise FaultError(f"refused though Pillow reads it: {error}") from None
        _at_one_size(random, file, (3, 44, 60), None)
        return "refused"
    if wanted is None or not np.array_equal(pixels, wanted):
        raise FaultError(f"{kind.name}: other pixels than Pillow's")
    _read(file, kind, pixels, pixels)
    upright = kind == Kind.JPEG
    _at_one_size(random, file, (3, *pixels.shape[:2]), pixels if upright else None)
    way = random.random()
    other = damaged(random, file, kinds) if way < 0.5 else kinds[random.integers(len(kinds))]
    if way > 0.75:  # what a decoder that trusts the store dies of
        other = _lossless(random, file, kinds)
    read = _read(other, kind, pixels, None)
    _at_one_size(random, other, (3, *pixels.shape[:2]), None)
    png = bytes(imagecodecs.spng_encode(pixels))
    _read(png, Kind.PNG, pixels, pixels)
    _read(damaged(random, png, kinds), Kind.PNG, pixels, None)
    return f"stored as {kind.name}, " + ("then read at least once" if read else "then refused")


def _read(file: bytes, kind: Kind, stored: NDArray[np.uint8], wanted: NDArray[np.uint8] | None) -> bool:
    """Read a file in place of one that was stored, in every way; gives whether any way gave pixels."""
    height, width = stored.shape[:2]
    sizes = np.array([[height, width, kind]], np.int32)
    payloads = Payloads([np.frombuffer(file, np.uint8)].__getitem__)
    request = BatchRequest(np.zeros(1, np.int64), 1, 0, SIZE, train=True)
    ways = [(library, scaled) for library in LIBRARIES for scaled in (False, True) if not (library == "pil" and scaled)]
    found = False
    for library, scaled in ways:
        with contextlib.closing(Decoder(None, sizes, "of it", "mend it", _options(library, scaled))) as reader:
            try:
                (image,) = reader.each(payloads, request.indices, np.array)
                crop = reader.batch(payloads, request, SIZE)[0].permute(1, 2, 0).numpy()
            except DecodeError as error:
                _check_sentence(error)
                if wanted is not None:
                    raise FaultError(f"{kind.name} by {library}, scaled {scaled}: {error}") from None
                continue
        found = True
        if image.shape != stored.shape or image.dtype != np.uint8 or crop.shape != (SIZE, SIZE, 3):
            raise FaultError(f"{kind.name} by {library}: {image.dtype} {image.shape} instead of {stored.shape}")
        if wanted is not None and not np.array_equal(image, wanted):
            raise FaultError(f"{kind.name} by {library}: other pixels than were stored")
        if wanted is not None and not scaled and not np.array_equal(crop, _crop(wanted)):
            raise FaultError(f"{kind.name} by {library}: another crop than Pillow's pixels give")
    return found


def _options(library: Library, scaled: bool) -> DecodingOptions:
    return (
        FilesystemOptions(threads=1, decoder="pil") if library == "pil" else DecodingOptions(threads=1, scaled=scaled)
    )


def _crop(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    sizes = np.array([pixels.shape[:2]], np.int64)
    top, left, height, width = random_boxes(sizes, 1, 0, np.zeros(1, np.int64))[0].tolist()
    out = np.empty((SIZE, SIZE, 3), np.uint8)
    resize_into(pixels[top : top + height, left : left + width], out)
    return out


def _at_one_size(
    random: np.random.Generator, file: bytes, shape: tuple[int, int, int], wanted: NDArray[np.uint8] | None
) -> None:
    """Decode a file as one of a store of images of one size."""
    checked = bool(random.integers(2))
    codecs: tuple[Codec, ...] = ("jpeg",) if wanted is not None else ("jpeg", "png")
    for library in LIBRARIES:
        for codec in codecs:
            with ImageDecoder(1, library, checked=checked) as decoder:
                try:
                    image = decoder.decode(lambda _: file, 1, shape, lambda _: NAME, codec)[0].permute(1, 2, 0).numpy()
                except DecodeError as error:
                    _check_sentence(error)
                    if wanted is not None or NAME not in str(error):
                        raise FaultError(f"one size, {codec} by {library}: {error}") from None
                    continue
            if wanted is not None and not np.array_equal(image, wanted):
                raise FaultError(f"one size, {codec} by {library}: other pixels than Pillow's")


def _check_sentence(error: DecodeError) -> None:
    if " at 0x" in str(error) or "\n" in str(error):
        raise FaultError(f"no plain sentence: {error}")


def child(seed: int, numbers: range) -> None:
    """Try these files, telling of each before and after."""
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    kinds = list(picture_files().values())
    for number in numbers:
        print("at", number, flush=True)  # noqa: T201 - read by the parent
        try:
            outcome = case(seed, number, kinds)
        except Exception as error:  # any error is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            outcome = f"FAULT {type(error).__name__}: {error} ({where.filename}:{where.lineno})".replace("\n", " ")
        print("was", outcome, flush=True)  # noqa: T201


def trial(seed: int, first: int, count: int) -> Iterator[tuple[int, str]]:
    """Each file's number and what became of it; what ended a child is the fault of the file that it was at."""
    start, end = first, first + count
    while start < end:
        stop = min(start + BATCH, end)
        command = [*COMMAND, f"--seed={seed}", f"--first={start}", f"--count={stop - start}", "--child"]
        environment = {**os.environ, "MALLOC_CHECK_": "3", "LD_PRELOAD": "libc_malloc_debug.so.0"}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", env=environment)
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        results = [text for what, _, text in lines if what == "was"]
        yield from enumerate(results, start)
        start += len(results)
        if done.returncode or start < stop:
            yield start, f"FAULT the process ended with {done.returncode}: {done.stderr.strip()[-500:]}"
            start += 1
        elif said := [line for line in done.stderr.splitlines() if not OF_LIBTIFF.match(line)]:
            yield (
                stop - 1,
                f"FAULT files {stop - len(results)} to {stop - 1} wrote to stderr: {' | '.join(said)[-500:]}",
            )


def main() -> int:
    """Try so many files; 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all accidents (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first file (default: %(default)s)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    if given.child:
        child(given.seed, range(given.first, given.first + given.count))
        return 0
    outcomes: Counter[str] = Counter()
    for number, outcome in trial(given.seed, given.first, given.count):
        fault = outcome.startswith("FAULT")
        outcomes["faults" if fault else outcome] += 1
        if fault:
            print(f"file {number} of seed {given.seed}: {outcome}", flush=True)  # noqa: T201 - its output
    for outcome, times in sorted(outcomes.items()):
        print(f"{times:6,} {outcome}")  # noqa: T201
    print(f"{given.count:,} files of seed {given.seed}: {outcomes['faults']:,} faults")  # noqa: T201
    return 1 if outcomes["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
