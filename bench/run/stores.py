"""Where stores lie, and how a source becomes one."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bench.errors import DataError, UsageError
from bench.sources.base import LimitedSplit, Source
from loaders import (
    DatasetInfo,
    DecodeError,
    Format,
    LoaderOptions,
    Split,
    StoreDataset,
    StoreError,
    StoreInfo,
    prepare_store,
    read_store,
)
from loaders.store.manifest import is_empty_folder

IMAGE_SIZE = 160
"""Side of the square crops of images of many sizes, where nobody says another."""


_LONGEST = 255
"""Bytes that a name may have; beside a store lie `.<name>.journal` and others of no longer names."""


class Wanted(NamedTuple):
    """A loader over a dataset, and the folder that its store has or will have."""

    loader: type[Format[Any]]
    options: LoaderOptions
    source: Source
    limit: int | None
    store_dir: Path

    @property
    def location(self) -> Path:
        """``<store dir>/<dataset>[-limit N]/<loader>[-option=value …]``, options at their default left out.

        Names too long for a file system are cut, and end in a hash of the whole.
        """
        dataset = self.source.store_name + ("" if self.limit is None else f"-limit{self.limit}")
        # Not an instance's values: those may follow the environment.
        defaults = {name: field.default for name, field in type(self.options).model_fields.items()}
        parts = [self.loader.name]
        parts += [f"{k}={v}" for k, v in sorted(self.options.stored().items()) if v != defaults.get(k)]
        return (
            self.store_dir
            / _fitting(dataset, _LONGEST)
            / _fitting(re.sub(r"[^\w.=+-]+", "_", "-".join(parts)), _LONGEST - len("..journal"))
        )

    @property
    def relative(self) -> str:
        """The location within the store folder, for records."""
        return self.location.relative_to(self.store_dir).as_posix()

    def dataset_info(self) -> DatasetInfo:
        """What the source holds, with the limit.

        Raises:
            DataError: the source is missing or damaged.
        """
        if reason := self.source.missing():
            raise DataError(reason)
        return self.source.info().model_copy(update={"limit": self.limit})

    def splits(self) -> dict[str, Split]:
        """The source's splits, cut to the limit."""
        found = self.source.splits()
        if self.limit is None:
            return found
        return {name: LimitedSplit(split, self.limit) for name, split in found.items()}

    def image_size(self, given: int | None) -> int | None:
        """Side of the crops: as given or the usual one; None for images of one size.

        Raises:
            UsageError: a size for images of one size.
        """
        if self.source.ragged:
            return given or IMAGE_SIZE
        if given is not None:
            raise UsageError(f"--image-size {given}: the images of {self.source.name} have one size; leave it out")
        return None

    @property
    def format(self) -> Format[Any]:
        """The loader's format with its options."""
        return self.loader(self.options)

    def open(self, split: str) -> StoreDataset:
        """The dataset of one split; nothing is opened yet."""
        return StoreDataset(self.format, self.location, split)


def _fitting(name: str, most: int) -> str:
    """A name of at most so many bytes."""
    data = name.encode()
    if len(data) <= most:
        return name
    end = f"-{hashlib.sha256(data).hexdigest()[:12]}"
    return data[: most - len(end)].decode(errors="ignore") + end


class Progress(Protocol):
    """Told how far a preparation is."""

    def begin(self, what: str, total: int) -> None:
        """A step of so many samples begins."""

    def advance(self, samples: int) -> None:
        """So many more are done."""

    def end(self) -> None:
        """The step is over, well or not."""


class Silent:
    """Tells nobody."""

    def begin(self, what: str, total: int) -> None:
        """Ignored."""

    def advance(self, samples: int) -> None:
        """Ignored."""

    def end(self) -> None:
        """Ignored."""


def prepare(wanted: Wanted, progress: Progress | None = None, *, force: bool = False) -> tuple[StoreInfo, bool]:
    """Make the store unless it is there and whole.

    Args:
        wanted: what to prepare.
        progress: told of every block.
        force: make it anew in any case.

    Returns:
        The manifest, and whether anything was written.

    Raises:
        DataError: the source is missing or damaged.
        LoaderError: the store cannot be written, or one is there that must not be used.
    """
    progress = progress or Silent()
    location = wanted.location
    if not force and os.path.lexists(location) and not is_empty_folder(location):
        info = read_store(wanted.location, wanted.loader.name)
        _check_source(wanted, info)
        return info, False
    dataset, splits = wanted.dataset_info(), wanted.splits()
    progress.begin(f"prepare {wanted.relative}", sum(len(split) for split in splits.values()))
    try:
        written = prepare_store(
            wanted.format,
            splits,
            wanted.location,
            dataset=dataset,
            progress=progress.advance,
            on_corrupt=wanted.source.options.on_corrupt,
            anew=force,
        )
    except DecodeError as error:
        raise with_remedy(error, wanted.source) from None
    finally:
        progress.end()
    return written, True


def with_remedy(error: DecodeError, source: Source) -> DecodeError:
    """The error of a file of a source, with how to do without the file where the source can."""
    if not source.ragged:
        return error
    return DecodeError(f"{error}; mend or remove it, or leave such files out by --on-corrupt skip")


def _check_source(wanted: Wanted, info: StoreInfo) -> None:
    """A store outlives its source's files; but if they are there, they must be the ones it was made from."""
    if wanted.source.missing():
        return
    now = wanted.dataset_info()
    if now != info.dataset:
        raise StoreError(
            f"{wanted.location} was prepared from other files than {wanted.source.folder} now holds; "
            "run the same `bench prepare` with --force"
        )
