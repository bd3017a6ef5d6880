"""Does what a plan says, one process after another, and goes on where an earlier sweep was stopped."""

from __future__ import annotations

import collections
import itertools
import json
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.errors import BenchError, UsageError
from bench.measure.environment import environment
from bench.records import Record, write_record
from bench.run.stores import prepare
from bench.sources.files import exists
from bench.sweep.config import SweepFile
from bench.sweep.data import missing_twins
from bench.sweep.estimate import Durations
from bench.sweep.folder import Folder, elsewhere
from bench.sweep.job import AnyTask, EnvironmentTask, PrepareTask, RunsTask, Subject, TwinTask
from bench.sweep.outcome import Status, empty_record, judged, log_tail, now, public_text, reason
from bench.sweep.plan import Folders, Plan, Run
from bench.sweep.process import started
from bench.sweep.screen import Screen, duration
from loaders import LoaderError

USAGE = 2  # exit code of a process that was asked for what cannot be


class Sweep:
    """One sweep into one folder; ``failed`` has the runs that failed, each with its reason."""

    def __init__(self, file: SweepFile, plan: Plan, folders: Folders, out: Path, screen: Screen) -> None:
        self.failed: list[str] = []
        self._file, self._config, self._plan = file, file.config, plan
        self._folders, self._folder, self._screen = folders, Folder(out), screen
        self._waiting = plan.runs
        self._counts = collections.Counter[str]()
        self._durations = Durations()
        self._environment: dict[str, Any] = {}
        self._started = time.monotonic()
        self._end = math.inf

    def summary(self) -> str:
        """How many runs had which end, at any time, in one line."""
        counts = {what: self._counts[what] for what in ("ok", "finished before", "unavailable", "failed")}
        counts["not done"] = len(self._waiting)
        text = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        return f"{text or 'nothing to do'}; {time.monotonic() - self._started:.0f} s"

    def run(self, *, fresh: bool) -> None:
        """Do every run that has no record yet, or with ``fresh`` every run; one that fails does not stop the others.

        Raises:
            UsageError: the folder is in use, or what lies in the data folder is not what the file describes.
            BenchError: data that cannot be made, or a folder that cannot be written.
        """
        self._end = time.monotonic() + (self._config.time_limit_s or math.inf)
        with self._folder.locked():
            records = self._earlier_records(fresh=fresh)
            twins = missing_twins(self._file, self._plan.cells, self._folders)
            if "cuda" not in {cell.config.device for cell in self._plan.cells}:
                self._environment = environment(torch.device("cpu"), self._folders.stores)
            else:  # a process of its own asks a GPU, and leaves it again
                (answer,) = self._make(
                    EnvironmentTask(device="cuda", stores=self._folders.stores), "description of the machine"
                )
                self._environment = json.loads(answer)
            if warning := elsewhere(records.values(), self._environment):
                self._screen.say(f"warning: {self._folder.path} has {warning}")
            self._durations = Durations(records.values())
            finished = {(run_id, record.status) for run_id, record in records.items()}
            self._waiting = [
                run
                for run in self._plan.runs
                if (run.config.run_id, "ok") not in finished
                # What could not run is tried once it can.
                and (run.unavailable is None or (run.config.run_id, "unavailable") not in finished)
            ]
            self._counts["finished before"] = len(self._plan.runs) - len(self._waiting)
            for twin in twins:
                task = TwinTask(dataset=twin.dataset, fraction=twin.fraction, data=self._folders.data)
                self._make(task, f"twin of {twin.dataset}")
            self._note_unavailable()
            if self._config.process != "turns":  # else each run makes what it lacks: a process for each takes longer
                self._prepare_stores()
            self._show_progress()
            waiting = list(self._waiting)
            if self._config.process == "turns":  # what one run has mapped, another could not evict
                waiting.sort(key=lambda run: (run.config.repeat, run.config.cache))
            for _, members in itertools.groupby(waiting, self._process_of):
                runs = list(members)
                while runs and time.monotonic() < self._end:
                    runs = self._do_in_one_process(runs)
            for run in self._waiting:
                self._screen.say(f"not done: {run.label}: the sweep's time of {self._config.time_limit_s:g} s is over")

    def _process_of(self, run: Run) -> object:
        """The same for runs that share a process."""
        repeat, cache = run.config.repeat, run.config.cache
        return {"own": run.config.run_id, "shared": repeat, "turns": (repeat, cache)}[self._config.process]

    def _earlier_records(self, *, fresh: bool) -> dict[str, Record]:
        """The records of the folder, without those to be forgotten; tells of what else lies in it."""
        records, foreign = self._folder.records()
        for item in foreign:
            self._screen.say(f"skipped {item.path}: {item.reason}")
        planned = {run.config.run_id for run in self._plan.runs}
        if fresh:
            self._folder.forget(planned & records.keys())
            records = {run_id: record for run_id, record in records.items() if run_id not in planned}
        if others := len(records.keys() - planned):
            self._screen.say(f"{others} other records stay in {self._folder.path} and in its report")
        return records

    def _note_unavailable(self) -> None:
        """Leave the records of the runs whose loader cannot run here."""
        errors: dict[str, str] = {}
        for run in list(self._waiting):
            if run.unavailable is not None:
                # An importing error is anyone's words; a loader's own reason stands as it would in a run's record.
                error = run.unavailable if run.spec else public_text(run.unavailable, run)
                self._write_empty(run, "unavailable", error)
                self._waiting.remove(run)
                self._counts["unavailable"] += 1
                errors[run.cell] = error
        for cell, error in errors.items():
            self._screen.say(f"{cell}: unavailable: {error}")

    def _prepare_stores(self) -> None:
        """Make every store that is missing; the runs of one that cannot be made or used fail."""
        self._screen.doing("looking at the stores")
        stores: dict[Path, list[Run]] = {}
        for run in self._waiting:
            assert run.spec is not None  # else it is unavailable, and has been noted as such
            stores.setdefault(run.spec.location, []).append(run)
        for location, runs in stores.items():
            spec = runs[0].spec
            assert spec is not None
            try:
                if exists(location):
                    prepare(spec)  # which looks at what is there
                elif time.monotonic() < self._end:
                    self._make(PrepareTask(subject=self._subject(runs[0])), f"store {spec.relative}")
            except UsageError:  # the file asks for what cannot be: better to say so before hours of other runs
                raise
            except (BenchError, LoaderError) as error:
                for run in runs:
                    self._end_run(run, self._write_empty(run, "failed", public_text(str(error), run)), 0.0)

    def _make(self, task: AnyTask, what: str) -> list[str]:
        """Do something that is no run and give the process's notes; a `BenchError` says why its process failed."""
        self._screen.doing(f"making the {what}")
        log = re.sub(r"[^\w.=-]+", "-", what)
        since = time.monotonic()
        timeout_s = min(self._config.timeout_s, self._end - since)
        with started(task, self._folder, log) as process:
            notes = list(process.notes(timeout_s))
        if process.ended.timed_out or process.ended.code:
            text = self._folder.log(log).read_text(encoding="utf-8", errors="replace")
            kind = UsageError if process.ended.code == USAGE else BenchError
            raise kind(f"the {what} could not be made: {reason(process.ended, text, timeout_s)}")
        if isinstance(task, TwinTask | PrepareTask):
            self._screen.say(f"made the {what} in {time.monotonic() - since:.0f} s")
        return notes

    def _do_in_one_process(self, runs: list[Run]) -> list[Run]:
        """Do runs one after another, or in turns, until one fails; gives those that need another process."""
        by_id = {run.config.run_id: run for run in runs}
        for run_id in by_id:  # what an earlier attempt left
            self._folder.record(run_id).unlink(missing_ok=True)
        turns = self._config.process == "turns"
        task = RunsTask(runs=[self._subject(run) for run in runs], out=self._folder.path, turns=turns)
        run, since, started_at, spent = runs[0], time.monotonic(), now(), collections.defaultdict[str, float](float)
        with started(task, self._folder, run.config.run_id) as process:
            for run_id in process.notes(self._config.timeout_s, self._end):
                spent[run.config.run_id] += time.monotonic() - since
                run, since = by_id[run_id], time.monotonic()
                started_at = now() if not spent[run_id] else started_at
                self._screen.doing(run.label)
                self._end_finished(by_id, spent, but=run)
        spent[run.config.run_id] += time.monotonic() - since
        self._end_finished(by_id, spent, but=run)
        ended, own = process.ended, self._folder.record_of(run.config.run_id)
        del by_id[run.config.run_id]
        rest = list(by_id.values())
        if ended.timed_out and own is not None and own.status == "failed":
            own = None  # it may have taken the signal that ended it for an error of its own
        if ended.timed_out and own is None and time.monotonic() >= self._end:  # it counts as not tried
            self._folder.record(run.config.run_id).unlink(missing_ok=True)
            return rest
        log = log_tail(self._folder.log(run.config.run_id), run)
        record = judged(run, own, ended, log, self._config.timeout_s, self._environment, started_at)
        if record != own:
            write_record(record, self._folder.path)
        self._end_run(run, record, spent[run.config.run_id])
        return rest

    def _end_finished(self, by_id: dict[str, Run], spent: Mapping[str, float], but: Run) -> None:
        """Count the runs that have left a record, but for the one whose turn it is, and forget them."""
        for run_id, run in list(by_id.items()):
            if run is not but and (record := self._folder.record_of(run_id)) is not None:
                del by_id[run_id]
                self._end_run(run, record, spent[run_id])

    def _end_run(self, run: Run, record: Record, seconds: float) -> None:
        """Count a run that was tried, and say what became of it."""
        self._waiting.remove(run)
        self._counts[record.status] += 1
        text, total = f"{run.label}: {record.status}: {record.error}", len(self._plan.runs)
        if record.status == "ok":
            self._durations.add(run.config, seconds)
            text = f"{run.label}: ok, {seconds:.1f} s"
        elif record.status == "failed":
            self.failed.append(f"{run.label}: {record.error}")
        left_s = self._show_progress()
        left = f"; about {duration(left_s)} left" if left_s else ""
        self._screen.say(f"[{total - len(self._waiting)}/{total}] {text}{left}")

    def _write_empty(self, run: Run, status: Status, error: str) -> Record:
        """Leave the record of a run that is not tried."""
        record = empty_record(run, status, error, self._environment, now())
        write_record(record, self._folder.path)
        return record

    def _show_progress(self) -> float | None:
        """Show how many runs are left; gives the seconds that these take, where they can be guessed."""
        guesses = [self._durations.guess(run.config) for run in self._waiting]
        left_s = None if None in guesses else sum(guess for guess in guesses if guess is not None)
        self._screen.done(len(self._plan.runs) - len(self._waiting), len(self._plan.runs), left_s)
        return left_s

    def _subject(self, run: Run) -> Subject:
        return Subject(config=run.config, dataset=run.dataset, options=run.options, **self._folders._asdict())
