"""Prepares a store: checks the request, resumes unfinished work, lets the format write, and commits the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loaders.core.errors import LoaderFaultError, OptionError, UnavailableError, raise_blamed
from loaders.core.format import Format, Written
from loaders.store.checksums import write_checksums
from loaders.store.intake import Intake
from loaders.store.journal import StaleError
from loaders.store.manifest import FORMAT_VERSION, StoreInfo
from loaders.store.samples import DatasetInfo, OnCorrupt, Progress, Split, check_split_names
from loaders.store.sizes import write_sizes
from loaders.store.space import SpaceCheck
from loaders.store.writer import REMEDIES, StoreWriter


def prepare_store(
    format_: Format[Any],
    splits: Mapping[str, Split],
    location: Path | str,
    *,
    dataset: DatasetInfo,
    progress: Progress = lambda _: None,
    on_corrupt: OnCorrupt = "fail",
    anew: bool = False,
) -> StoreInfo:
    """Write a store of all splits; if that fails, an earlier store stays unchanged.

    If the dataset has a ``fingerprint``, an interrupted preparation resumes from its last checkpoint, for formats whose
    files have one.

    Args:
        format_: the format with its options.
        splits: the source's splits by name.
        location: folder of the store; replaced when the new store is complete.
        dataset: describes the images; part of the manifest.
        progress: called with the number of samples done since the last call.
        on_corrupt: whether an undecodable image of many sizes is an error, or is skipped and named in the manifest.
        anew: do not resume.

    Raises:
        LoaderError: a bad sample, a disk that is full, too small or read-only, a lost server, or another process that
            is preparing the same store.
    """
    check_split_names(splits)
    if any(format_.options.keeps_files("raw") and split.encoding == "raw" for split in splits.values()):
        raise OptionError(f"dataset {dataset.name} has no JPEG originals; use encoding=raw")
    if reason := format_.reason_unavailable():
        raise UnavailableError(f"loader {format_.name} cannot run here: {reason}")
    if not format_.caps.ragged and any(split.shape is None for split in splits.values()):
        raise OptionError(
            f"loader {format_.name} keeps images of one size, and those of {dataset.name} differ; choose another loader"
        )
    writer = StoreWriter(Path(location).absolute())
    with writer.writing(_identity(format_, splits, dataset), anew=anew) as journal:
        if on_corrupt == "fail" and any(past.skipped for past in journal.past.values()):
            journal.restart()
        while True:
            space = SpaceCheck(writer.location, writer.folder, sum(len(split) for split in splits.values()))

            def on_block(samples: int, size: int, space: SpaceCheck = space) -> None:
                space.add(samples, size)
                progress(samples)

            intakes = {
                name: Intake(
                    name,
                    split,
                    len(dataset.classes),
                    format_.options.keeps_files(split.encoding),
                    on_block,
                    on_corrupt,
                    journal,
                )
                for name, split in splits.items()
            }
            try:
                written = _written(format_, intakes, writer.folder)
                break
            except StaleError:
                journal.restart()
        infos = {name: intake.info for name, intake in intakes.items()}
        checked = list(written.checked)
        for name, intake in intakes.items():
            if intake.shape is None:
                checked.append(write_sizes(intake.sizes(written.pixels_as), writer.folder, name))
            checked.append(write_checksums(intake.checksums(), writer.folder, name))
        return writer.commit(format_, dataset, infos, written._replace(checked=checked), journal)


def _written(format_: Format[Any], intakes: Mapping[str, Intake], folder: Path) -> Written:
    """Let the format write, and name it in errors that neither the source nor the disk caused."""
    try:
        written: object = format_.write(intakes, folder)
    except StaleError:
        raise
    except Exception as error:
        if any(intake.failed is error for intake in intakes.values()) or getattr(error, "errno", None) in REMEDIES:
            raise
        raise_blamed(error, format_.name, "writing its store", folder)
    if not isinstance(written, Written):
        raise LoaderFaultError(f"loader {format_.name} did not say what it wrote, but gave {written!r}")
    return written


def _identity(format_: Format[Any], splits: Mapping[str, Split], dataset: DatasetInfo) -> str:
    """Identifies the work, so that it can be resumed; empty if the dataset has no fingerprint."""
    if not dataset.fingerprint:
        return ""
    lengths = {name: [len(split), split.encoding, split.shape] for name, split in splits.items()}
    what = [FORMAT_VERSION, format_.name, lengths, format_.options.stored(), dataset.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
