"""What every source offers: what the images are, and splits that stream blocks."""

from __future__ import annotations

import abc
import hashlib
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
    """An official download: address, file name, the md5 that its publisher states, bytes (0: not published)."""

    url: str
    name: str
    md5: str
    size: int = 0


class Contents(NamedTuple):
    """What the files of a dataset hold."""

    info: DatasetInfo
    splits: dict[str, Split]
    notes: list[str]


class SourceOptions(BaseModel):
    """How a ragged source is read.

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
        """The options that differ from their defaults."""
        return self.model_dump(exclude_defaults=True)

    def suffix(self) -> str:
        """These for a folder's name."""
        return "".join(f"-{name}={value}" for name, value in sorted(self.given().items()))


class Source(abc.ABC):
    """A dataset's official files below one folder. ``ragged``: the images have many sizes."""

    name: str
    summary: ClassVar[str]  # one line for ``bench datasets``
    archive: ClassVar[Archive | None] = None  # the official download, if there is one
    ragged: ClassVar[bool] = False

    def __init__(self, data_dir: Path, options: SourceOptions | None = None) -> None:
        """Read nothing yet. ``data_dir`` holds one folder a dataset; options that do not fit are a ``UsageError``."""
        self.folder = data_dir / self.name
        self.options = options or SourceOptions()
        if not self.ragged and self.options.given():
            names = ", ".join(f"--{name.replace('_', '-')}" for name in self.options.given())
            raise UsageError(f"{names}: {self.name} comes in one form; these are for folder:PATH and imagenette")

    @property
    def store_name(self) -> str:
        """Name of the folder of its stores."""
        return self.name + self.options.suffix()

    @abc.abstractmethod
    def missing(self) -> str | None:
        """Why the dataset cannot be read, with the remedy, judged by file names alone; None if it is there."""

    @property
    @abc.abstractmethod
    def _contents(self) -> Contents:
        """What the files hold; errors as of ``info``."""

    def info(self) -> DatasetInfo:
        """What the files are. Checks checksums, so it may read all of them once.

        Files that are missing, damaged or not of the official layout are a ``DataError``.
        """
        return self._contents.info

    def splits(self) -> dict[str, Split]:
        """``train`` and ``test``, in the order that each dataset documents; errors as of ``info``."""
        return self._contents.splits

    def notes(self) -> list[str]:
        """What a user should know of the files beside what ``info`` says, a sentence each."""
        return self._contents.notes

    def make_twin(self, fraction: float, report: Report) -> None:  # noqa: ARG002
        """Write a synthetic twin in the official layout, or nothing at all.

        A fraction outside (0, 1] or other data in the way is a ``UsageError``, a full disk a ``DataError``.
        """
        raise UsageError(f"{self.name} is bundled or your own data; --synthetic is for datasets that are downloaded")

    def unpack(self, archive: Path, report: Report) -> Path:  # noqa: ARG002
        """Make a verified download readable, if it is not yet, and return what is then read."""
        return archive

    def _info(self, classes: tuple[str, ...], identity: str, *, official: bool, synthetic: bool) -> DatasetInfo:
        """``identity`` stands for what the files hold, and in the fingerprint for the options, too, where there are."""
        if self.ragged:
            identity += f" {json.dumps(self.options.given(), sort_keys=True)}"
        return DatasetInfo(
            name=self.name,
            official=official and self.options.resize is None,
            synthetic=synthetic,
            classes=classes,
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
            resize=self.options.resize,
        )


class LimitedSplit:
    """At most ``limit`` samples of a split, spread evenly over it, so that sorted classes are all met."""

    def __init__(self, split: Split, limit: int) -> None:
        if limit < 1:
            raise UsageError(f"--limit must be at least 1, not {limit}")
        self._split, self.encoding, self.shape = split, split.encoding, split.shape
        count = min(limit, len(split))
        self._chosen = np.arange(count) * len(split) // max(count, 1)

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
