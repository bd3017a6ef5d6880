"""Prepares a store: refuses what cannot work, goes on with what was begun, writes, describes and commits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from loaders.core.errors import LoaderFaultError, OptionError, UnavailableError
from loaders.core.faults import blamed, raise_blamed
from loaders.core.options import Encoding, LoaderOptions
from loaders.images.kinds import Kind
from loaders.images.ragged import write_sizes
from loaders.store.checksums import write_checksums
from loaders.store.intake import StreamedSplit
from loaders.store.journal import StaleError
from loaders.store.manifest import FORMAT_VERSION, StoreInfo
from loaders.store.samples import DatasetInfo, OnCorrupt, Progress, Split, StoredBlock, check_split_names
from loaders.store.space import check_space, estimate
from loaders.store.writer import REMEDIES, StoreWriter, Written


class Format(Protocol):
    """What of a loader's class a preparation needs; see `ImageDataset`."""

    @property
    def name(self) -> str:
        """The loader's name."""
        ...

    @property
    def ragged(self) -> bool:
        """Whether it keeps images of many sizes."""
        ...

    def reason_unavailable(self, options: LoaderOptions) -> str | None:
        """Why it cannot run here."""
        ...

    def _write(self, splits: Mapping[str, StreamedSplit], folder: Path, options: Any) -> Written: ...

    def _kept_as(self, options: Any, encoding: Encoding) -> Kind | None: ...

    def _kept_bytes(self, block: StoredBlock, options: Any) -> int | None: ...


def prepare_store(
    format_: Format,
    splits: Mapping[str, Split],
    location: Path,
    options: LoaderOptions,
    dataset: DatasetInfo,
    progress: Progress,
    on_corrupt: OnCorrupt,
    anew: bool,
) -> StoreInfo:
    """Write a store of all splits, or leave what was there untouched; the arguments are those of ``prepare``."""
    check_split_names(splits)
    encodings = {split.encoding for split in splits.values()}
    if getattr(options, "encoding", None) == "jpeg" and encodings != {"jpeg"}:
        raise OptionError(f"dataset {dataset.name} has no JPEG originals; use encoding=raw")
    if reason := format_.reason_unavailable(options):
        raise UnavailableError(f"loader {format_.name} cannot run here: {reason}")
    if not format_.ragged and any(split.shape is None for split in splits.values()):
        raise OptionError(
            f"loader {format_.name} keeps images of one size, and those of {dataset.name} differ; choose another loader"
        )
    writer = StoreWriter(location)

    def kept_bytes(block: StoredBlock) -> int | None:
        with blamed(format_.name, "estimating the size of its store", location):
            return format_._kept_bytes(block, options)

    needed = estimate(splits, len(dataset.classes), kept_bytes)
    with writer.writing(_identity(format_.name, splits, options, dataset), anew=anew) as journal:
        if on_corrupt == "fail" and any(past.skipped for past in journal.past.values()):
            journal.restart()
        check_space(writer, needed)
        while True:
            streamed = {
                name: StreamedSplit(name, split, len(dataset.classes), progress, on_corrupt, journal)
                for name, split in splits.items()
            }
            try:
                written = _written(format_, streamed, writer.folder, options)
                break
            except StaleError:
                journal.restart()
        for name, done in streamed.items():
            if done.ragged:
                described = done.descriptions(format_._kept_as(options, done.encoding))
                written = written._replace(checked=[*written.checked, write_sizes(described, writer.folder, name)])
            truth = write_checksums(done.checksums(), writer.folder, name)
            written = written._replace(checked=[*written.checked, truth])
        infos = {name: done.info for name, done in streamed.items()}
        return writer.commit(format_.name, dataset, options.stored(), infos, written, journal)


def _written(format_: Format, splits: Mapping[str, StreamedSplit], folder: Path, options: LoaderOptions) -> Written:
    """Let the loader write, and blame it for what neither the source nor the disk is to blame for."""
    try:
        written: object = format_._write(splits, folder, options)
    except StaleError:
        raise
    except Exception as error:
        if any(split.failed is error for split in splits.values()) or getattr(error, "errno", None) in REMEDIES:
            raise
        raise_blamed(error, format_.name, "writing its store", folder)
    if not isinstance(written, Written):
        raise LoaderFaultError(f"loader {format_.name} did not say what it wrote, but gave {written!r}")
    return written


def _identity(loader: str, splits: Mapping[str, Split], options: LoaderOptions, dataset: DatasetInfo) -> str:
    """What is prepared from what, for one that goes on; empty where nothing identifies the data."""
    if not dataset.fingerprint:
        return ""
    lengths = {name: [len(split), split.encoding, split.shape] for name, split in splits.items()}
    what = [FORMAT_VERSION, loader, lengths, options.stored(), dataset.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
