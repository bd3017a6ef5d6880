"""What a claim is: a statement, a verdict, and the numbers that it rests on."""

from __future__ import annotations

import dataclasses
from typing import Literal

Answer = Literal["holds", "does not hold", "cannot be checked"]


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
    verdict: Answer
    expected: Answer
    evidence: str


def answer(holds: bool) -> Answer:
    """The verdict on what can be checked."""
    return "holds" if holds else "does not hold"
