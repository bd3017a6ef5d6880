"""How long a sweep will take: from earlier records where there are some, else from a few training steps timed here."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.config import RunConfig
from bench.errors import BenchError, DataError
from bench.run.runner import RATE_REPEATS
from bench.sources.files import exists
from bench.sources.registry import open_source
from bench.sweep.calibrate import Calibration, Workload
from bench.sweep.child import Hold, run_task
from bench.sweep.config import SweepFile
from bench.sweep.data import missing_twins
from bench.sweep.durations import Durations
from bench.sweep.folder import Folder
from bench.sweep.job import CalibrateTask
from bench.sweep.lost import reason
from bench.sweep.plan import Cell, Folders, Plan
from bench.sweep.screen import duration

READ_PER_S = 20_000
"""Images a second that reading is taken to give where nothing is known: more than JPEG files, less than arrays."""
PREPARE_PER_S = 5_000
"""Images a second that preparing a store is taken to give."""
_PROBE = 0.02
"""Fraction of the twin that shows what a missing dataset will look like; the smallest that keeps all proportions."""
_WARM_UP_STEPS = 6
_PATIENCE_S = 600.0


class Facts(NamedTuple):
    """What a dataset holds, or will hold."""

    train: int
    test: int
    shape: tuple[int, int, int] | None
    classes: int


class Estimate(NamedTuple):
    """Seconds.

    Attributes:
        runs: of one run of each cell.
        recorded: which of them come from earlier records.
        stores: of making the stores that are missing.
    """

    runs: list[float]
    recorded: list[bool]
    stores: float


def facts_of(dataset: str, fraction: float, folders: Folders) -> Facts:
    """What is there, or what the official files or the twin of this fraction would hold.

    Raises:
        BenchError: files that are damaged.
    """
    source = open_source(dataset, folders.data)
    if not source.missing():
        splits = source.splits()
        return Facts(len(splits["train"]), len(splits["test"]), splits["train"].shape, len(source.info().classes))
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(dataset, Path(folder))
        source.make_twin(_PROBE, lambda *_: None)
        splits, scale = source.splits(), fraction / _PROBE
        train, test = (round(len(splits[name]) * scale) for name in ("train", "test"))
        return Facts(train, test, splits["train"].shape, len(source.info().classes))


def estimate(file: SweepFile, plan: Plan, folders: Folders, durations: Durations) -> Estimate:
    """Estimate every cell.

    Args:
        file: the sweep.
        plan: its cells.
        folders: where data and stores lie.
        durations: of earlier runs.

    Raises:
        BenchError: the steps cannot be timed, or data is damaged.
    """
    fractions = {entry.dataset: entry.fraction for entry in file.config.data}
    names = dict.fromkeys(cell.dataset for cell in plan.cells)
    facts = {name: facts_of(name, fractions.get(name, 1.0), folders) for name in names}
    known = [0.0 if cell.unavailable else durations.known(cell.config) for cell in plan.cells]
    unknown = [cell for cell, seconds in zip(plan.cells, known, strict=True) if seconds is None]
    start_s, sample_s = _calibrated(unknown, facts)
    runs = [
        run_s(cell.config, facts[cell.dataset], start_s, sample_s) if seconds is None else seconds
        for cell, seconds in zip(plan.cells, known, strict=True)
    ]
    return Estimate(runs, [seconds is not None for seconds in known], _stores_s(plan.cells, facts, start_s))


def run_s(config: RunConfig, facts: Facts, start_s: float, sample_s: Mapping[tuple[object, ...], float]) -> float:
    """Seconds of a run by what it does: training, evaluation at a third of training's cost, and reading.

    Args:
        config: the run.
        facts: of its dataset.
        start_s: of its process.
        sample_s: of a training step, by workload and divided by its samples.
    """
    train, test = _cut(facts, config.limit)
    batch = min(config.batch_size, train)
    steps = config.epochs * train + (config.ceiling_steps + _WARM_UP_STEPS) * batch
    warming = train + test if config.cache == "warm" else 0
    rated = 2 * RATE_REPEATS * min(config.rate_batches * batch, train)
    read = config.epochs * (train + test) + warming + train + rated
    computed = sample_s[_workload(config, facts).key] * (steps + config.epochs * test / 3)
    return start_s + computed + read / READ_PER_S


def _cut(facts: Facts, limit: int | None) -> tuple[int, int]:
    most = math.inf if limit is None else limit
    return int(min(facts.train, most)), int(min(facts.test, most))


def _workload(config: RunConfig, facts: Facts) -> Workload:
    size = config.image_size or 0
    return Workload(config=config, shape=facts.shape or (3, size, size), classes=facts.classes)


def _calibrated(cells: Iterable[Cell], facts: Mapping[str, Facts]) -> tuple[float, dict[tuple[object, ...], float]]:
    """Time each workload in a process of its own, which frees a GPU again."""
    workloads = {(w := _workload(cell.config, facts[cell.dataset])).key: w for cell in cells}
    if not workloads:
        return 0.0, {}
    with tempfile.TemporaryDirectory() as folder:
        answer, log = Path(folder) / "calibration.json", Path(folder) / "log"
        task = CalibrateTask(workloads=tuple(workloads.values()), started=time.time(), answer=answer)
        ended = run_task(task, log, Hold(Path(folder) / "running"), _PATIENCE_S)
        if ended.timed_out or ended.code:
            said = reason(ended, log.read_text(encoding="utf-8", errors="replace"), _PATIENCE_S)
            raise BenchError(f"cannot time training steps for the estimate: {said}")
        found = Calibration.model_validate_json(answer.read_bytes())
    return found.start_s, dict(zip(workloads, found.sample_s, strict=True))


def _stores_s(cells: Iterable[Cell], facts: Mapping[str, Facts], start_s: float) -> float:
    missing = {
        cell.wanted.location: sum(_cut(facts[cell.dataset], cell.config.limit))
        for cell in cells
        if cell.wanted is not None and cell.unavailable is None and not exists(cell.wanted.location)
    }
    return sum(start_s + samples / PREPARE_PER_S for samples in missing.values())


def dry_run_lines(file: SweepFile, plan: Plan, folders: Folders, out: Path) -> list[str]:
    """What a sweep would do and how long that would take, for people.

    Raises:
        UsageError, BenchError: as the sweep itself would raise, or the steps cannot be timed.
    """
    records, _ = Folder(out).records()
    try:
        twins = missing_twins(file, plan.cells, folders)
        notes = [f"a twin of {twin.dataset} of fraction {twin.fraction:g} would be made" for twin in twins]
    except DataError as error:  # the estimate does without
        notes = [f"it would not begin: {error}"]
    if file.config.process == "shared":
        notes.append("the runs of a round share a process; the estimate counts its start for each")
    if (limit_s := file.config.time_limit_s) is not None:
        notes.append(f"it would end after {duration(limit_s)}, and what is not done by then be left")
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    if busy > cores / 2:
        notes.append(
            f"the machine is busy (load {busy:.1f} on {cores} cores), so that the estimate may be far too high"
        )
    return [*plan_lines(plan, estimate(file, plan, folders, Durations(records.values()))), *notes]


def plan_lines(plan: Plan, made: Estimate) -> list[str]:
    """A plan with its estimate."""
    rounds = len(plan.rounds)
    lines = [f"{len(plan.cells)} runs in each of {rounds} rounds:"]
    for number, (cell, seconds) in enumerate(zip(plan.cells, made.runs, strict=True), 1):
        takes = f"unavailable: {cell.unavailable}" if cell.unavailable else f"about {duration(seconds)}"
        lines.append(f"{number:4}  {cell.label}: {takes}")
    lines += [f"left out: {what}" for what in dict.fromkeys(plan.left_out)]
    numbers = {cell.config.run_id: number for number, cell in enumerate(plan.cells, 1)}
    for number, members in enumerate(plan.rounds, 1):
        lines.append(f"round {number}: {' '.join(str(numbers[run.cell.config.run_id]) for run in members)}")
    total = sum(made.runs) * rounds + made.stores
    can_run = [known for cell, known in zip(plan.cells, made.recorded, strict=True) if not cell.unavailable]
    basis = []
    if any(can_run):
        basis.append("earlier records of such runs in the folder")
    if not all(can_run):
        basis.append(
            f"training steps timed on this machine, reading at {READ_PER_S:,} and preparing at {PREPARE_PER_S:,} "
            "images/s (assumed)"
        )
    lines.append(f"about {duration(total)} in all, by {' and '.join(basis) or 'nothing: no loader can run here'}")
    return lines
