"""The folder of a sweep: its lock, its logs, and the records that earlier sweeps have left in it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from bench.environments import compared
from bench.errors import BenchError, UsageError
from bench.records import Foreign, Record, read_records
from bench.sweep.child import Hold


class Folder:
    """Records as ``<run_id>.json``, logs below ``logs/``.

    Attributes:
        hold: shared by the processes of the sweep that has the folder, until the last of them has ended.
    """

    def __init__(self, path: Path) -> None:
        """Args: path may be missing; it is made when it is locked."""
        self.path = path
        self.hold = Hold(path / ".running")

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
                raise UsageError(
                    f"another sweep is running into {self.path}; wait for it to finish or choose another --out"
                ) from None
            if not self.hold.wait_free():
                raise BenchError(f"a process of an earlier sweep into {self.path} does not end; end it first")
            for torn in self.path.glob(".*.partial"):  # its writer is dead
                torn.unlink()
            yield

    def log(self, name: str) -> Path:
        """Where the log of a run or of a preparation is."""
        return self.path / "logs" / f"{name}.log"

    def records(self) -> tuple[dict[str, Record], list[Foreign]]:
        """All records by their run, and the files that are none."""
        found: dict[str, Record] = {}
        foreign = []
        if self.path.is_dir():
            for item in read_records(self.path):
                if isinstance(item, Foreign):
                    foreign.append(item)
                elif item[0] == self.record(item[1].run_id):
                    found[item[1].run_id] = item[1]
        return found, foreign

    def record(self, run_id: str) -> Path:
        """Where the record of a run is."""
        return self.path / f"{run_id}.json"

    def forget(self, records: Collection[str]) -> None:
        """Remove these records and all logs."""
        for path in (*map(self.record, records), *self.path.glob("logs/*.log")):
            path.unlink(missing_ok=True)


def elsewhere(records: Collection[Record], environment: dict[str, Any]) -> str | None:
    """The warning about records of another machine or of other versions, or ``None`` if there are none."""
    different: dict[str, None] = {}
    count = 0
    for record in records:
        there, here = compared(record.environment), compared(environment)
        ours = () if there["device"] == here["device"] else ("device", "gpu")  # a sweep may have both
        unequal = [key for key in there if there[key] != here.get(key) and key not in ours]
        count += bool(unequal)
        different |= dict.fromkeys(unequal)
    if not count:
        return None
    names = ", ".join(name.removesuffix("_bytes") for name in different)
    return f"{count} record{'s' if count > 1 else ''} from elsewhere (other {names}): the report keeps them apart"
