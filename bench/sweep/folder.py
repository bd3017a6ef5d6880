"""The folder of a sweep: its locks, its logs, and the records that earlier sweeps have left in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.environments import compared
from bench.errors import BenchError, UsageError
from bench.records import Foreign, Record, read_records

PATIENCE_S = 30.0  # how long to wait for processes that must end
_HIGH = 100  # lowest number of an inherited descriptor: low ones may be put to other use by the process's own children


class Folder:
    """Records as ``<run_id>.json``, logs below ``logs/``, and two locks.

    ``.lock`` keeps other sweeps out. ``.running`` is shared by all processes of a sweep and all that they start, and is
    free when the last of them has ended, even if the sweep itself was killed.
    """

    def __init__(self, path: Path) -> None:
        """The folder is made when it is locked."""
        self.path, self._running = path, path / ".running"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other sweep out, and wait until nothing of a killed one is left.

        Raises:
            UsageError: another sweep is at it.
            BenchError: the folder cannot be written, or a process of a killed sweep does not end.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("ab")
        except OSError as error:
            raise BenchError(f"cannot write into {self.path}: {error.strerror}; choose another --out") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                what = f"another sweep is running into {self.path}"
                raise UsageError(f"{what}; wait for it to finish or choose another --out") from None
            if not self.processes_ended():
                raise BenchError(f"a process of an earlier sweep into {self.path} does not end; end it first")
            for torn in self.path.glob(".*.partial"):  # its writer is dead
                torn.unlink()
            yield

    @contextlib.contextmanager
    def inherited_lock(self) -> Iterator[int]:
        """A descriptor for a process to inherit, which has the shared lock as long as any copy of it is open."""
        with self._running.open("ab") as file:
            descriptor = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield descriptor
        finally:
            os.close(descriptor)

    def processes_ended(self) -> bool:
        """Wait for a while until all processes that inherited the lock have ended; whether they have."""
        end = time.monotonic() + PATIENCE_S
        with self._running.open("ab") as file:
            while time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                time.sleep(0.02)
        return False

    def log(self, name: str) -> Path:
        """Where the log of a run or of a preparation is."""
        return self.path / "logs" / f"{name}.log"

    def record(self, run_id: str) -> Path:
        """Where the record of a run is."""
        return self.path / f"{run_id}.json"

    def record_of(self, run_id: str) -> Record | None:
        """The record that a run has left, or ``None`` where there is no whole one."""
        try:
            return Record.model_validate_json(self.record(run_id).read_bytes())
        except (OSError, ValidationError):
            return None

    def records(self) -> tuple[dict[str, Record], list[Foreign]]:
        """All records by their run, and the files that are none."""
        records: dict[str, Record] = {}
        foreign = []
        for item in read_records(self.path) if self.path.is_dir() else ():
            if isinstance(item, Foreign):
                foreign.append(item)
            elif item[0] == self.record(item[1].run_id):
                records[item[1].run_id] = item[1]
        return records, foreign

    def forget(self, run_ids: Collection[str]) -> None:
        """Remove the records of these runs and all logs."""
        for path in (*map(self.record, run_ids), *self.path.glob("logs/*.log")):
            path.unlink(missing_ok=True)


def elsewhere(records: Collection[Record], environment: dict[str, Any]) -> str | None:
    """The warning about records of another machine or of other versions, or ``None`` if there are none."""
    count, different, here = 0, dict[str, None](), compared(environment)
    for record in records:
        there = compared(record.environment)
        ours = () if there["device"] == here["device"] else ("device", "gpu")  # a sweep may have both
        unequal = [key for key in there if there[key] != here.get(key) and key not in ours]
        count += bool(unequal)
        different |= dict.fromkeys(unequal)
    if not count:
        return None
    names = ", ".join(name.removesuffix("_bytes") for name in different)
    return f"{count} record{'s' if count > 1 else ''} from elsewhere (other {names}): the report keeps them apart"
