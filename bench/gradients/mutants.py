"""Planted faults: every gradient's code with one thing wrong in it, which the audit must notice."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch

from bench.gradients.audit import TOLERANCE, cases_of
from bench.gradients.entry import Array, Arrays, Entry, Gradients
from bench.gradients.mutation.kinds import Operator
from bench.gradients.mutation.planting import faults, file_of, planted
from bench.gradients.referees import autograd, relative_error

__all__ = ["Count", "Mutant", "Operator", "counts", "mutants", "survivors"]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One planted fault.

    Attributes:
        entry: id of the entry whose audit it was planted in.
        function: the function it was planted into, "Linear._backward".
        operator: the kind of fault.
        file: the function's file, from the top of its package.
        line: line number in that file.
        before, after: the expression as it is and as it was changed.
        caught: how the audit noticed: "value" (a relative error beyond its tolerance, or a wrong shape), "error" (the
            code raised, and in no case gave a wrong value), or "" if it did not notice.
        wrong: names of the gradients that gave it away by their values, in the first case that did; "value" is the
            function's own.
    """

    entry: str
    function: str
    operator: Operator
    file: str
    line: int
    before: str
    after: str
    caught: Literal["value", "error", ""]
    wrong: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Count:
    """How many faults were planted, and how many of them were caught, by wrong values or by an error."""

    planted: int
    values: int
    errors: int

    @property
    def caught(self) -> int:
        """Those that were noticed in either way."""
        return self.values + self.errors


@dataclasses.dataclass(frozen=True)
class _Trial:
    """A case with what autograd says of it, computed once for all faults."""

    inputs: Arrays
    g: Array
    value: Array
    gradients: Gradients


def mutants(entries: Iterable[Entry]) -> Iterator[Mutant]:
    """Plant every fault that applies, one at a time, and audit the entry with it.

    The faults go into ``entry.targets``, or into ``entry.corrected`` where there are none. The audit is that of the
    corrected form against autograd in float64, from the smallest case to the largest.

    Raises:
        ValueError: a target's code cannot be swapped, nothing can be planted into it, or the entry is wrong without
            any fault, so that noticing one means nothing. What the entry's code raises without a fault passes through.
    """
    for entry in entries:
        trials = _trials(entry)
        if already := sorted({name for trial in trials for name in _wrong(entry, trial)}):
            raise ValueError(f"{entry.id}: {', '.join(already)} wrong as it is, so no fault can be noticed")
        for function in entry.targets or (entry.corrected,):
            found = faults(function)
            if not found:
                raise ValueError(f"{entry.id}: there is nothing in {function.__qualname__} that a fault could change")
            for fault in found:
                with planted(function, fault.code):
                    caught, wrong = _noticed(entry, trials)
                yield Mutant(
                    entry=entry.id,
                    function=function.__qualname__,
                    operator=fault.operator,
                    file=file_of(function),
                    line=fault.line,
                    before=fault.before,
                    after=fault.after,
                    caught=caught,
                    wrong=wrong,
                )


def counts(results: Iterable[Mutant], key: Callable[[Mutant], str]) -> Mapping[str, Count]:
    """The counts by operator, entry or whatever ``key`` gives, in order of appearance."""
    groups: dict[str, list[Mutant]] = {}
    for mutant in results:
        groups.setdefault(key(mutant), []).append(mutant)
    return {
        name: Count(len(group), sum(m.caught == "value" for m in group), sum(m.caught == "error" for m in group))
        for name, group in groups.items()
    }


def survivors(results: Iterable[Mutant]) -> list[str]:
    """A sentence for every fault that was not noticed."""
    return [
        f"{m.entry}: {m.file}:{m.line}, {m.function}: the audit does not notice the fault {m.before} -> {m.after} "
        f"({m.operator})"
        for m in results
        if not m.caught
    ]


def _trials(entry: Entry) -> list[_Trial]:
    cpu = torch.device("cpu")
    trials = [_Trial(case.inputs, g, *autograd(entry, case.inputs, g, cpu)) for case, g in cases_of(entry)]
    return sorted(trials, key=lambda trial: sum(np.size(array) for array in trial.inputs.values()))


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
    ours = {**entry.corrected(_copied(trial.inputs), trial.g.copy()), "value": entry.forward(_copied(trial.inputs))}
    theirs = {**trial.gradients, "value": trial.value}
    return tuple(name for name in theirs if relative_error(ours[name], theirs[name]) > TOLERANCE)


def _copied(inputs: Arrays) -> dict[str, Array]:
    """A fault may make the code write into what it is given."""
    return {name: array.copy() for name, array in inputs.items()}
