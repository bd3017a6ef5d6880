"""How long runs have taken, and so how long others of their kind will take."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Iterable

from bench.config import RunConfig
from bench.records import Record

START_S = 5.0
"""A process takes about so long before its record begins: what a record's own times leave out."""


class Durations:
    """Seconds of runs, found again by what decides them."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """Args: records of earlier runs; those that are not "ok" tell nothing."""
        self._cells: dict[str, list[float]] = {}
        self._kinds: dict[str, list[float]] = {}
        self._all: list[float] = []
        for record in records:
            if record.status == "ok" and isinstance(record.config, RunConfig):
                begun, ended = map(datetime.datetime.fromisoformat, (record.started_at, record.finished_at))
                self.add(record.config, (ended - begun).total_seconds() + START_S)

    def add(self, config: RunConfig, seconds: float) -> None:
        """Note a run that went well."""
        cell, kind = _keys(config)
        self._cells.setdefault(cell, []).append(seconds)
        self._kinds.setdefault(kind, []).append(seconds)
        self._all.append(seconds)

    def known(self, config: RunConfig) -> float | None:
        """What the same run took, or one that differs in its loader alone, in the middle; or ``None``."""
        cell, kind = _keys(config)
        found = self._cells.get(cell) or self._kinds.get(kind)
        return statistics.median(found) if found else None

    def guess(self, config: RunConfig) -> float | None:
        """As ``known``, else the mean of all runs; ``None`` before the first."""
        return self.known(config) or (statistics.fmean(self._all) if self._all else None)


def _keys(config: RunConfig) -> tuple[str, str]:
    """What decides a run's duration, with the loader and without it."""
    cell = config.model_copy(update={"repeat": 0, "seed": 0})
    return cell.run_id, cell.model_copy(update={"loader": "", "options": {}}).run_id
