"""What a source gives to ``prepare``: splits that stream blocks of samples, and their descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from loaders.core.errors import OptionError
from loaders.core.payloads import Buffer

OnCorrupt = Literal["fail", "skip"]
Progress = Callable[[int], None]
"""Called with the number of samples done since the last call."""
# Splits name files, folders and tables. With dots, `a.labels` could be one split's folder and another one's file;
# PostgreSQL truncates names, with their token, to 63 bytes.
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")


def check_split_names(names: Iterable[Any]) -> None:
    """Check that names can be file names in every store and on every disk.

    Raises:
        OptionError: a name is not a short plain word, or two differ in case alone.
    """
    taken: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not _SPLIT_NAME.fullmatch(name):
            raise OptionError(
                f"{repr(name)[:50]} cannot name a split; give 1 to 40 of A to Z, "
                "a to z, 0 to 9, _ and -, not beginning with -"
            )
        other = taken.setdefault(name.casefold(), name)
        if other != name:
            raise OptionError(f"splits {other!r} and {name!r} differ in case alone; rename one of them")


class Block(NamedTuple):
    """Consecutive samples of a source, either as pixels or as image files."""

    images: NDArray[np.uint8] | None  # [n, C, H, W], of one size
    files: Sequence[bytes] | None  # the original encoded bytes of each image
    labels: NDArray[np.int64]  # [n]
    names: Sequence[str] = ()  # the source's name of each file, for error messages
    pictures: Sequence[NDArray[np.uint8]] = ()  # [H, W, 3] each, of many sizes

    def part(self, indices: Sequence[int] | NDArray[np.int64]) -> Block:
        """Some of its samples."""
        return Block(
            None if self.images is None else self.images[indices],
            None if self.files is None else [self.files[i] for i in indices],
            self.labels[indices],
            [self.names[i] for i in indices] if self.names else (),
            [self.pictures[i] for i in indices] if self.pictures else (),
        )


class Split(Protocol):
    """One split of a dataset, streamed; never completely in memory."""

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
        """The samples from `start` up to `stop` in their fixed order, by default all; each call starts again."""
        ...


class DatasetInfo(BaseModel, frozen=True, extra="forbid"):
    """Which images a store holds."""

    name: str
    official: bool  # all checksums are those of the official release
    synthetic: bool  # a twin made by bench fetch --synthetic
    classes: tuple[str, ...]  # names by label
    limit: int | None = None  # most samples taken of each split
    fingerprint: str = ""  # identifies the source's files, to detect changes
    resize: int | None = None  # short side in pixels that larger images were resized to


class SplitInfo(BaseModel, frozen=True, extra="forbid"):
    """Describes one stored split. The mean and standard deviation are per channel, of pixels in [0, 1].

    ``pixels_sha256`` is the sha256 of the sha256 of each image's contiguous bytes, ``labels_sha256`` that of the labels
    as little-endian int64. For images of many sizes ``shape`` is None, ``pixels`` the sum of heights times widths, and
    an image's hash that of its height and width, as little-endian int32, and its pixels ``[H, W, 3]``. ``skipped``
    names files that could not be decoded.
    """

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
    """A block of samples to be stored, checked and decoded."""

    images: NDArray[np.uint8]  # [n, C, H, W]; empty if they have many sizes
    labels: NDArray[np.int64]  # [n]
    files: Sequence[bytes] | None = None  # the source's own files, if the store keeps them
    pictures: Sequence[NDArray[np.uint8]] = ()  # [H, W, 3] each, of many sizes

    @property
    def payloads(self) -> Sequence[Buffer]:
        """The bytes to store of each sample: its file, or its pixels."""
        if self.files is not None:
            return self.files
        return [image.reshape(-1).data for image in (self.pictures or self.images)]

    @property
    def nbytes(self) -> int:
        """The bytes to store of all samples."""
        if self.files is not None:
            return sum(map(len, self.files))
        return self.images.nbytes + sum(picture.nbytes for picture in self.pictures)

    def hwc(self, i: int) -> NDArray[np.uint8]:
        """Pixels of a sample, contiguous uint8 ``[H, W, C]``, or ``[H, W]`` of one channel."""
        if self.pictures:
            return self.pictures[i]
        pixels = self.images[i]
        return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
