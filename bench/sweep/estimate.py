"""How long the runs of a sweep will take, by earlier records; and what a sweep would do, for ``--dry-run``."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.config import RunConfig
from bench.errors import DataError
from bench.records import Record
from bench.sweep.config import SweepFile
from bench.sweep.data import missing_twins
from bench.sweep.folder import Folder
from bench.sweep.plan import Folders, Plan
from bench.sweep.screen import duration

START_S = 5.0  # a process takes about so long before its record begins


class Durations:
    """Seconds that runs have taken, by what decides them: the settings, with the loader and without it."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """Those of the records that are "ok" count."""
        self._seconds: dict[str, list[float]] = {}
        for record in records:
            if record.status == "ok" and isinstance(record.config, RunConfig):
                begun, ended = map(datetime.datetime.fromisoformat, (record.started_at, record.finished_at))
                self.add(record.config, (ended - begun).total_seconds() + START_S)

    def add(self, config: RunConfig, seconds: float) -> None:
        """Note a run that went well."""
        for key in (*_keys(config), ""):
            self._seconds.setdefault(key, []).append(seconds)

    def known(self, config: RunConfig) -> float | None:
        """The median of the same run, or of those that differ in their loader alone; or ``None``."""
        return next((statistics.median(self._seconds[key]) for key in _keys(config) if key in self._seconds), None)

    def guess(self, config: RunConfig) -> float | None:
        """As ``known``, else the mean of all runs; ``None`` before the first."""
        return self.known(config) or (statistics.fmean(self._seconds[""]) if self._seconds else None)


def _keys(config: RunConfig) -> tuple[str, str]:
    cell = config.model_copy(update={"repeat": 0, "seed": 0})
    return cell.run_id, cell.model_copy(update={"loader": "", "options": {}}).run_id


def together_s(records: Sequence[Record]) -> float:
    """Seconds a round of runs that share a process, in which they may go on at the same time."""
    spans = sorted(tuple(map(datetime.datetime.fromisoformat, (r.started_at, r.finished_at))) for r in records)
    seconds, until = 0.0, spans[0][0]
    for begun, ended in spans:
        seconds += max(0.0, (ended - max(begun, until)).total_seconds())
        until = max(until, ended)
    return START_S + seconds / len({record.config.repeat for record in records})


def dry_run_lines(file: SweepFile, plan: Plan, folders: Folders, out: Path) -> list[str]:
    """What a sweep would do and how long that would take, for people; a `UsageError` as of the sweep itself."""
    records = Folder(out).records()[0].values()
    durations, alone = Durations(records), file.config.process == "own"
    lines = [f"{len(plan.cells)} runs in each of {len(plan.rounds)} rounds:"]
    total_s, unknown = 0.0, 0
    for number, cell in enumerate(plan.cells, 1):
        if cell.unavailable:
            takes = f"unavailable: {cell.unavailable}"
        elif (seconds := durations.known(cell.config)) is not None:
            takes = f"about {duration(seconds)}" if alone else "known"
            total_s += seconds * (cell.rounds or len(plan.rounds))
        else:
            takes, unknown = "unknown, there is no earlier record", unknown + 1
        lines.append(f"{number:4}  {cell.cell}: {takes}")
    lines += [f"left out: {what}" for what in dict.fromkeys(plan.left_out)]
    numbers = {cell.config.run_id: number for number, cell in enumerate(plan.cells, 1)}
    for number, members in enumerate(plan.rounds, 1):
        order = [numbers[run.config.model_copy(update={"repeat": 0}).run_id] for run in members]
        lines.append(f"round {number}: {' '.join(map(str, order))}")
    if unknown:
        lines.append(f"unknown how long in all: {unknown} runs of each round have no earlier record in the folder")
    else:
        planned = {_keys(cell.config)[0] for cell in plan.cells}
        done = ((r, r.config) for r in records if r.status == "ok")
        same = [r for r, config in done if isinstance(config, RunConfig) and _keys(config)[0] in planned]
        if same and not alone:
            total_s = together_s(same) * len(plan.rounds)
        lines.append(f"about {duration(total_s)} in all, by earlier records of such runs in the folder")
    try:
        twins = missing_twins(file, plan.cells, folders)
        lines += [f"a twin of {twin.dataset} of fraction {twin.fraction:g} would be made" for twin in twins]
    except DataError as error:
        lines.append(f"it would not begin: {error}")
    if (limit_s := file.config.time_limit_s) is not None:
        lines.append(f"it would end after {duration(limit_s)}, and what is not done by then be left")
    return lines
