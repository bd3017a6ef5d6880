"""What a process of a sweep does: a run, a store, a twin, or a look at the machine. It dies with its sweep."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.config import RunConfig
from bench.errors import UsageError
from bench.sweep.calibrate import Workload, calibrate
from bench.sweep.together import do_together

if TYPE_CHECKING:
    from bench.records import Record
    from bench.run.stores import Progress

_PR_SET_PDEATHSIG = 1


class _Task(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunTask(_Task):
    """Do one run and write its record into ``out``."""

    task: Literal["run"] = "run"
    config: RunConfig
    dataset: str
    options: dict[str, Any]
    data: Path
    stores: Path
    out: Path


class RunsTask(_Task):
    """Do runs one after another, noting how far it is, until one fails.

    Attributes:
        logs: of the runs.
        marks: gets the notes.
    """

    task: Literal["runs"] = "runs"
    runs: tuple[RunTask, ...]
    logs: tuple[Path, ...]
    marks: Path


class PrepareTask(_Task):
    """Make one store unless it is there."""

    task: Literal["prepare"] = "prepare"
    loader: str
    dataset: str
    source: dict[str, Any]
    options: dict[str, Any]
    limit: int | None
    data: Path
    stores: Path


class TwinTask(_Task):
    """Make a dataset's synthetic twin."""

    task: Literal["twin"] = "twin"
    dataset: str
    fraction: float
    data: Path


class EnvironmentTask(_Task):
    """Describe the machine, as records do, into ``answer``."""

    task: Literal["environment"] = "environment"
    device: str
    stores: Path
    answer: Path


class CalibrateTask(_Task):
    """Time a few steps of each workload, into ``answer``.

    Attributes:
        started: Unix time at which the process was asked for.
    """

    task: Literal["calibrate"] = "calibrate"
    workloads: tuple[Workload, ...]
    started: float
    answer: Path


AnyTask = Annotated[
    RunTask | RunsTask | PrepareTask | TwinTask | EnvironmentTask | CalibrateTask, Field(discriminator="task")
]


class Job(_Task):
    """What the sweep hands to its process.

    Attributes:
        sweep: process id of the sweep.
        task: what to do.
    """

    sweep: int
    task: AnyTask


def perform(text: str, progress: Progress, say: Callable[[str], None]) -> None:
    """Do what the sweep asks for.

    Args:
        text: a ``Job`` as JSON; a torn one means that the sweep has died.
        progress: told of preparations.
        say: takes a line for the log.

    Raises:
        UsageError: this is no job.
        BenchError, LoaderError: it failed; a failed run has left its record.
    """
    try:
        job = Job.model_validate_json(text)
    except ValueError as error:
        raise UsageError(f"this command is for `bench sweep` alone; what it got is no job ({error})") from None
    die_with(job.sweep)
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
    match job.task:
        case RunTask():
            _run(job.task, progress, say)
        case RunsTask(runs=runs, logs=logs, marks=marks):
            do_together(runs, logs, marks, lambda task, flags: _run(task, progress, say, flags))
        case PrepareTask():
            _prepare(job.task, progress)
        case TwinTask():
            _twin(job.task)
        case EnvironmentTask():
            _environment(job.task)
        case CalibrateTask():
            _answer(job.task.answer, calibrate(job.task.workloads, job.task.started).model_dump())


def die_with(parent: int) -> None:
    """Let the kernel kill this process as soon as its parent ends, however that ends (Linux)."""
    with contextlib.suppress(AttributeError):  # a C library without prctl
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


# The signal comes when the thread that forked ends, so that only the main thread's children can have it; those are
# the DataLoader's workers, which would otherwise outlive a killed run by five seconds.
_forking: int | None = None


def _before_fork() -> None:
    global _forking
    _forking = os.getpid() if threading.current_thread() is threading.main_thread() else None


def _after_fork() -> None:
    if _forking is not None:
        die_with(_forking)


def _run(task: RunTask, progress: Progress, say: Callable[[str], None], flags: Sequence[str] = ()) -> None:
    from bench.records import write_record
    from bench.run.draft import RunFailedError
    from bench.run.runner import run
    from bench.sources.base import SourceOptions
    from bench.sources.registry import open_source
    from bench.sweep.plan import wanted_of

    config = task.config
    source = open_source(task.dataset, task.data, SourceOptions.model_validate(config.source))
    wanted, _ = wanted_of(config.loader, source, task.options, config.limit, task.stores)
    try:
        record = run(config, wanted, progress, say)
    except RunFailedError as error:
        write_record(_flagged(error.record, flags), task.out)
        raise
    write_record(_flagged(record, flags), task.out)


def _flagged(record: Record, flags: Sequence[str]) -> Record:
    return record.model_copy(update={"flags": [*record.flags, *flags]}) if flags else record


def _prepare(task: PrepareTask, progress: Progress) -> None:
    from bench.run.stores import prepare
    from bench.sources.base import SourceOptions
    from bench.sources.registry import open_source
    from bench.sweep.plan import wanted_of

    source = open_source(task.dataset, task.data, SourceOptions.model_validate(task.source))
    prepare(wanted_of(task.loader, source, task.options, task.limit, task.stores)[0], progress)


def _twin(task: TwinTask) -> None:
    from bench.sources.registry import open_source

    open_source(task.dataset, task.data).make_twin(task.fraction, lambda *_: None)


def _environment(task: EnvironmentTask) -> None:
    import torch

    from bench.measure.environment import environment

    _answer(task.answer, environment(torch.device(task.device), task.stores))


def _answer(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
