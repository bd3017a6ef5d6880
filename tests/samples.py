"""Small splits in memory, with what a loader must give back for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from loaders import Block, DatasetInfo, Split

CLASSES = 7
INFO = DatasetInfo(
    name="samples", official=False, synthetic=True, classes=tuple(f"class {i}" for i in range(CLASSES)), fingerprint="1"
)


class Samples:
    """A split of random images, as pixels or as JPEG files (every fifth one grey)."""

    def __init__(
        self, count: int, shape: tuple[int, int, int], encoding: Literal["raw", "jpeg"] = "raw", seed: int = 0
    ) -> None:
        random = np.random.default_rng(seed)
        self.encoding = encoding
        self.shape = shape
        self.labels: NDArray[np.int64] = random.integers(0, CLASSES, count)
        self.files: list[bytes] | None = None
        _, height, width = shape
        self.images: NDArray[np.uint8] = random.integers(0, 256, (count, *shape), dtype=np.uint8)
        if encoding == "jpeg":
            # Smooth pictures: noise would not survive the encoding in an interesting way.
            coarse = random.integers(0, 256, (count, height // 4, width // 4, 3), dtype=np.uint8)
            smooth = coarse.repeat(4, axis=1).repeat(4, axis=2)
            self.files = [
                simplejpeg.encode_jpeg(np.ascontiguousarray(image[:, :, :1]), colorspace="GRAY", quality=90)
                if i % 5 == 4
                else simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=90)
                for i, image in enumerate(smooth)
            ]
            decoded = [simplejpeg.decode_jpeg(file) for file in self.files]
            self.images = np.stack(decoded).transpose(0, 3, 1, 2).copy()

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of 16 samples."""
        end = len(self) if stop is None else stop
        for begin in range(start, end, 16):
            part = slice(begin, min(begin + 16, end))
            if self.files is not None:
                names = [f"{i}.jpg" for i in range(part.start, part.stop)]
                yield Block(None, self.files[part], self.labels[part], names)
            else:
                yield Block(self.images[part], None, self.labels[part])

    @property
    def batch_shape(self) -> tuple[int, int, int]:
        """Of each image in a batch."""
        return self.shape

    def again(self, count: int, seed: int) -> Samples:
        """Others of the same kind."""
        return Samples(count, self.shape, self.encoding, seed)

    def expect(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of these samples."""
        return torch.from_numpy(self.images[indices]), torch.from_numpy(self.labels[indices])


Kind = Literal["raw", "jpeg", "ragged", "ragged-raw"]


def any_splits(kind: Kind) -> dict[str, Any]:
    """As `make_splits`; "ragged" are files of pictures of many sizes, "ragged-raw" such pictures' pixels."""
    from tests.ragged_samples import RaggedSamples

    if kind in ("raw", "jpeg"):
        return {**make_splits(kind)}
    encoding: Literal["raw", "jpeg"] = "jpeg" if kind == "ragged" else "raw"
    return {"train": RaggedSamples(41, encoding, seed=1), "test": RaggedSamples(13, encoding, seed=2)}


def make_splits(
    encoding: Literal["raw", "jpeg"] = "raw", shape: tuple[int, int, int] = (3, 16, 12)
) -> dict[str, Samples]:
    """A training split of 41 samples and a test split of 13."""
    return {"train": Samples(41, shape, encoding, seed=1), "test": Samples(13, shape, encoding, seed=2)}


def as_splits(samples: dict[str, Samples]) -> dict[str, Split]:
    """The same, as ``prepare`` takes them."""
    return dict(samples)
