"""Several runs in one process, one after another, with what one leaves behind cleaned up before the next."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.sweep.job import RunTask

FLAG = "not in a process of its own: other runs came before it in the same one"
BEGUN, ENDED = "begun", "ended"


class Marks(NamedTuple):
    """How far the process is, by the runs' ids, as it notes it for the sweep.

    Attributes:
        ended: in their order.
        current: begun and not ended; ``None`` between two runs.
    """

    ended: list[str]
    current: str | None


def read_marks(path: Path) -> Marks:
    """What has been noted so far; nothing where there is no file yet."""
    try:
        lines = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()  # a line may be half written
    except FileNotFoundError:
        return Marks([], None)
    noted = [line.split() for line in lines]
    ended = [words[1] for words in noted if words[0] == ENDED]
    begun = [words[1] for words in noted if words[0] == BEGUN]
    return Marks(ended, begun[-1] if len(begun) > len(ended) else None)


class Usual:
    """What runs change for the whole process, as it was at first."""

    def __init__(self) -> None:
        import torch

        from bench.run.runner import FILLING

        self._threads = torch.get_num_threads()
        self._precision = torch.get_float32_matmul_precision()
        self._deterministic = torch.are_deterministic_algorithms_enabled()
        self._benchmark = torch.backends.cudnn.benchmark
        self._filled = FILLING.fill_uninitialized_memory
        self._seed = torch.initial_seed()

    def restore(self) -> None:
        """Set it back, and give back memory and compiled code, as the end of a process would."""
        import torch

        from bench.run.runner import FILLING

        torch.set_num_threads(self._threads)
        torch.set_float32_matmul_precision(self._precision)
        torch.use_deterministic_algorithms(self._deterministic)
        torch.backends.cudnn.benchmark = self._benchmark
        FILLING.fill_uninitialized_memory = self._filled
        torch.manual_seed(self._seed)
        # Compiled code of one network counts against the limit of the next; what was compiled stays on disk.
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def do_together(
    runs: Sequence[RunTask], logs: Sequence[Path], marks: Path, do: Callable[[RunTask, Sequence[str]], None]
) -> None:
    """Do runs, and note each one's beginning and end.

    Args:
        runs: what to do.
        logs: gets what is printed, one a run, as in a process of its own.
        marks: gets the notes.
        do: does a run; takes what its record is to be flagged with.

    Raises:
        Exception: as ``do`` does. Nothing more is done then: what a failure leaves behind is not known.
    """
    usual = Usual()
    with marks.open("a", encoding="utf-8", buffering=1) as notes:
        for number, (run, log) in enumerate(zip(runs, logs, strict=True)):
            print_into(log)
            notes.write(f"{BEGUN} {run.config.run_id}\n")
            do(run, [FLAG] if number else [])
            notes.write(f"{ENDED} {run.config.run_id}\n")
            usual.restore()


def print_into(path: Path) -> None:
    """Send all that this process prints, and what its C code does, into a file written anew."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        for number in (1, 2):
            os.dup2(descriptor, number)
    finally:
        os.close(descriptor)
