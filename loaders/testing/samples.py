"""Small splits in memory, with the batches that a format must return for them."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from loaders import Block, DatasetInfo, Intake, SplitInfo, StoredBlock
from loaders.core.options import Encoding
from loaders.images.crops import central_boxes, random_boxes, resize_into
from loaders.store.journal import Journal

CLASSES = 7
SIZE = 24
"""Side of the crops of images of many sizes."""
INFO = DatasetInfo(
    name="samples", official=False, synthetic=True, classes=tuple(f"class {i}" for i in range(CLASSES)), fingerprint="1"
)
SourceKind = Literal["raw", "jpeg", "ragged", "ragged-raw"]
"""Pixels or JPEG files of one size; image files or pixels of many sizes."""


class _Split:
    """Random labels of `CLASSES` classes, and blocks of 16 samples."""

    def __init__(self, count: int, encoding: Encoding, seed: int) -> None:
        self.encoding = encoding
        self.random = np.random.default_rng(seed)
        self.labels: NDArray[np.int64] = self.random.integers(0, CLASSES, count)

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of 16 samples."""
        end = len(self) if stop is None else stop
        for begin in range(start, end, 16):
            part = slice(begin, min(begin + 16, end))
            yield self._block(part, [f"{i}.jpg" for i in range(part.start, part.stop)])

    def _block(self, part: slice, names: list[str]) -> Block:
        raise NotImplementedError


class Samples(_Split):
    """A split of random images of one size, as pixels or as JPEG files, every fifth of which is grey."""

    def __init__(self, count: int, shape: tuple[int, int, int], encoding: Encoding = "raw", seed: int = 0) -> None:
        super().__init__(count, encoding, seed)
        self.shape = shape
        self.files: list[bytes] | None = None
        _, height, width = shape
        self.images: NDArray[np.uint8] = self.random.integers(0, 256, (count, *shape), dtype=np.uint8)
        if encoding == "jpeg":
            # Smooth images: JPEG compression would distort noise beyond recognition.
            coarse = self.random.integers(0, 256, (count, height // 4, width // 4, 3), dtype=np.uint8)
            smooth = coarse.repeat(4, axis=1).repeat(4, axis=2)
            self.files = [
                simplejpeg.encode_jpeg(np.ascontiguousarray(image[:, :, :1]), colorspace="GRAY", quality=90)
                if i % 5 == 4
                else simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=90)
                for i, image in enumerate(smooth)
            ]
            decoded = [simplejpeg.decode_jpeg(file) for file in self.files]
            self.images = np.stack(decoded).transpose(0, 3, 1, 2).copy()

    def _block(self, part: slice, names: list[str]) -> Block:
        if self.files is not None:
            return Block(None, self.files[part], self.labels[part], names)
        return Block(self.images[part], None, self.labels[part])

    def again(self, count: int, seed: int) -> Samples:
        """Other samples of the same kind."""
        return Samples(count, self.shape, self.encoding, seed)

    def expect(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of these samples."""
        return torch.from_numpy(self.images[list(indices)]), torch.from_numpy(self.labels[list(indices)])


class RaggedSamples(_Split):
    """A split of random pictures of 9 to 70 pixels a side: pixels, or files of several formats."""

    shape = None

    def __init__(self, count: int, encoding: Encoding = "jpeg", seed: int = 0) -> None:
        super().__init__(count, encoding, seed)
        self.images: list[NDArray[np.uint8]] = []
        self.files: list[bytes] = []
        for i in range(count):
            height, width = self.random.integers(9, 71, 2).tolist()
            coarse = self.random.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
            smooth = np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[:height, :width])
            if encoding == "jpeg":
                self.files.append(a_file(smooth, i))
            self.images.append(pixels_of(self.files[-1]) if self.files else smooth)

    def _block(self, part: slice, names: list[str]) -> Block:
        return Block(None, self.files[part] or None, self.labels[part], names, () if self.files else self.images[part])

    def again(self, count: int, seed: int) -> RaggedSamples:
        """Other samples of the same kind."""
        return RaggedSamples(count, self.encoding, seed)

    def expect(
        self, indices: Sequence[int], seed: int = 0, epoch: int = 0, train: bool = False, size: int = SIZE
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops and labels of these samples."""
        samples = np.arange(len(self))[list(indices)]
        sizes = np.array([self.images[i].shape[:2] for i in samples], np.int64).reshape(-1, 2)
        boxes = random_boxes(sizes, seed, epoch, samples) if train else central_boxes(sizes)
        out = np.empty((len(samples), size, size, 3), np.uint8)
        for row, (i, (top, left, height, width)) in enumerate(zip(samples, boxes.tolist(), strict=True)):
            resize_into(self.images[i][top : top + height, left : left + width], out[row])
        return torch.from_numpy(out).permute(0, 3, 1, 2), torch.from_numpy(self.labels[samples])


def a_file(pixels: NDArray[np.uint8], which: int) -> bytes:
    """The picture as a file of one of six common kinds."""
    if which % 6 == 0:
        return bytes(simplejpeg.encode_jpeg(pixels, 90))
    if which % 6 == 1:
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels[:, :, :1]), 90, "GRAY", "Gray"))
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    kinds: dict[int, tuple[Image.Image, str, dict[str, Any]]] = {
        2: (image, "JPEG", {"quality": 90, "exif": exif}),
        3: (image.quantize(16), "PNG", {}),
        4: (image.convert("CMYK"), "JPEG", {}),
        5: (image, "WEBP", {"quality": 90}),
    }
    picture, format_, options = kinds[which % 6]
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


def pixels_of(file: bytes) -> NDArray[np.uint8]:
    """Decoded by Pillow alone, as torchvision's ImageFolder and an EXIF transpose do."""
    with Image.open(io.BytesIO(file)) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def make_splits(source: SourceKind = "raw", shape: tuple[int, int, int] = (3, 16, 12)) -> dict[str, Any]:
    """A training split of 41 samples and a test split of 13."""
    encoding: Encoding = "jpeg" if source in ("jpeg", "ragged") else "raw"
    if source in ("raw", "jpeg"):
        return {"train": Samples(41, shape, encoding, seed=1), "test": Samples(13, shape, encoding, seed=2)}
    return {"train": RaggedSamples(41, encoding, seed=1), "test": RaggedSamples(13, encoding, seed=2)}


def take(split: Any, classes: int = CLASSES, name: str = "train") -> tuple[list[StoredBlock], SplitInfo]:
    """All blocks of a split as a format that stores pixels gets them, and its description in a manifest."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), Path(folder) / "journal", "")
        with contextlib.closing(journal):
            intake = Intake(name, split, classes, False, lambda *_: None, "fail", journal)
            return list(intake.blocks()), intake.info
