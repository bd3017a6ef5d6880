"""What a sweep tells of itself: how far it is, and what became of its runs."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Listener(Protocol):
    """Told how far a sweep is."""

    def say(self, line: str) -> None:
        """Something that is to stay."""

    def doing(self, what: str) -> None:
        """What is under way now."""

    def progress(self, done: int, total: int, left_s: float | None) -> None:
        """How many runs are done, and about how long the others will take."""


class Summary(NamedTuple):
    """What became of a sweep's runs.

    Attributes:
        kept: runs that an earlier sweep had finished.
        ok: runs that succeeded now.
        unavailable: runs whose loader cannot run here, noted now.
        failed: runs that failed now, each with its reason.
        left: runs that were not tried.
        seconds: how long it took.
    """

    kept: int
    ok: int
    unavailable: int
    failed: list[str]
    left: int
    seconds: float

    def __str__(self) -> str:
        counts = (
            (self.ok, "ok"),
            (self.kept, "finished before"),
            (self.unavailable, "unavailable"),
            (len(self.failed), "failed"),
            (self.left, "not done"),
        )
        return f"{', '.join(f'{n} {what}' for n, what in counts if n) or 'nothing to do'}; {self.seconds:.0f} s"
