"""What the notes claim in numbers and deeds, and what a computation says to it."""

from collections.abc import Iterator

from bench.gradients.claims import arm, printed, steps
from bench.gradients.claims.claim import Answer, Claim

__all__ = ["Answer", "Claim", "claims"]


def claims() -> Iterator[Claim]:
    """Check every claim."""
    yield from printed.claims()
    yield from steps.claims()
    yield from arm.claims()
