"""Picture files of every kind that people have in their folders, and what Pillow alone makes of a file."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

ODD = Path(__file__).parent / "odd_images"
ORIENTATION = 0x0112
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Orientation to `Image.Transpose`."""


def smooth(seed: int = 0, height: int = 44, width: int = 60) -> NDArray[np.uint8]:
    """A picture that survives its encoding, uint8 ``[H, W, 3]``."""
    coarse = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[:height, :width])


def encoded(image: Image.Image | NDArray[Any], format_: str, **options: Any) -> bytes:
    """As Pillow writes it."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format_, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    """EXIF data of this orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def png_of_size(file: bytes, width: int, height: int) -> bytes:
    """A PNG file whose header tells another size, with the checksum that belongs to it."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + file[24:29]
    return file[:12] + header + zlib.crc32(header).to_bytes(4, "big") + file[33:]


def frame_at(file: bytes) -> int:
    """Where the frame's marker of a JPEG file lies: a walk over lengths alone."""
    at = 2
    if file[:2] != b"\xff\xd8":
        raise IndexError
    while file[at + 1] not in (0xC0, 0xC1, 0xC2, 0xC3):
        at += 1 if file[at + 1] == 0xFF else 2 + int.from_bytes(file[at + 2 : at + 4], "big")
    return at


def jpeg_of_size(file: bytes, width: int, height: int) -> bytes:
    """A JPEG file whose frame tells another size."""
    at = frame_at(file)
    return file[: at + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + file[at + 9 :]


def picture_files() -> dict[str, bytes]:
    """One file, at least, of each kind by a name that tells it."""
    pixels = smooth()
    colour = Image.fromarray(pixels)
    grey = colour.convert("L")
    wide = pixels[:, :, 0].astype(np.uint16) * 257
    palette = colour.quantize(16)
    files = {path.stem: path.read_bytes() for path in sorted(ODD.iterdir())}
    for sampling in ("444", "422", "420", "440", "411"):
        files[f"jpeg_{sampling}"] = bytes(simplejpeg.encode_jpeg(pixels, 90, "RGB", sampling))
    files |= {
        "jpeg_rgb": encoded(smooth(1, 130, 94), "JPEG", keep_rgb=True, subsampling=0),
        "jpeg_progressive": encoded(colour, "JPEG", progressive=True),
        "jpeg_restarts": encoded(colour, "JPEG", restart_marker_blocks=2, comment=b"a comment"),
        "jpeg_grey": encoded(grey, "JPEG"),
        "jpeg_cmyk": encoded(colour.convert("CMYK"), "JPEG"),
        "jpeg_mpo": encoded(colour, "MPO", save_all=True, append_images=[grey.convert("RGB")]),
        "jpeg_fill_bytes": files["jpeg_420"][:2] + b"\xff\xff" + files["jpeg_420"][2:],
        "jpeg_jfif_0": files["jpeg_420"].replace(b"JFIF\0\1", b"JFIF\0\0", 1),
        "jpeg_lossless_grey": bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels[:, :, 0]), lossless=True)),
        "jpeg_lossless_rgb": bytes(imagecodecs.jpeg8_encode(pixels, lossless=True)),
        "png_adam_exif_late": encoded(colour, "PNG", exif=turned(6)),
        "png_rgb16": bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 257)),
        "png_grey16": encoded(wide, "PNG"),
        "png_palette_alpha": encoded(palette, "PNG", transparency=bytes(range(0, 160, 10))),
        "webp_lossy": encoded(colour, "WEBP", exif=turned(8)),
        "webp_lossless": encoded(colour.convert("RGBA"), "WEBP", lossless=True),
        "webp_frames": encoded(colour, "WEBP", save_all=True, append_images=[colour.rotate(180)]),
        "avif": encoded(colour, "AVIF"),
        "gif": encoded(palette, "GIF", save_all=True, append_images=[palette.rotate(180)], transparency=3),
        "tiff": encoded(colour, "TIFF", exif=turned(5)),
        "tiff_packed": encoded(colour.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        "tiff_wide": encoded(wide, "TIFF"),
        "ico": encoded(colour, "ICO", sizes=[(32, 32)]),
        "jpeg2000": encoded(colour, "JPEG2000"),
    }
    for orientation in range(1, 9):
        files[f"jpeg_turned_{orientation}"] = encoded(colour, "JPEG", exif=turned(orientation))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        files[f"png_{mode}"] = encoded(colour.convert(mode), "PNG")
    for mode in ("1", "L", "P", "RGB"):
        files[f"bmp_{mode}"] = encoded(colour.convert(mode), "BMP")
    files["jpeg_41_40"] = with_byte(files["jpeg_420"], frame_at(files["jpeg_420"]) + 11, 0x41)
    return files


def with_byte(file: bytes, at: int, value: int) -> bytes:
    """The file with one byte replaced."""
    return file[:at] + bytes([value]) + file[at + 1 :]


def by_pillow(file: bytes) -> NDArray[np.uint8] | None:
    """A file's pixels by the rule of `loaders.images.kinds`, uint8 ``[H, W, 3]``; None: Pillow does not read it.

    Not for threads: warnings are silenced.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(file)) as image:
                image.load()
                try:
                    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
                except Exception:  # EXIF data that cannot be read
                    turn = None
                upright = image if turn is None else image.transpose(Image.Transpose(turn))
                if image.mode.startswith("I"):
                    upper = np.clip(np.asarray(upright).astype(np.int64), 0, 65535) >> 8
                    return np.repeat(upper.astype(np.uint8)[:, :, None], 3, 2)
                return np.asarray(upright.convert("RGB"))
        except Exception:  # whatever it refuses by
            return None
