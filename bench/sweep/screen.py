"""How a sweep shows itself: a bar below the lines that stay on a terminal, the lines alone elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Screen:
    """Listens to a sweep and shows it on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # Once a second: drawing takes processor time from what is measured.
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        live = console.is_terminal
        self._bar = Progress(*columns, console=console, refresh_per_second=1, transient=True, disable=not live)
        self._task = self._bar.add_task("", total=None)
        self._what = self._left = ""

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, markup=False, emoji=False)

    def doing(self, what: str) -> None:
        """Show what is under way, on a terminal."""
        self._what = what
        self._show()

    def progress(self, done: int, total: int, left_s: float | None) -> None:
        """Move the bar."""
        self._left = "" if not left_s else f"about {duration(left_s)} left, "
        self._bar.update(self._task, completed=done, total=total)
        self._show()

    def _show(self) -> None:
        self._bar.update(self._task, description=self._left + self._what)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def duration(seconds: float) -> str:
    """A time as people say it."""
    for unit, size, limit in (("s", 1, 100), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
