"""How a sweep shows itself: a bar below the lines that stay on a terminal, the lines alone elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Screen(Progress):
    """Shows a sweep on a console, for as long as its ``with`` lasts."""

    def __init__(self, console: Console) -> None:
        # Once a second: drawing takes processor time from what is measured.
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        live = console.is_terminal
        super().__init__(*columns, console=console, refresh_per_second=1, transient=True, disable=not live)
        self._bar = self.add_task("", total=None)
        self._doing = self._left = ""

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line, markup=False, emoji=False)

    def doing(self, what: str) -> None:
        """Show what is under way, on a terminal."""
        self._doing = what
        self.update(self._bar, description=self._left + what)

    def done(self, done: int, total: int, left_s: float | None) -> None:
        """Move the bar to so many runs done, and show about how many seconds are left."""
        self._left = f"about {duration(left_s)} left, " if left_s else ""
        self.update(self._bar, completed=done, total=total, description=self._left + self._doing)


def duration(seconds: float) -> str:
    """A time as people say it."""
    for unit, size, limit in (("s", 1, 100), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
