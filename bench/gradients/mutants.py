"""Planted faults: every gradient's code with one thing wrong in it, which the audit must notice."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from bench.gradients.audit import TOLERANCE, cases_of
from bench.gradients.entry import Array, Arrays, Entry, Gradients
from bench.gradients.faults import Kind, faults, planted
from bench.gradients.referees import autograd, relative_error


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault planted into a function, "bench.gradients.layers.dense.Linear._backward", for the audit of an entry.

    Attributes:
        caught: how the audit noticed: "value" (a relative error beyond its tolerance, or a wrong shape), "error" (the
            code raised, and in no case gave a wrong value), or "" if it did not notice.
        wrong: names of the gradients, or "value", that gave it away in the first case that did.
    """

    entry: str
    function: str
    kind: Kind
    line: int
    before: str
    after: str
    caught: Literal["value", "error", ""]
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        """The fault, for when it was not noticed."""
        return (
            f"{self.entry}: {self.function}, line {self.line}: the audit does not notice the fault "
            f"{self.before} -> {self.after} ({self.kind})"
        )


_Trial = tuple[Arrays, Array, Gradients]  # inputs, upstream gradient, and what autograd says of them


def mutants(entry: Entry) -> Iterator[Mutant]:
    """Plant every fault that applies, one at a time, and compare the corrected form with autograd in float64.

    Raises ``ValueError`` if nothing can be planted into a target, or the entry is wrong without any fault.
    """
    trials: list[_Trial] = []
    for case, g in cases_of(entry):
        value, gradients = autograd(entry, case.inputs, g, torch.device("cpu"))
        trials.append((case.inputs, g, {"value": value, **gradients}))
    trials.sort(key=lambda trial: sum(np.size(array) for array in trial[0].values()))
    if already := sorted({name for trial in trials for name in _wrong(entry, trial)}):
        raise ValueError(f"{entry.id}: {', '.join(already)} wrong as it is, so no fault can be noticed")
    for function in entry.targets:
        if not faults(function):
            raise ValueError(f"{entry.id}: there is nothing in {function.__qualname__} that a fault could change")
        for fault in faults(function):
            with planted(function, fault.code):
                caught, wrong = _noticed(entry, trials)
            name = f"{function.__module__}.{function.__qualname__}"
            yield Mutant(entry.id, name, fault.kind, fault.line, fault.before, fault.after, caught, wrong)


def _noticed(entry: Entry, trials: list[_Trial]) -> tuple[Literal["value", "error", ""], tuple[str, ...]]:
    """How the entry parts from autograd: by wrong values in some case, else by an error in some case."""
    raised = False
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # a fault may divide by zero
        warnings.simplefilter("ignore")
        for trial in trials:
            try:
                wrong = _wrong(entry, trial)
            except Exception:  # whatever a fault makes of the code
                raised = True
                continue
            if wrong:
                return "value", wrong
    return ("error" if raised else ""), ()


def _wrong(entry: Entry, trial: _Trial) -> tuple[str, ...]:
    inputs, g, expected = copy.deepcopy(trial)  # a fault may make the code write into what it is given
    ours = {"value": entry.forward(copy.deepcopy(inputs)), **entry.corrected(inputs, g)}
    return tuple(name for name, theirs in expected.items() if relative_error(ours[name], theirs) > TOLERANCE)
