"""One process of a sweep: in a session of its own, logged, ended in time, and gone with all that it started."""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import NamedTuple

from bench.sweep.folder import Folder
from bench.sweep.job import AnyTask, Job

GRACE_S = 10.0  # given to a process that is told to end, before it is killed


class Ended(NamedTuple):
    """How a process ended."""

    code: int  # its exit code; negative: the number of the signal that killed it
    timed_out: bool  # it was ended for taking too long
    out_of_memory: bool  # meanwhile the system killed a process for lack of memory
    gone: bool  # nothing that it started is left


class Process:
    """A process that does a task."""

    ended: Ended  # set when the ``with`` of `started` is left

    def __init__(self, popen: Popen[bytes], notes: int) -> None:
        self.timed_out = False
        self._popen, self._notes, self._pidfd = popen, notes, os.pidfd_open(popen.pid)

    def notes(self, timeout_s: float, end: float = math.inf) -> Iterator[str]:
        """The lines that the process notes, until it has ended or has had its time.

        That is ``timeout_s`` from note to note, and no longer than to ``end`` on the monotonic clock.
        """
        rest, has_ended = b"", False
        while not has_ended:
            left_s = max(0.0, min(timeout_s, end - time.monotonic()))
            ready, _, _ = select.select([self._pidfd, self._notes], [], [], left_s)
            if not ready:
                self.timed_out = True
                return
            has_ended = self._pidfd in ready
            with contextlib.suppress(BlockingIOError):
                *lines, rest = (rest + os.read(self._notes, 65536)).split(b"\n")
                yield from map(bytes.decode, lines)

    def end(self) -> None:
        """End it politely if it still runs, then kill whatever is left of its group."""
        try:
            if not select.select([self._pidfd], [], [], 0)[0]:
                self._signal(signal.SIGTERM)
                select.select([self._pidfd], [], [], GRACE_S)
        finally:  # a second Ctrl-C cuts the waiting short
            # Only now is it collected: until then neither its number nor its group's can pass to another.
            self._signal(signal.SIGKILL)
            self._popen.wait()
            os.close(self._pidfd)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)


@contextlib.contextmanager
def started(task: AnyTask, folder: Folder, log: str) -> Iterator[Process]:
    """Do a task in a process, which is ended with all that it started when the ``with`` is left.

    What it prints goes into the log of that name, which is written anew.
    """
    folder.log(log).parent.mkdir(parents=True, exist_ok=True)
    kills = oom_kills()
    notes, writer = os.pipe()
    os.set_blocking(notes, False)
    with folder.log(log).open("wb") as output, folder.inherited_lock() as lock:
        popen = Popen(
            [sys.executable, "-m", "bench", "job"],
            stdin=PIPE,
            stdout=output,
            stderr=STDOUT,
            # The log must be complete when the process is killed, and say where.
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "BENCH_DEBUG": "1"},
            pass_fds=(lock, writer),
            start_new_session=True,
        )
    process = Process(popen, notes)
    try:
        os.close(writer)
        assert popen.stdin is not None
        with contextlib.suppress(BrokenPipeError), popen.stdin as given:
            given.write(Job(sweep=os.getpid(), notes=writer, task=task).model_dump_json().encode())
        yield process
    finally:
        process.end()
        os.close(notes)
    gone, after = folder.processes_ended(), oom_kills()
    process.ended = Ended(popen.returncode, process.timed_out, None not in (kills, after) and kills != after, gone)


def oom_kills(root: Path = Path("/")) -> int | None:
    """Processes that the system has ever killed for lack of memory: in this one's control group, else on the machine.

    ``root`` has ``proc`` and ``sys``. Gives ``None`` where nothing tells.
    """
    paths = []
    # The group's file in version 2's hierarchy, which names no controllers, or in version 1's.
    counters = {"": ("sys/fs/cgroup", "memory.events"), "memory": ("sys/fs/cgroup/memory", "memory.oom_control")}
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines():
            _, controllers, group = line.split(":", 2)
            for folder, name in (counters[each] for each in controllers.split(",") if each in counters):
                # A container may see its own group as the top of the tree and be told its path outside.
                paths += [root / folder / group.strip("/") / name, root / folder / name]
    for path in (*paths, root / "proc/vmstat"):
        with contextlib.suppress(OSError):
            if kills := re.search(r"^oom_kill (\d+)", path.read_text(encoding="utf-8"), re.MULTILINE):
                return int(kills[1])
    return None
