"""Does what a plan says, one process after another, and goes on where an earlier sweep was stopped."""

from __future__ import annotations

import itertools
import json
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.errors import BenchError, UsageError
from bench.measure.environment import environment
from bench.records import Record, write_record
from bench.sweep import lost
from bench.sweep.attempt import Clock, Place, alone, together
from bench.sweep.child import run_task
from bench.sweep.config import SweepFile
from bench.sweep.data import missing_twins, unprepared
from bench.sweep.durations import Durations
from bench.sweep.folder import Folder, elsewhere
from bench.sweep.job import AnyTask, EnvironmentTask, PrepareTask, TwinTask
from bench.sweep.plan import Folders, Plan, Run
from bench.sweep.screen import duration
from bench.sweep.telling import Listener, Summary

USAGE = 2
"""Exit code of a process that was asked for what cannot be."""


class Sweep:
    """One sweep into one folder."""

    def __init__(self, file: SweepFile, plan: Plan, folders: Folders, out: Path, listener: Listener) -> None:
        self._file = file
        self._plan = plan
        self._folders = folders
        self._folder = Folder(out)
        self._listener = listener
        self._timeout_s = file.config.timeout_s
        self._durations = Durations()
        self._environment: dict[str, Any] = {}
        self._unusable: dict[Path, str] = {}
        self._kept = self._ok = self._unavailable = 0
        self._failed: list[str] = []
        self._waiting: list[Run] = []
        self._clock = Clock(None)
        self._started = time.monotonic()

    def summary(self) -> Summary:
        """How it stands; at any time."""
        left = len(self._plan.runs) - self._kept - self._ok - self._unavailable - len(self._failed)
        seconds = time.monotonic() - self._started
        return Summary(self._kept, self._ok, self._unavailable, list(self._failed), left, seconds)

    def run(self, *, fresh: bool) -> None:
        """Do every run that has no record yet; one that fails does not stop the others.

        Args:
            fresh: forget the records that the plan's runs have, and do all of them.

        Raises:
            UsageError: the folder is in use, or what lies in the data folder is not what the file wants.
            BenchError: data that cannot be made, or a folder that cannot be written.
        """
        self._clock = Clock(self._file.config.time_limit_s)
        with self._folder.locked():
            records, foreign = self._folder.records()
            for item in foreign:
                self._listener.say(f"skipped {item.path}: {item.reason}")
            names = {run.config.run_id for run in self._plan.runs}
            if fresh:
                self._folder.forget(names & records.keys())
                records = {name: record for name, record in records.items() if name not in names}
            if others := len(records.keys() - names):
                self._listener.say(f"{others} other records stay in {self._folder.path} and in its report")
            twins = missing_twins(self._file, self._plan.cells, self._folders)
            self._environment = self._describe_machine()
            if warning := elsewhere(records.values(), self._environment):
                self._listener.say(f"warning: {self._folder.path} has {warning}")
            self._durations = Durations(records.values())
            pending = [run for run in self._plan.runs if not _is_finished(run, records.get(run.config.run_id))]
            self._kept = len(self._plan.runs) - len(pending)
            for twin in twins:
                self._make(
                    TwinTask(dataset=twin.dataset, fraction=twin.fraction, data=self._folders.data),
                    f"twin of {twin.dataset}",
                )
            pending = self._note_unavailable(pending)
            self._prepare_stores(pending)
            self._progress(pending)
            self._waiting = pending
            self._do_all()
            for run in self._waiting:
                self._listener.say(
                    f"not done: {run.label}: the sweep's time of {self._file.config.time_limit_s:g} s is over"
                )

    def _describe_machine(self) -> dict[str, Any]:
        """The environment as this sweep's records have it. A process of its own asks a GPU, and leaves it again."""
        devices = {cell.config.device for cell in self._plan.cells}
        if devices == {"cpu"}:
            return environment(torch.device("cpu"), self._folders.stores)
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "environment.json"
            self._make(EnvironmentTask(device="cuda", stores=self._folders.stores, answer=answer), "the machine")
            found: dict[str, Any] = json.loads(answer.read_bytes())
            return found

    def _note_unavailable(self, pending: Sequence[Run]) -> list[Run]:
        """Leave the records of loaders that cannot run here; gives the other runs."""
        others: list[Run] = []
        noted: dict[str, str] = {}
        for run in pending:
            if run.cell.unavailable is None:
                others.append(run)
                continue
            # An importing error is anyone's words; a loader's own reason stands as it would in a run's record.
            error = run.cell.unavailable if run.cell.wanted else lost.public_text(run.cell.unavailable, run)
            self._note(run, "unavailable", error)
            self._unavailable += 1
            noted[run.cell.label] = error
        for label, error in noted.items():
            self._listener.say(f"{label}: unavailable: {error}")
        return others

    def _prepare_stores(self, pending: Sequence[Run]) -> None:
        """Make every store that is missing; the runs of one that cannot be made or used will fail."""
        self._listener.doing("looking at the stores")
        missing, self._unusable = unprepared(run.cell for run in pending)
        for cell in missing:
            if self._clock.is_over:
                return
            wanted = cell.wanted
            assert wanted is not None
            task = PrepareTask(
                loader=cell.config.loader,
                dataset=cell.dataset,
                source=cell.config.source,
                options=cell.given,
                limit=cell.config.limit,
                data=self._folders.data,
                stores=self._folders.stores,
            )
            try:
                self._make(task, f"store {wanted.relative}")
            except UsageError:  # the file asks for what cannot be: better to say so before hours of other runs
                raise
            except BenchError as error:
                self._unusable[wanted.location] = str(error)

    def _make(self, task: AnyTask, what: str) -> None:
        """Do something that is no run.

        Raises:
            UsageError, BenchError: it failed; says as its process did.
        """
        self._listener.doing(f"making the {what}")
        log = self._folder.log(re.sub(r"[^\w.=-]+", "-", what))
        timeout_s = min(self._timeout_s, self._clock.left_s)
        ended = run_task(task, log, self._folder.hold, timeout_s)
        if ended.timed_out or ended.code:
            said = lost.reason(ended, log.read_text(encoding="utf-8", errors="replace"), timeout_s)
            raise (UsageError if ended.code == USAGE else BenchError)(f"the {what} could not be made: {said}")
        if isinstance(task, TwinTask | PrepareTask):
            self._listener.say(f"made the {what} in {ended.seconds:.0f} s")

    def _do_all(self) -> None:
        """Do the runs that wait, in their rounds, as long as there is time."""
        ready = []
        for run in list(self._waiting):
            wanted = run.cell.wanted
            if wanted is not None and wanted.location in self._unusable:
                error = lost.public_text(self._unusable[wanted.location], run)
                self._ended(run, self._note(run, "failed", error), 0.0)
            else:
                ready.append(run)
        place = Place(self._folder, self._folders, self._environment, self._timeout_s, self._clock)
        shared = self._file.config.process == "shared"
        for _, members in itertools.groupby(ready, lambda run: run.config.repeat if shared else run.config.run_id):
            if self._clock.is_over:
                return
            if shared:
                together(list(members), place, lambda run: self._listener.doing(run.label), self._ended)
                continue
            for run in members:
                self._listener.doing(run.label)
                alone(run, place, self._ended)

    def _ended(self, run: Run, record: Record, seconds: float) -> None:
        """Count a run that was tried, and say what became of it."""
        self._waiting.remove(run)
        match record.status:
            case "ok":
                self._ok += 1
                self._durations.add(run.config, seconds)
                said = f"{run.label}: ok, {seconds:.1f} s"
            case "unavailable":
                self._unavailable += 1
                said = f"{run.label}: unavailable: {record.error}"
            case _:
                self._failed.append(f"{run.label}: {record.error}")
                said = f"{run.label}: failed: {record.error}"
        left = self._progress(self._waiting)
        total = len(self._plan.runs)
        self._listener.say(f"[{total - len(self._waiting)}/{total}] {said}{left}")

    def _note(self, run: Run, status: str, error: str) -> Record:
        """Leave the record of a run that is not tried."""
        record = lost.record_of(run, status, error, self._environment, lost.now())
        write_record(record, self._folder.path)
        return record

    def _progress(self, pending: Sequence[Run]) -> str:
        """Tell how many runs are left, and for how long, where that can be guessed; gives the latter in words."""
        guesses = [self._durations.guess(run.config) for run in pending]
        left_s = None if None in guesses else sum(guess for guess in guesses if guess is not None)
        self._listener.progress(len(self._plan.runs) - len(pending), len(self._plan.runs), left_s)
        return f"; about {duration(left_s)} left" if left_s else ""


def _is_finished(run: Run, record: Record | None) -> bool:
    """Whether a record needs no other attempt: what could not run is tried once it can."""
    if record is None:
        return False
    return record.status == "ok" or (record.status == "unavailable" and run.cell.unavailable is not None)
