"""Where stores lie, and how a source becomes one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from bench.config import RunConfig, Settings
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
    is_empty_folder,
    load,
    parse_options,
    prepare_store,
    read_store,
)

IMAGE_SIZE = 160
"""Side of the square crops of images of many sizes, where no other is asked for."""
_LONGEST = 255
"""Bytes that a name may have; beside a store lie `.<name>.journal` and others of no longer names."""
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows a step of so many samples, as `bench.progress.bar` does; its context gives what to call with samples done."""


class StoreSpec(NamedTuple):
    """A loader over a dataset, and the folder that its store has or will have."""

    loader: type[Format[Any]]
    options: LoaderOptions
    source: Source
    limit: int | None
    store_dir: Path

    @property
    def location(self) -> Path:
        """``<store dir>/<dataset>[-limit N]/<loader>[-option=value …]``, options at their default left out."""
        dataset = self.source.store_name + ("" if self.limit is None else f"-limit{self.limit}")
        # Not an instance's values: those may follow the environment.
        defaults = {name: field.default for name, field in type(self.options).model_fields.items()}
        stored = [f"-{k}={v}" for k, v in sorted(self.options.stored().items()) if v != defaults.get(k)]
        loader = re.sub(r"[^\w.=+-]+", "_", self.loader.name + "".join(stored))
        return self.store_dir / _fitting(dataset, _LONGEST) / _fitting(loader, _LONGEST - len("..journal"))

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
        splits, limit = self.source.splits(), self.limit
        return splits if limit is None else {name: LimitedSplit(split, limit) for name, split in splits.items()}

    def image_size(self, asked: int | None) -> int | None:
        """Side of the crops: as asked for or the usual one; None for images of one size.

        Raises:
            UsageError: a size for images of one size.
        """
        if self.source.ragged:
            return asked or IMAGE_SIZE
        if asked is not None:
            raise UsageError(f"--image-size {asked}: the images of {self.source.name} have one size; leave it out")
        return None

    def misfit(self, config: Settings) -> tuple[str, str] | None:
        """The name of a setting that the loader cannot serve, and why; None if it serves all."""
        name, caps, device = self.loader.name, self.loader.caps, config.device
        if isinstance(config, RunConfig) and config.cuda_graphs and device != "cuda":
            return "cuda_graphs", f"CUDA graphs are for a CUDA device, not for {device}; take device cuda, or no graphs"
        if caps.device == "cuda" and device != "cuda":
            return "device", f"loader {name} gives batches on a CUDA device, not on {device}; take device cuda"
        if caps.max_workers is not None and config.workers > caps.max_workers:
            most = f"at most {caps.max_workers} workers, not {config.workers}"
            return "workers", f"loader {name} takes {most}; take fewer"
        return None

    @property
    def format(self) -> Format[Any]:
        """The loader's format with its options."""
        return self.loader(self.options)

    def open(self, split: str) -> StoreDataset:
        """The dataset of one split; nothing is opened yet."""
        return StoreDataset(self.format, self.location, split)


def spec_of(
    loader: str, source: Source, options: Mapping[str, Any], limit: int | None, stores: Path
) -> tuple[StoreSpec, dict[str, Any]]:
    """The loader over the dataset, and the given options as they may stand in a record.

    Raises:
        UnknownLoaderError, OptionError: no such loader or option.
        UnavailableError: the loader cannot be imported.
    """
    kind = load(loader)
    # As text, which alone is no integer: true would be taken for 1.
    values = {name: str(value).lower() if isinstance(value, bool) else value for name, value in options.items()}
    parsed = parse_options(kind.Options, values, loader)
    public = parsed.public()
    return StoreSpec(kind, parsed, source, limit, stores), {name: public[name] for name in options if name in public}


def _fitting(name: str, most: int) -> str:
    """A name of at most so many bytes: a longer one is cut, and ends in a hash of the whole."""
    data = name.encode()
    if len(data) <= most:
        return name
    end = f"-{hashlib.sha256(data).hexdigest()[:12]}"
    return data[: most - len(end)].decode(errors="ignore") + end


def silent(step: str, total: int) -> AbstractContextManager[Callable[[int], None]]:  # noqa: ARG001
    """Show no progress."""
    return contextlib.nullcontext(lambda _: None)


def prepare(spec: StoreSpec, progress: Progress = silent, *, force: bool = False) -> tuple[StoreInfo, bool]:
    """Make the store unless it is there and whole, or by ``force``; gives the manifest, and whether it was made.

    Raises:
        DataError: the source is missing or damaged.
        LoaderError: the store cannot be written, or one is there that must not be used.
    """
    location, source = spec.location, spec.source
    if not force and os.path.lexists(location) and not is_empty_folder(location):
        info = read_store(location, spec.loader.name)
        # A store outlives its source's files; but if they are there, they must be the ones it was made from.
        if not source.missing() and spec.dataset_info() != info.dataset:
            raise StoreError(
                f"{location} was prepared from other files than {source.folder} now holds; "
                "run the same `bench prepare` with --force"
            )
        return info, False
    dataset, splits, corrupt = spec.dataset_info(), spec.splits(), source.options.on_corrupt
    with progress(f"prepare {spec.relative}", sum(len(split) for split in splits.values())) as advance:
        try:
            written = prepare_store(
                spec.format, splits, location, dataset=dataset, progress=advance, on_corrupt=corrupt, anew=force
            )
        except DecodeError as error:
            raise with_remedy(error, source) from None
    return written, True


def with_remedy(error: DecodeError, source: Source) -> DecodeError:
    """The error of a file of a source, with how to do without the file where the source can."""
    if not source.ragged:
        return error
    return DecodeError(f"{error}; mend or remove it, or leave such files out by --on-corrupt skip")
