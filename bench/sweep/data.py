"""The datasets that a sweep needs: those that are there must be what its file describes, missing twins are made."""

from __future__ import annotations

import json
from collections.abc import Iterable

from bench.errors import DataError, UsageError
from bench.sources.base import Source
from bench.sources.files import MARKER, read_bytes
from bench.sources.registry import SOURCES, open_source
from bench.sweep.config import DataConfig, SweepFile
from bench.sweep.plan import Folders, Run


def missing_twins(file: SweepFile, cells: Iterable[Run], folders: Folders) -> list[DataConfig]:
    """The twins to be made, after a check of everything else in the data folder.

    Raises:
        UsageError: what lies there is not what the file describes; or the file describes what no run uses.
        DataError: data that the sweep cannot make is missing.
    """
    used = dict.fromkeys(cell.dataset for cell in cells)
    described: dict[str, DataConfig] = {}
    for number, entry in enumerate(file.config.data):
        name = entry.dataset
        if name not in SOURCES:
            what = f"no dataset is called {name!r}; there are: {', '.join(SOURCES)}"
        elif name in described:
            what = f"{name} has been described above already"
        elif name not in used:
            what = f"no run of the matrix uses {name}"
        else:
            described[name] = entry
            continue
        raise file.error(("data", number, "dataset"), what)
    twins = []
    for name in used:
        source, wanted = open_source(name, folders.data), described.get(name)
        if absent := source.missing():
            if wanted is None or not wanted.synthetic:
                raise DataError(absent)
            twins.append(wanted)
        elif wanted is not None:
            _check_kind(source, wanted)
    return twins


def _check_kind(source: Source, described: DataConfig) -> None:
    there, fraction = "files that are not a twin", None
    for marker in source.folder.glob(f"*/{MARKER}"):
        if source.info().synthetic:
            try:
                fraction = json.loads(read_bytes(marker, 10_000))["fraction"]
                there = f"a twin of fraction {fraction:g}"
            except (ValueError, TypeError, LookupError) as error:
                raise DataError(f"{marker} is damaged; remove {marker.parent}, and the twin is made anew") from error
    if fraction != (described.fraction if described.synthetic else None):
        asked = f"a twin of fraction {described.fraction:g}" if described.synthetic else "the files themselves"
        what = f"{source.folder} holds {there} and the sweep wants {asked}"
        raise UsageError(f"{what}; choose another --data-dir, or move it away")
