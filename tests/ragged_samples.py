"""Small splits of images of many sizes, with what a loader must give back for them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image

from loaders import Block
from loaders.images.crops import central_boxes, random_boxes, resize_into
from tests.samples import CLASSES

SIZE = 24


class RaggedSamples:
    """A split of random pictures of 9 to 70 pixels a side: pixels, or files of several formats."""

    shape = None

    def __init__(self, count: int, encoding: Literal["raw", "jpeg"] = "jpeg", seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.encoding: Literal["raw", "jpeg"] = encoding
        self.labels: NDArray[np.int64] = random.integers(0, CLASSES, count)
        self.images: list[NDArray[np.uint8]] = []
        self.files: list[bytes] = []
        for i in range(count):
            height, width = random.integers(9, 71, 2).tolist()
            coarse = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
            smooth = np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[:height, :width])
            if encoding == "raw":
                self.images.append(smooth)
                continue
            self.files.append(a_file(smooth, i))
            self.images.append(pixels_of(self.files[-1]))

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of 16 samples."""
        end = len(self) if stop is None else stop
        for begin in range(start, end, 16):
            part = slice(begin, min(begin + 16, end))
            names = [f"{i}.jpg" for i in range(part.start, part.stop)]
            pictures = () if self.files else self.images[part]
            yield Block(None, self.files[part] or None, self.labels[part], names, pictures)

    @property
    def batch_shape(self) -> tuple[int, int, int]:
        """Of each image in a batch."""
        return 3, SIZE, SIZE

    def again(self, count: int, seed: int) -> RaggedSamples:
        """Others of the same kind."""
        return RaggedSamples(count, self.encoding, seed)

    def expect(
        self, indices: Sequence[int], seed: int = 0, epoch: int = 0, train: bool = False, size: int = SIZE
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops and labels of these samples."""
        wanted = np.arange(len(self))[list(indices)]
        sizes = np.array([self.images[i].shape[:2] for i in wanted], np.int64).reshape(-1, 2)
        boxes = random_boxes(sizes, seed, epoch, wanted) if train else central_boxes(sizes)
        out = np.empty((len(wanted), size, size, 3), np.uint8)
        for place, (i, (top, left, height, width)) in enumerate(zip(wanted, boxes.tolist(), strict=True)):
            resize_into(self.images[i][top : top + height, left : left + width], out[place])
        return torch.from_numpy(out).permute(0, 3, 1, 2), torch.from_numpy(self.labels[wanted])


def a_file(pixels: NDArray[np.uint8], which: int) -> bytes:
    """The picture in one of the formats that people have."""
    if which % 6 == 0:
        return bytes(simplejpeg.encode_jpeg(pixels, 90))
    if which % 6 == 1:
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels[:, :, :1]), 90, "GRAY", "Gray"))
    image, options = Image.fromarray(pixels), dict[str, Any]()
    if which % 6 == 2:
        exif = Image.Exif()
        exif[0x0112] = 6
        format_, options = "JPEG", {"quality": 90, "exif": exif}
    elif which % 6 == 3:
        format_, image = "PNG", image.quantize(16)
    elif which % 6 == 4:
        format_, image = "JPEG", image.convert("CMYK")
    else:
        format_, options = "WEBP", {"quality": 90}
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def pixels_of(file: bytes) -> NDArray[np.uint8]:
    """By Pillow alone, as torchvision's ImageFolder and an EXIF transpose give it."""
    from PIL import ImageOps

    with Image.open(io.BytesIO(file)) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def write_folder(samples: RaggedSamples, root: Path) -> None:
    """The files in a folder for each class."""
    for i, (file, label) in enumerate(zip(samples.files, samples.labels.tolist(), strict=True)):
        place = root / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.jpg").write_bytes(file)
