"""What the notes claim in numbers and deeds, and what a computation says to it."""

from collections.abc import Iterator

from bench.gradients.claims import arm, notes
from bench.gradients.claims.notes import Claim

__all__ = ["Claim", "claims"]


def claims() -> Iterator[Claim]:
    """Check every claim."""
    yield from notes.claims()
    yield from arm.claims()
