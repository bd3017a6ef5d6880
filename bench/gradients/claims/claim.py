"""What a claim is: a statement, a verdict, and the numbers that it rests on."""

from __future__ import annotations

import dataclasses
from typing import Literal

Answer = Literal["holds", "does not hold", "cannot be checked"]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement, the verdict on it, the one it should come to, and the numbers that it rests on, each in one line."""

    id: str
    statement: str
    verdict: Answer
    expected: Answer
    evidence: str


def answer(holds: bool) -> Answer:
    """The verdict on what can be checked."""
    return "holds" if holds else "does not hold"
