"""Planted faults: every gradient's code with one thing wrong in it, which the audit must notice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

from bench.gradients.entry import Entry

Operator = Literal["sign", "missing 1/N", "transposed", "dropped factor", "wrong axis", "overwritten", "branch"]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One planted fault.

    Attributes:
        entry: id of the entry whose audit it was planted in.
        function: the function it was planted into, "Linear._backward".
        operator: the kind of fault.
        line: line number in the function's file.
        before, after: the expression as it is and as it was changed.
        caught: how the audit noticed: "value" (a relative error beyond its tolerance, or a wrong shape), "error" (the
            code raised), or "" if it did not notice.
    """

    entry: str
    function: str
    operator: Operator
    line: int
    before: str
    after: str
    caught: Literal["value", "error", ""]


def mutants(entries: Iterable[Entry]) -> Iterator[Mutant]:
    """Plant every fault that applies, one at a time, and audit the entry with it."""
    raise NotImplementedError
