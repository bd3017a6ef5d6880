"""Progress on standard error: of a preparation, of a download, of whatever is being done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.text import Text

from bench.streams import ERR, Stream


def console(stream: Stream, **settings: Any) -> Console:
    """A console that prints text as it is: names may hold ``[red]`` and ``:cat:``."""
    return Console(file=cast("IO[str]", stream), highlight=False, markup=False, emoji=False, **settings)


err = console(ERR, soft_wrap=True)


def _bars(**settings: Any) -> Progress:
    what = TextColumn("{task.description}", markup=False)
    return Progress(what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err, **settings)


@contextlib.contextmanager
def bar(step: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress of a preparation, told of samples done since: a bar on a terminal, a line at the beginning elsewhere."""
    if not err.is_terminal:
        err.print(f"{step}: {total:,} samples")
        yield lambda _: None
        return
    with _bars(transient=True) as bars:
        task = bars.add_task(step, total=total)
        yield lambda samples: bars.advance(task, samples)


@contextlib.contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """Progress of a download or a twin: a bar a step on a terminal, a line at every tenth elsewhere.

    It is told of a step, how much of it is done, and how much there is (0: not known).
    """
    tasks: dict[str, TaskID] = {}
    tenths: dict[str, int] = {}
    with _bars(disable=not err.is_terminal) as bars:

        def report(step: str, done: int, total: int) -> None:
            if err.is_terminal:
                if step not in tasks:
                    tasks[step] = bars.add_task(step)
                bars.update(tasks[step], completed=done, total=total or None)
                return
            tenth = done * 10 // total if total else 0
            if tenth > tenths.get(step, -1):
                tenths[step] = tenth
                err.print(f"{step}: {done:,}{f' of {total:,}' if total else ''}")

        yield report


@contextlib.contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """What is being done, told in a few words, on a terminal; nothing elsewhere."""
    shown = Status("", console=err, spinner="dots" if err.encoding.startswith("utf") else "line")
    with shown if err.is_terminal else contextlib.nullcontext():
        yield lambda what: shown.update(Text(what))
