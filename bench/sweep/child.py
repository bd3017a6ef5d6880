"""One process of a sweep: started in a session of its own, logged, ended in time, and gone with all that it started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.sweep.job import AnyTask, Job
from bench.sweep.oom import oom_kills

GRACE_S = 10.0
"""Given to a process that is told to end, before it is killed."""
_PARTING_S = 30.0
_BEAT_S = 0.25
_HIGH = 100
"""Lowest number of the inherited descriptor: low ones may be put to other use by the process's own children."""


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        code: its exit code; negative: the number of the signal that killed it.
        timed_out: it was ended for taking too long.
        out_of_memory: meanwhile the system killed a process for lack of memory.
        seconds: how long it took.
        gone: nothing that it started is left.
    """

    code: int
    timed_out: bool
    out_of_memory: bool
    seconds: float
    gone: bool


class Hold:
    """A lock file that a process and all that it starts keep shared until the last of them has ended."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def taken(self) -> Iterator[int]:
        """A descriptor for the process to inherit; it has the lock as long as any copy is open."""
        low = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            descriptor = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        finally:
            os.close(low)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield descriptor
        finally:
            os.close(descriptor)

    def wait_free(self, patience_s: float = _PARTING_S) -> bool:
        """Wait until every process that inherited the lock has ended; whether they have."""
        end = time.monotonic() + patience_s
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > end:
                        return False
                    time.sleep(0.02)
                else:
                    return True
        finally:
            os.close(descriptor)


def run_task(
    task: AnyTask,
    log: Path,
    hold: Hold,
    timeout_s: float | None = None,
    *,
    ends: Callable[[], bool] | None = None,
    grace_s: float = GRACE_S,
) -> Ended:
    """Do a task in a process of its own and wait for it; on any exception the process is ended first.

    Args:
        task: what to do.
        log: gets what the process prints; written anew.
        hold: inherited by the process and by its children.
        timeout_s: how long it may take, ``None``: as long as it likes.
        ends: asked now and then while it runs, in place of a timeout: whether it has had its time.
        grace_s: how long it may take to end when told to.
    """
    job = Job(sweep=os.getpid(), task=task).model_dump_json().encode()
    # The log must be complete when the process is killed, and say where.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "BENCH_DEBUG": "1"}
    log.parent.mkdir(parents=True, exist_ok=True)
    kills, started = oom_kills(), time.monotonic()
    with log.open("wb") as output, hold.taken() as descriptor:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "job"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(descriptor,),
            start_new_session=True,
        )
    timed_out = False
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as given:
            given.write(job)
        timed_out = not _has_ended(process, timeout_s) if ends is None else not _has_ended_before(process, ends)
    finally:
        _end(process, grace_s)
    seconds = time.monotonic() - started
    gone = hold.wait_free()
    after = oom_kills()
    return Ended(process.returncode, timed_out, None not in (kills, after) and kills != after, seconds, gone)


def _has_ended(process: subprocess.Popen[bytes], timeout_s: float | None) -> bool:
    """Wait for the process without collecting it, so that neither its number nor its group's can pass to another."""
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)


def _has_ended_before(process: subprocess.Popen[bytes], ends: Callable[[], bool]) -> bool:
    """Wait for the process until its time is over."""
    while not _has_ended(process, _BEAT_S):
        if ends():
            return _has_ended(process, 0)
    return True


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the process politely if it still runs, then kill whatever is left of its group."""
    try:
        if not _has_ended(process, 0):
            _signal(process.pid, signal.SIGTERM)
            _has_ended(process, grace_s)
    finally:  # a second Ctrl-C cuts the waiting short
        _signal(process.pid, signal.SIGKILL)
        process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
