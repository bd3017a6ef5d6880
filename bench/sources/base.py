"""What every source offers: what the images are, and splits that stream blocks."""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bench.errors import UsageError
from loaders import Block, DatasetInfo, Split

Report = Callable[[str, int, int], None]
"""Progress of a long step: what is done, how much of it, out of how much (0: not known)."""


class Archive(NamedTuple):
    """An official download.

    Attributes:
        url: where it is published.
        name: file name to keep it under.
        md5: checksum of the whole file, as its publisher states it.
        size: bytes, for the free-space check; 0 where not published.
    """

    url: str
    name: str
    md5: str
    size: int = 0


class SourceOptions(BaseModel):
    """How a ragged source is taken.

    Attributes:
        resize: short side in pixels that larger images are stored with; None keeps them as they are.
        on_corrupt: whether a file that cannot be decoded ends the preparation or is left out and named in the manifest.
        test_share: share of each class that is held out where the source is not split.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    resize: int | None = Field(default=None, ge=8, le=16384)
    on_corrupt: Literal["fail", "skip"] = "fail"
    test_share: float = Field(default=0.2, gt=0, lt=1)

    def given(self) -> dict[str, Any]:
        """What is not as usual."""
        return self.model_dump(exclude_defaults=True)

    def identity(self) -> str:
        """The same in words that do not change with new options."""
        return json.dumps(self.given(), sort_keys=True)

    def suffix(self) -> str:
        """The same for a folder's name."""
        return "".join(f"-{name}={value}" for name, value in sorted(self.given().items()))


class Source(abc.ABC):
    """A dataset's official files below one folder."""

    name: str
    summary: ClassVar[str]
    """One line for ``bench datasets``."""
    archive: ClassVar[Archive | None]
    """The official download, or None for a bundled dataset."""
    ragged: ClassVar[bool] = False
    """Whether its images have many sizes."""

    def __init__(self, data_dir: Path, options: SourceOptions | None = None) -> None:
        """Read nothing yet.

        Args:
            data_dir: holds one folder a dataset.
            options: how the source is taken.

        Raises:
            UsageError: options for a source whose images have one size and whose splits are given.
        """
        self.folder = data_dir / self.name
        self.options = options or SourceOptions()
        if not self.ragged and self.options.given():
            names = ", ".join(f"--{name.replace('_', '-')}" for name in self.options.given())
            raise UsageError(f"{names}: {self.name} comes in one form; these are for folder:PATH and imagenette")

    @property
    def store_name(self) -> str:
        """What the folder of its stores is called."""
        return f"{self.name}{self.options.suffix()}"

    def notes(self) -> list[str]:
        """What a user should know of the files beside what ``info`` says, a sentence each."""
        return []

    @abc.abstractmethod
    def missing(self) -> str | None:
        """Why the dataset cannot be read, with the remedy, judged by file names alone; None if it is there."""

    @abc.abstractmethod
    def info(self) -> DatasetInfo:
        """What the files are. Checks checksums, so it may read all of them once.

        Raises:
            DataError: files that are missing, damaged or not of the official layout.
        """

    @abc.abstractmethod
    def splits(self) -> dict[str, Split]:
        """``train`` and ``test``.

        Raises:
            DataError: as ``info``.
        """

    @abc.abstractmethod
    def make_twin(self, fraction: float, report: Report) -> None:
        """Write a synthetic twin in the official layout into the folder, or nothing at all.

        Raises:
            UsageError: the dataset is bundled, or the folder holds something else.
        """

    def unpack(self, archive: Path, report: Report) -> Path:  # noqa: ARG002
        """What is left to do with a verified download; nothing where the archive is read as it is.

        Returns:
            What the dataset is now read from.
        """
        return archive


class LimitedSplit:
    """At most ``limit`` samples of a split, spread evenly over it, so that sorted classes are all met."""

    def __init__(self, split: Split, limit: int) -> None:
        if limit < 1:
            raise UsageError(f"--limit must be at least 1, not {limit}")
        self._split = split
        count = min(limit, len(split))
        self._chosen = np.arange(count) * len(split) // max(count, 1)

    @property
    def encoding(self) -> Literal["raw", "jpeg"]:
        """As of the whole split."""
        return self._split.encoding

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """As of the whole split."""
        return self._split.shape

    def __len__(self) -> int:
        return len(self._chosen)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """The chosen samples, in the split's order."""
        chosen = self._chosen[start:stop]
        if not len(chosen):
            return
        begin = int(chosen[0])
        for block in self._split.blocks(begin, int(chosen[-1]) + 1):
            end = begin + len(block.labels)
            first, last = np.searchsorted(chosen, (begin, end))
            if first < last:
                yield block.part(chosen[first:last] - begin)
            begin = end
