"""What a process of a sweep does: runs, a store, a twin, or a look at the machine. It dies with its sweep."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from bench.config import RunConfig
from bench.errors import UsageError
from bench.progress import bar, err
from bench.records import write_record
from bench.sweep.folder import Folder

if TYPE_CHECKING:  # torch, which takes seconds to import, must wait until this process dies with its sweep
    from bench.records import Record
    from bench.run.draft import Steps
    from bench.run.stores import StoreSpec

FLAG = "not in a process of its own: other runs came before it in the same one"
TURNS = "not in a process of its own: the slices of its search came in turns with those of the round's other runs"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Subject(_Strict):
    """A run, or the store that it needs, as another process can be told of it."""

    config: RunConfig
    dataset: str  # as `open_source` takes it
    options: dict[str, Any]  # of the loader, secrets included
    data: Path
    stores: Path

    def spec(self) -> StoreSpec:
        """The loader over the dataset."""
        from bench.run.stores import spec_of
        from bench.sources.base import SourceOptions
        from bench.sources.registry import open_source

        source = open_source(self.dataset, self.data, SourceOptions.model_validate(self.config.source))
        return spec_of(self.config.loader, source, self.options, self.config.limit, self.stores)[0]


class RunsTask(_Strict):
    """Do runs one after another, or their slices in turns, and write their records; note whose turn it is."""

    runs: list[Subject]
    out: Path
    turns: bool = False

    def _notes(self) -> Iterator[str]:
        import torch

        from bench.run.runner import steps_of

        threads, seed = torch.get_num_threads(), torch.initial_seed()
        waiting: dict[str, Steps[Record]] = {}
        for number, subject in enumerate(self.runs):
            if number:
                clean_up(threads, seed)
            run_id = subject.config.run_id
            yield run_id
            print_into(Folder(self.out).log(run_id), "wb")
            waiting[run_id] = steps_of(subject.config, subject.spec(), bar, err.print)
            while self._goes_on(waiting, run_id) and not self.turns:
                pass
        chance = random.Random(" ".join(waiting))  # noqa: S311 - an order, no secret
        while waiting:
            run_id = chance.choice(list(waiting))
            yield run_id
            print_into(Folder(self.out).log(run_id), "ab")
            self._goes_on(waiting, run_id)

    def _goes_on(self, waiting: dict[str, Steps[Record]], run_id: str) -> bool:
        """Do a run's next step; one that has ended leaves its record and does not wait any longer."""
        from bench.run.draft import RunFailedError

        try:
            next(waiting[run_id])
        except StopIteration as end:
            record, failure = end.value, None
        except RunFailedError as error:  # what it leaves behind is not known: no other run follows
            record, failure = error.record, error
        else:
            return True
        del waiting[run_id]
        flags = [TURNS] if self.turns else [] if run_id == self.runs[0].config.run_id else [FLAG]
        write_record(record.model_copy(update={"flags": [*record.flags, *flags]}), self.out)
        if failure:
            raise failure
        return False


class PrepareTask(_Strict):
    """Make one store unless it is there."""

    subject: Subject

    def _notes(self) -> tuple[str, ...]:
        from bench.run.stores import prepare

        prepare(self.subject.spec(), bar)
        return ()


class TwinTask(_Strict):
    """Make a dataset's synthetic twin."""

    dataset: str
    fraction: float
    data: Path

    def _notes(self) -> tuple[str, ...]:
        from bench.sources.registry import open_source

        open_source(self.dataset, self.data).make_twin(self.fraction, lambda *_: None)
        return ()


class EnvironmentTask(_Strict):
    """Note the environment as records have it, as JSON."""

    device: str
    stores: Path

    def _notes(self) -> tuple[str, ...]:
        import torch

        from bench.measure.environment import environment

        return (json.dumps(environment(torch.device(self.device), self.stores)),)


AnyTask = RunsTask | PrepareTask | TwinTask | EnvironmentTask


class Job(_Strict):
    """What the sweep hands to its process."""

    sweep: int  # its process id
    notes: int  # descriptor of a pipe to it
    task: AnyTask  # told apart by their fields


def perform(text: str) -> None:
    """Do what the sweep asks for: a `Job` as JSON.

    Raises:
        UsageError: this is no job, or half of one, whose sweep has died.
        BenchError, LoaderError: it failed; a failed run has left its record.
    """
    try:
        job = Job.model_validate_json(text)
    except ValueError as error:
        raise UsageError(f"this command is for `bench sweep` alone; what it got is no job ({error})") from None
    die_with(job.sweep)
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
    for line in job.task._notes():
        os.write(job.notes, f"{line}\n".encode())


def die_with(parent: int) -> None:
    """Let the kernel kill this process as soon as its parent ends, however that ends (Linux)."""
    with contextlib.suppress(AttributeError):  # a C library without prctl
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
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


def clean_up(threads: int, seed: int) -> None:
    """Set back what a run leaves to the next one in its process, and free memory."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    # Compiled code of one network counts against the limit of the next; what was compiled stays on disk.
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def print_into(path: Path, mode: Literal["wb", "ab"]) -> None:
    """Send all that this process prints, and what its C code does, into a file, written anew or at its end."""
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open(mode) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
