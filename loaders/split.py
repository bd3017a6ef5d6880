"""What a source hands to ``prepare``: splits that stream blocks, checked and hashed on their way."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from loaders.decoding import ImageDecoder
from loaders.errors import LoaderError

Progress = Callable[[int], None]
"""Called with the number of samples done since the last call."""


class Block(NamedTuple):
    """Some consecutive samples as the source has them: pixels or JPEG files, one of the two.

    Attributes:
        images: uint8 ``[n, C, H, W]``, or None where the source has files.
        files: the original encoded bytes of each image, or None where the source has pixels.
        labels: int64 ``[n]``.
        names: how the source calls each file, for error messages; empty where it has no names.
    """

    images: NDArray[np.uint8] | None
    files: Sequence[bytes] | None
    labels: NDArray[np.int64]
    names: Sequence[str] = ()


class Split(Protocol):
    """One split of a dataset, streamed; never wholly in memory."""

    @property
    def encoding(self) -> Literal["raw", "jpeg"]:
        """Whether ``blocks`` yields pixels or JPEG files."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of the decoded images."""
        ...

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[Block]:
        """All samples in their fixed order; each call starts anew."""
        ...


class DatasetInfo(BaseModel):
    """Which images a store holds.

    Attributes:
        name: the dataset's name.
        official: the checksums are those of the official release, in full.
        synthetic: a twin made by ``bench fetch --synthetic``.
        classes: class names by label.
        limit: most samples taken of each split, or None.
        fingerprint: identifies the source's files, so that a changed source is noticed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    official: bool
    synthetic: bool
    classes: tuple[str, ...]
    limit: int | None = None
    fingerprint: str = ""


class SplitInfo(BaseModel):
    """What one stored split holds. The mean and standard deviation are per channel, of pixels in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    shape: tuple[int, int, int]
    pixels_sha256: str
    labels_sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class StoredBlock(NamedTuple):
    """A block on its way to a store: always decoded, with the original files where there are any."""

    images: NDArray[np.uint8]
    files: Sequence[bytes] | None
    labels: NDArray[np.int64]


class StreamedSplit:
    """A split as ``prepare`` sees it: decodes, checks, counts and hashes while a loader writes.

    Every loader pays for the same decoding and hashing, so preparation times compare.
    """

    def __init__(self, name: str, split: Split, classes: int, progress: Progress) -> None:
        self.name = name
        self.encoding: Literal["raw", "jpeg"] = split.encoding
        self.shape = split.shape
        self._split = split
        self._classes = classes
        self._progress = progress
        self._info: SplitInfo | None = None

    def __len__(self) -> int:
        return len(self._split)

    def blocks(self) -> Iterator[StoredBlock]:
        """Yield every block once; ``info`` is known when the last one has been taken."""
        if self._info is not None:
            raise RuntimeError("a streamed split can be read only once")
        pixels, labels_hash = hashlib.sha256(), hashlib.sha256()
        channels = self.shape[0]
        total, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
        done = 0
        with ImageDecoder() as decoder:
            for block in self._split.blocks():
                images, labels = self._decoded(block, decoder), np.asarray(block.labels, dtype="<i8")
                self._check(images, labels, done)
                pixels.update(images.data)
                labels_hash.update(np.ascontiguousarray(labels).data)
                # Integer sums: the same from every block size, and exact to 2**63.
                histogram = np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(channels)])
                total += histogram @ np.arange(256)
                squares += histogram @ np.arange(256) ** 2
                yield StoredBlock(images, block.files, labels.astype(np.int64, copy=False))
                done += len(labels)
                self._progress(len(labels))
        if done != len(self):
            raise LoaderError(f"the source announced {len(self)} {self.name} samples and gave {done}")
        if done == 0:
            raise LoaderError(f"the source has no {self.name} samples")
        # Whole numbers up to the last division: rounding would give a constant channel a tiny deviation.
        values = done * self.shape[1] * self.shape[2]
        sums, square_sums = total.tolist(), squares.tolist()
        mean = tuple(s / (values * 255) for s in sums)
        variance = [(values * q - s * s) / (values * 255) ** 2 for s, q in zip(sums, square_sums, strict=True)]
        self._info = SplitInfo(
            count=done,
            shape=self.shape,
            pixels_sha256=pixels.hexdigest(),
            labels_sha256=labels_hash.hexdigest(),
            mean=mean,
            std=tuple(math.sqrt(v) for v in variance),
        )

    @property
    def info(self) -> SplitInfo:
        """Counts and hashes of what was written."""
        if self._info is None:
            raise RuntimeError(f"the loader did not take all blocks of the {self.name} split")
        return self._info

    def _decoded(self, block: Block, decoder: ImageDecoder) -> NDArray[np.uint8]:
        if block.images is not None:
            return np.ascontiguousarray(block.images)
        if block.files is None:
            raise TypeError("a block must have images or files")
        batch = decoder.decode(block.files, self.shape, names=block.names)
        return np.ascontiguousarray(batch.numpy())

    def _check(self, images: NDArray[np.uint8], labels: NDArray[np.int64], done: int) -> None:
        if images.dtype != np.uint8 or images.shape[1:] != self.shape or len(images) != len(labels):
            raise LoaderError(
                f"the source gave {images.dtype} images {images.shape} with {len(labels)} labels "
                f"where uint8 {self.shape} was announced, from sample {done} of the {self.name} split on"
            )
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < self._classes:
            raise LoaderError(
                f"a label outside 0..{self._classes - 1} between samples {done} and {done + len(labels) - 1} "
                f"of the {self.name} split"
            )


def stream(splits: Mapping[str, Split], classes: int, progress: Progress) -> dict[str, StreamedSplit]:
    """Wrap each split for one ``prepare``."""
    return {name: StreamedSplit(name, split, classes, progress) for name, split in splits.items()}
