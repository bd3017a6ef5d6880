"""What a sweep needs before its first round: datasets as its file wants them, and every store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.errors import DataError, UsageError
from bench.run.stores import prepare
from bench.sources.base import Source
from bench.sources.files import MARKER, exists, read_bytes
from bench.sources.registry import SOURCES, open_source
from bench.sweep.config import DataConfig, SweepFile
from bench.sweep.plan import Cell, Folders
from loaders import LoaderError


def missing_twins(file: SweepFile, cells: Iterable[Cell], folders: Folders) -> list[DataConfig]:
    """The twins that are to be made, after a check of everything else in the data folder.

    Raises:
        UsageError: what lies there is not what the file wants; or the file wants what no run uses.
        DataError: data that the sweep cannot make is missing.
    """
    used = dict.fromkeys(cell.dataset for cell in cells)
    wanted: dict[str, DataConfig] = {}
    for number, entry in enumerate(file.config.data):
        if entry.dataset not in SOURCES:
            what = f"no dataset is called {entry.dataset!r}; there are: {', '.join(SOURCES)}"
        elif entry.dataset in wanted:
            what = f"{entry.dataset} has been described above already"
        elif entry.dataset not in used:
            what = f"no run of the matrix uses {entry.dataset}"
        else:
            wanted[entry.dataset] = entry
            continue
        raise file.wrong(("data", number, "dataset"), what)
    twins = []
    for name in used:
        source, described = open_source(name, folders.data), wanted.get(name)
        if absent := source.missing():
            if described is None or not described.synthetic:
                raise DataError(absent)
            twins.append(described)
        elif described is not None:
            _check(source, described)
    return twins


def _check(source: Source, wanted: DataConfig) -> None:
    """Refuse data of another kind than the file says."""
    there, fraction = "files that are not a twin", None
    for marker in source.folder.glob(f"*/{MARKER}"):
        if source.info().synthetic:
            try:
                fraction = json.loads(read_bytes(marker, 10_000))["fraction"]
                there = f"a twin of fraction {fraction:g}"
            except (ValueError, TypeError, LookupError) as error:
                raise DataError(f"{marker} is damaged; remove {marker.parent}, and the twin is made anew") from error
    asked = f"a twin of fraction {wanted.fraction:g}" if wanted.synthetic else "the files themselves"
    if (fraction is None) == wanted.synthetic or (wanted.synthetic and fraction != wanted.fraction):
        raise UsageError(
            f"{source.folder} holds {there} and the sweep wants {asked}; choose another --data-dir, or move it away"
        )


def unprepared(cells: Iterable[Cell]) -> tuple[list[Cell], dict[Path, str]]:
    """Which stores are to be made, and which of those that are there cannot be used.

    Returns:
        One cell for each store that is missing, and by location why another cannot be used.
    """
    first: dict[Path, Cell] = {}
    for cell in cells:
        if cell.wanted is not None and cell.unavailable is None:
            first.setdefault(cell.wanted.location, cell)
    missing, unusable = [], {}
    for location, cell in first.items():
        assert cell.wanted is not None
        if not exists(location):
            missing.append(cell)
            continue
        try:
            prepare(cell.wanted)
        except LoaderError as error:
            unusable[location] = str(error)
    return missing, unusable
