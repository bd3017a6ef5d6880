"""Progress on standard error: of a preparation, of a download, of whatever is being done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.text import Text

from bench.streams import ERR, Stream


def console(stream: Stream, **how: Any) -> Console:
    """A console that prints text as it is: names may hold ``[red]`` and ``:cat:``."""
    return Console(file=cast("IO[str]", stream), highlight=False, markup=False, emoji=False, **how)


err = console(ERR, soft_wrap=True)


def _columns() -> Iterator[Any]:
    what = TextColumn("{task.description}", markup=False)
    return iter((what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()))


class Bar:
    """Progress of a preparation: a bar on a terminal, a line at the beginning elsewhere."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def begin(self, what: str, total: int) -> None:
        """A step of so many samples begins."""
        if not err.is_terminal:
            err.print(f"{what}: {total:,} samples")
            return
        self._progress = Progress(*_columns(), console=err, transient=True)
        self._progress.start()
        self._progress.add_task(what, total=total)

    def advance(self, samples: int) -> None:
        """So many more are done."""
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0], samples)

    def end(self) -> None:
        """The step is over, well or not."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Steps:
    """Progress of a download or a twin: a bar a step on a terminal, a line at every tenth elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(*_columns(), console=err, disable=not err.is_terminal)
        self._tasks: dict[str, Any] = {}
        self._tenths: dict[str, int] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        """So much of a step is done; of 0 nobody knows how much there is."""
        if err.is_terminal:
            if step not in self._tasks:
                self._tasks[step] = self._progress.add_task(step)
            self._progress.update(self._tasks[step], completed=done, total=total or None)
            return
        tenth = done * 10 // total if total else 0
        if tenth > self._tenths.get(step, -1):
            self._tenths[step] = tenth
            err.print(f"{step}: {done:,}{f' of {total:,}' if total else ''}")

    def __enter__(self) -> Steps:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()


class Doing:
    """What is being done, on a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._status = Status("", console=err, spinner="dots" if err.encoding.startswith("utf") else "line")

    def __call__(self, what: str) -> None:
        """This is being done now."""
        self._status.update(Text(what))

    def __enter__(self) -> Doing:
        if err.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._status.stop()
