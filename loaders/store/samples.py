"""What a source hands to ``prepare``: splits that stream blocks of samples, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from loaders.core.errors import OptionError
from loaders.core.payloads import Buffer

OnCorrupt = Literal["fail", "skip"]
Progress = Callable[[int], None]
"""Called with the number of samples done since the last call."""
# Splits name files, folders and tables. A dot would let `a.labels` be one split's folder and another one's file, and
# PostgreSQL cuts what is longer, with its token, than 63 bytes.
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")


def check_split_names(names: Iterable[Any]) -> None:
    """Refuse what cannot name files in every store and on every disk.

    Raises:
        OptionError: a name that is no short plain word, or two that differ in case alone.
    """
    taken: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not _SPLIT_NAME.fullmatch(name):
            shown = repr(name)
            raise OptionError(
                f"{shown if len(shown) <= 50 else shown[:49] + '…'} cannot name a split; give 1 to 40 of A to Z, "
                "a to z, 0 to 9, _ and -, not beginning with -"
            )
        other = taken.setdefault(name.casefold(), name)
        if other != name:
            raise OptionError(f"splits {other!r} and {name!r} differ in case alone; rename one of them")


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

    def part(self, wanted: Sequence[int] | NDArray[np.int64]) -> Block:
        """Some of its samples."""
        return Block(
            None if self.images is None else self.images[wanted],
            None if self.files is None else [self.files[i] for i in wanted],
            self.labels[wanted],
            [self.names[i] for i in wanted] if self.names else (),
            [self.pictures[i] for i in wanted] if self.pictures else (),
        )


def between(blocks: Iterator[Block], start: int, stop: int | None) -> Iterator[Block]:
    """Of all samples those from `start` up to `stop`, for a source that cannot begin in the middle."""
    last = 0
    for block in blocks:
        first, last = last, last + len(block.labels)
        if last > start and (stop is None or first < stop):
            low, high = max(start - first, 0), last - first if stop is None else min(stop, last) - first
            whole = (low, high) == (0, last - first)
            yield block if whole else block.part(np.arange(low, high))
        if stop is not None and last >= stop:
            return


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

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """The samples from `start` up to `stop` in their fixed order, all by default; each call starts anew."""
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

    ``pixels_sha256`` is the sha256 of the sha256 of each image's contiguous bytes, ``labels_sha256`` that of the labels
    as little-endian int64. Of a ragged split, ``shape`` is None and ``pixels`` the sum of all images' heights times
    widths; an image's hash is then of its height and width, as little-endian int32, and its pixels ``[H, W, 3]``.
    ``skipped`` names the files that could not be decoded and were left out by wish.
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
    """A block on its way to a store, checked and decoded.

    Attributes:
        images: uint8 ``[n, C, H, W]``; empty if the images have many sizes.
        labels: int64 ``[n]``.
        files: of each sample the source's own file, where the store keeps files.
        pictures: of images of many sizes, uint8 ``[H, W, 3]`` each.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    files: Sequence[bytes] | None = None
    pictures: Sequence[NDArray[np.uint8]] = ()

    @property
    def payloads(self) -> Sequence[Buffer]:
        """The bytes to keep of each sample: its file, or its pixels."""
        if self.files is not None:
            return self.files
        return [image.reshape(-1).data for image in (self.pictures or self.images)]

    def hwc(self, i: int) -> NDArray[np.uint8]:
        """Pixels of a sample, contiguous uint8 ``[H, W, C]``, or ``[H, W]`` of one channel."""
        if self.pictures:
            return self.pictures[i]
        pixels = self.images[i]
        return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
