"""What a source hands to ``prepare``: splits that stream blocks, checked and hashed on their way."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from loaders.decoding import ImageDecoder
from loaders.errors import DecodeError, LoaderError
from loaders.pictures import Kind, decode_picture
from loaders.threads import Spread

OnCorrupt = Literal["fail", "skip"]
Progress = Callable[[int], None]
"""Called with the number of samples done since the last call."""


class Block(NamedTuple):
    """Some consecutive samples as the source has them: pixels or image files, one of the two.

    Attributes:
        images: uint8 ``[n, C, H, W]``, or None where the source has files or images of many sizes.
        files: the original encoded bytes of each image, or None where the source has pixels.
        labels: int64 ``[n]``.
        names: how the source calls each file, for error messages; empty where it has no names.
        pictures: of a ragged split without files, uint8 ``[H, W, 3]`` each.
    """

    images: NDArray[np.uint8] | None
    files: Sequence[bytes] | None
    labels: NDArray[np.int64]
    names: Sequence[str] = ()
    pictures: Sequence[NDArray[np.uint8]] = ()


class Split(Protocol):
    """One split of a dataset, streamed; never wholly in memory."""

    @property
    def encoding(self) -> Literal["raw", "jpeg"]:
        """Whether ``blocks`` yields pixels or files: JPEG, or of a ragged split any that `decode_picture` reads."""
        ...

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """``(C, H, W)`` of the decoded images; None if the split is ragged: RGB of many sizes."""
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
        resize: short side in pixels that larger images were given before they were stored, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    official: bool
    synthetic: bool
    classes: tuple[str, ...]
    limit: int | None = None
    fingerprint: str = ""
    resize: int | None = None


class SplitInfo(BaseModel):
    """What one stored split holds. The mean and standard deviation are per channel, of pixels in [0, 1].

    Of a ragged split, ``shape`` is None and ``pixels`` the sum of all images' heights times widths; its hash is of
    each image's height and width, as little-endian int32, and its pixels ``[H, W, 3]``. ``skipped`` names the files
    that could not be decoded and were left out by wish.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    shape: tuple[int, int, int] | None
    pixels: int | None = None
    skipped: tuple[str, ...] = ()
    pixels_sha256: str
    labels_sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def fixed_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of a split of one size."""
        if self.shape is None:
            raise RuntimeError("a ragged split has no shape")
        return self.shape


class StoredBlock(NamedTuple):
    """A block on its way to a store: always decoded, with the original files where there are any.

    Attributes:
        images: uint8 ``[n, C, H, W]``; of a ragged split it is empty.
        pictures: of a ragged split, uint8 ``[H, W, 3]`` each.
    """

    images: NDArray[np.uint8]
    files: Sequence[bytes] | None
    labels: NDArray[np.int64]
    pictures: Sequence[NDArray[np.uint8]] = ()

    def payloads(self, encoding: Literal["raw", "jpeg"]) -> Sequence[Any]:
        """What stands for each sample in a store that keeps samples one by one: its file, or its pixels' bytes."""
        if encoding == "jpeg":
            return self.files or ()
        return [image.data.cast("B") for image in self.pictures]


class StreamedSplit:
    """A split as ``prepare`` sees it: decodes, checks, counts and hashes while a loader writes.

    Every loader pays for the same decoding and hashing, so preparation times compare.

    Attributes:
        shape: ``(C, H, W)``, or None of a ragged split.
        ragged: whether the images have many sizes.
    """

    def __init__(
        self, name: str, split: Split, classes: int, progress: Progress, on_corrupt: OnCorrupt = "fail"
    ) -> None:
        self.name = name
        self._on_corrupt = on_corrupt
        self._skipped: list[str] = []
        self.encoding: Literal["raw", "jpeg"] = split.encoding
        self.ragged = split.shape is None
        self._shape = split.shape
        self._split = split
        self._classes = classes
        self._progress = progress
        self._info: SplitInfo | None = None
        self._described: list[NDArray[np.int32]] = []

    def __len__(self) -> int:
        return len(self._split)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a split of one size.

        Raises:
            RuntimeError: the split is ragged.
        """
        if self._shape is None:
            raise RuntimeError(f"the {self.name} split has images of many sizes")
        return self._shape

    def blocks(self) -> Iterator[StoredBlock]:
        """Yield every block once; ``info`` is known when the last one has been taken."""
        if self._info is not None:
            raise RuntimeError("a streamed split can be read only once")
        pixels, labels_hash = hashlib.sha256(), hashlib.sha256()
        channels = 3 if self._shape is None else self._shape[0]
        # Whole numbers: the same from every block size, and exact.
        counts = np.zeros((channels, 256), np.int64)
        done = values = 0
        with ImageDecoder() as decoder, contextlib.closing(Spread()) as spread:
            for given in self._split.blocks():
                if self._shape is None:
                    block = self._pictures(given, spread, counts)
                    for picture in block.pictures:
                        pixels.update(np.array(picture.shape[:2], "<i4").data)
                        pixels.update(picture.data)
                        values += picture.shape[0] * picture.shape[1]
                else:
                    block = self._fixed(given, decoder, done)
                    planes = block.images
                    pixels.update(planes.data)
                    counts += np.stack([np.bincount(planes[:, c].ravel(), minlength=256) for c in range(channels)])
                    values += len(planes) * self._shape[1] * self._shape[2]
                self._check_labels(block, done)
                labels_hash.update(np.ascontiguousarray(block.labels, "<i8").data)
                yield block
                done += len(block.labels)
                self._progress(len(given.labels))
        if done + len(self._skipped) != len(self):
            raise LoaderError(f"the source announced {len(self)} {self.name} samples and gave {done}")
        if done == 0:
            raise LoaderError(f"the source has no {self.name} samples")
        mean, std = _moments(counts, values)
        self._info = SplitInfo(
            count=done,
            shape=self._shape,
            pixels=values if self._shape is None else None,
            skipped=tuple(self._skipped),
            pixels_sha256=pixels.hexdigest(),
            labels_sha256=labels_hash.hexdigest(),
            mean=mean,
            std=std,
        )

    @property
    def info(self) -> SplitInfo:
        """Counts and hashes of what was written."""
        if self._info is None:
            raise RuntimeError(f"the loader did not take all blocks of the {self.name} split")
        return self._info

    def descriptions(self, kind: Kind | None) -> NDArray[np.int32]:
        """Of a ragged split that has been written: int32 ``[n, 3]``, height, width and kind of each sample.

        Args:
            kind: of what was stored; None: the source's own files were.
        """
        described = np.concatenate(self._described)
        if kind is not None:
            described[:, 2] = kind
        return described

    def _pictures(self, block: Block, spread: Spread, counts: NDArray[np.int64]) -> StoredBlock:
        """A ragged block without what is skipped, decoded on all cores; adds to the histogram."""
        count = len(block.labels)
        images: list[Any] = [None] * count
        described = np.zeros((count, 3), np.int32)
        histograms = np.zeros((count, 3, 256), np.int64)

        def work(part: range) -> None:
            for i in part:
                kind = Kind.PIXELS
                if block.files is None:
                    image = np.ascontiguousarray(block.pictures[i])
                else:
                    try:
                        image, kind = decode_picture(block.files[i], self._name_of(block, i))
                    except DecodeError:
                        if self._on_corrupt == "fail":
                            raise
                        continue
                images[i] = image
                if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                    raise LoaderError(
                        f"the source gave a {image.dtype} image {image.shape} where uint8 [H, W, 3] was announced, "
                        f"in the {self.name} split"
                    )
                described[i] = *image.shape[:2], kind
                for channel in range(3):
                    histograms[i, channel] = np.bincount(image[:, :, channel].ravel(), minlength=256)

        spread(work, count)
        counts += histograms.sum(axis=0)
        kept = [i for i in range(count) if images[i] is not None]
        self._described.append(described[kept])
        self._skipped += [self._name_of(block, i) for i in range(count) if images[i] is None]
        files = None if block.files is None else [block.files[i] for i in kept]
        labels = np.asarray(block.labels, np.int64)[kept]
        return StoredBlock(np.empty((0, 0, 0, 0), np.uint8), files, labels, [images[i] for i in kept])

    def _name_of(self, block: Block, i: int) -> str:
        return block.names[i] if block.names else f"image {i} of a block of the {self.name} split"

    def _fixed(self, block: Block, decoder: ImageDecoder, done: int) -> StoredBlock:
        """A block of images of one size, decoded."""
        if block.images is not None:
            images = np.ascontiguousarray(block.images)
        elif block.files is not None:
            images = np.ascontiguousarray(decoder.decode(block.files, self.shape, names=block.names).numpy())
        else:
            raise TypeError("a block must have images or files")
        if images.dtype != np.uint8 or images.shape[1:] != self.shape or len(images) != len(block.labels):
            raise LoaderError(
                f"the source gave {images.dtype} images {images.shape} with {len(block.labels)} labels "
                f"where uint8 {self.shape} was announced, from sample {done} of the {self.name} split on"
            )
        return StoredBlock(images, block.files, np.asarray(block.labels, np.int64))

    def _check_labels(self, block: StoredBlock, done: int) -> None:
        labels = block.labels
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < self._classes:
            raise LoaderError(
                f"a label outside 0..{self._classes - 1} between samples {done} and {done + len(labels) - 1} "
                f"of the {self.name} split"
            )


def _moments(counts: NDArray[np.int64], values: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in [0, 1], from histograms ``[C, 256]`` of so many values each."""
    # Whole numbers up to the last division: rounding would give a constant channel a tiny deviation.
    levels = list(range(256))
    sums = [sum(n * v for n, v in zip(row, levels, strict=True)) for row in counts.tolist()]
    squares = [sum(n * v * v for n, v in zip(row, levels, strict=True)) for row in counts.tolist()]
    mean = tuple(s / (values * 255) for s in sums)
    variance = [(values * q - s * s) / (values * 255) ** 2 for s, q in zip(sums, squares, strict=True)]
    return mean, tuple(math.sqrt(v) for v in variance)


def stream(
    splits: Mapping[str, Split], classes: int, progress: Progress, on_corrupt: OnCorrupt = "fail"
) -> dict[str, StreamedSplit]:
    """Wrap each split for one ``prepare``."""
    return {name: StreamedSplit(name, split, classes, progress, on_corrupt) for name, split in splits.items()}
