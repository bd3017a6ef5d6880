"""What the notes claim in numbers and deeds, and what a computation says to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of the notes, or of what a model does, held against a computation.

    Attributes:
        id: unique.
        statement: what is claimed, in one line.
        verdict: "holds", "does not hold", or "cannot be checked".
        expected: the verdict it should come to.
        evidence: the numbers that the verdict rests on, computed, in one line.
    """

    id: str
    statement: str
    verdict: Literal["holds", "does not hold", "cannot be checked"]
    expected: Literal["holds", "does not hold", "cannot be checked"]
    evidence: str


def claims() -> Iterator[Claim]:
    """Check every claim."""
    raise NotImplementedError
