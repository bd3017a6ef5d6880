"""Runs in processes, of their own or of a round: each run leaves one record whatever becomes of its process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from bench.records import Record, write_record
from bench.sweep import lost
from bench.sweep.child import Ended, run_task
from bench.sweep.folder import Folder
from bench.sweep.job import RunsTask, RunTask
from bench.sweep.plan import Folders, Run
from bench.sweep.together import read_marks

Tell = Callable[[Run, Record, float], None]
"""Told of each run that was tried: its record, which has been written, and how many seconds it took."""


class Clock:
    """The time that a sweep may take from now on."""

    def __init__(self, limit_s: float | None) -> None:
        """Args: limit_s in seconds; ``None``: as long as it likes."""
        self._end = math.inf if limit_s is None else time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds that are left; none below 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.left_s == 0


class Place(NamedTuple):
    """Where runs are done.

    Attributes:
        folder: gets their records and logs.
        folders: where data and stores lie.
        environment: of the machine, for the records of runs that are lost.
        timeout_s: how long a run may take.
        clock: of the sweep; a run that it cuts short counts as not tried.
    """

    folder: Folder
    folders: Folders
    environment: Mapping[str, Any]
    timeout_s: float
    clock: Clock


def alone(run: Run, place: Place, tell: Tell) -> None:
    """Do a run in a process of its own.

    Raises:
        BenchError: the record cannot be written.
    """
    log = place.folder.log(run.config.run_id)
    task, started_at = _task(run, place), lost.now()
    ended = run_task(task, log, place.folder.hold, min(place.timeout_s, place.clock.left_s))
    if (record := _judged(run, place, ended, started_at)) is not None:
        tell(run, record, ended.seconds)


def together(runs: Sequence[Run], place: Place, begins: Callable[[Run], None], tell: Tell) -> None:
    """Do runs one after another in as few processes as can be: after a failure the others get a new one.

    Args:
        runs: what to do.
        place: where.
        begins: told of the run that is under way.
        tell: told of each run.

    Raises:
        BenchError: a record cannot be written.
    """
    pending = list(runs)
    while pending and not place.clock.is_over:
        watch = _Watch(pending, place, begins, tell)
        task = RunsTask(
            runs=tuple(_task(run, place) for run in pending),
            logs=tuple(place.folder.log(run.config.run_id) for run in pending),
            marks=watch.marks,
        )
        ended = run_task(task, place.folder.log("together"), place.folder.hold, ends=watch.ends)
        watch.finish(ended)
        watch.marks.unlink(missing_ok=True)
        pending = [run for run in pending if run.config.run_id not in watch.tried]


class _Watch:
    """Follows a process that does several runs, by the notes that it makes."""

    def __init__(self, runs: Sequence[Run], place: Place, begins: Callable[[Run], None], tell: Tell) -> None:
        self.marks = place.folder.path / ".together"
        self.marks.unlink(missing_ok=True)
        self.tried: set[str] = set()
        self._runs = {run.config.run_id: run for run in runs}
        self._place = place
        self._begins = begins
        self._tell = tell
        self._current: str | None = None
        self._last = ""
        self._since, self._started_at = time.monotonic(), lost.now()

    def ends(self) -> bool:
        """Tell what is new; whether the process has had its time."""
        marks, now = read_marks(self.marks), time.monotonic()
        for name in marks.ended:
            if name not in self.tried:
                self._ended(name, now)
        if marks.current != self._current:
            self._current = marks.current
            if marks.current is not None:
                self._begins(self._runs[marks.current])
        return now - self._since > self._place.timeout_s or self._place.clock.is_over

    def finish(self, ended: Ended) -> None:
        """Tell of the last run; one that was not ended when its process was is lost, unless the sweep's time was."""
        self.ends()
        name = self._current or next((name for name in self._runs if name not in self.tried), None)
        if name is None:  # all were told of; it may not have ended well after the last
            _judged(self._runs[self._last], self._place, ended, self._started_at)
            return
        self.tried.add(name)
        run, seconds = self._runs[name], time.monotonic() - self._since
        if (record := _judged(run, self._place, ended, self._started_at)) is not None:
            self._tell(run, record, seconds)

    def _ended(self, name: str, now: float) -> None:
        self.tried.add(name)
        self._last = name
        path = self._place.folder.record(name)
        self._tell(self._runs[name], Record.model_validate_json(path.read_bytes()), now - self._since)
        self._since, self._started_at = now, lost.now()


def _task(run: Run, place: Place) -> RunTask:
    """What a process is to do; what an earlier attempt left is removed."""
    place.folder.record(run.config.run_id).unlink(missing_ok=True)
    return RunTask(
        config=run.config,
        dataset=run.cell.dataset,
        options=run.cell.given,
        data=place.folders.data,
        stores=place.folders.stores,
        out=place.folder.path,
    )


def _judged(run: Run, place: Place, ended: Ended, started_at: str) -> Record | None:
    """The record that the run left, or the one of a lost run; ``None`` where the sweep's time was over."""
    folder, log = place.folder, place.folder.log(run.config.run_id)
    try:
        record = Record.model_validate_json(folder.record(run.config.run_id).read_bytes())
    except (OSError, ValidationError):
        if ended.timed_out and place.clock.is_over:
            return None
        tail = lost.log_tail(log, run)
        reason = lost.reason(ended, tail, place.timeout_s)
        record = lost.record_of(run, "failed", reason, place.environment, started_at).model_copy(update={"log": tail})
        write_record(record, folder.path)
        return record
    changed = _with_log(record, lost.log_tail(log, run), ended) if record.status == "failed" else record
    if not ended.gone:
        changed = _flagged(changed, "a process that the run had started was still there half a minute after it")
    if record.status == "ok" and ended.code:
        changed = _flagged(changed, f"its process did not end well: {lost.reason(ended, '', place.timeout_s)}")
    if changed is not record:
        write_record(changed, folder.path)
    return changed


def _with_log(record: Record, tail: str, ended: Ended) -> Record:
    reason = record.error
    if ended.out_of_memory:
        reason = f"{reason}; meanwhile the system killed a process for lack of memory"
    return record.model_copy(update={"log": tail, "error": reason})


def _flagged(record: Record, flag: str) -> Record:
    return record.model_copy(update={"flags": [*record.flags, flag]})
