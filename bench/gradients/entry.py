"""What an entry of the catalogue is: a formula, its gradient as written and corrected, and PyTorch's counterpart."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Gradients = dict[str, Array]
Gradient = Callable[[Arrays, Array], Gradients]
"""From a case's inputs and the upstream gradient to the gradient of each input of ``Entry.wrt``, in its shape."""


class Verdict(enum.StrEnum):
    """What the referees say of a form."""

    AGREES = "agrees"
    WRONG = "wrong"
    CONVENTION = "convention at a kink"


@dataclasses.dataclass(frozen=True)
class Case:
    """One set of inputs that the forms of an entry are compared on.

    Attributes:
        name: what is special about it: "batch of 1", "square", "at the kink".
        inputs: every argument of ``forward`` by name: float64 arrays (those of ``wrt`` among them), integer arrays for
            labels, and arrays of no dimensions for numbers such as a step or a slope.
        kind: "regular" cases are compared with central differences too; "kink" cases lie at or within 1e-6 of a point
            where there is no derivative; "extreme" ones have magnitudes where differences, or a naive formula, fail.
    """

    name: str
    inputs: Arrays
    kind: Literal["regular", "kink", "extreme"] = "regular"


@dataclasses.dataclass(frozen=True)
class Written:
    """A gradient as the notes write it, verdict and cause included.

    Attributes:
        name: which of the notes' forms this is: "derivation", "class", "second source".
        latex: the gradient as written, for math mode.
        gradient: the same in NumPy. A form that leaves out a gradient which others write returns just what it writes.
        expected: the verdict that the referees should come to.
        cause: one line: what is wrong, or what the convention is on each side. Empty where the form agrees.
        remark: one line that is true of a form that agrees, e.g. where it overflows. May be empty.
        applies: the cases that the form is written for, e.g. one sample; all by default.
        forward: where the notes write the function itself differently, that function; else the entry's.
        overflows: whether it gives NaN or infinities in extreme cases, where the corrected form does not. The verdict
            rests on the other cases then, and the audit demands that the overflow is seen.
    """

    name: str
    latex: str
    gradient: Gradient
    expected: Verdict
    cause: str = ""
    remark: str = ""
    applies: Callable[[Case], bool] | None = None
    forward: Callable[[Arrays], Array] | None = None
    overflows: bool = False


@dataclasses.dataclass(frozen=True)
class Entry:
    """A function whose gradient is checked.

    Attributes:
        id: unique, as in the list of derivations: "sigmoid".
        title: what it is, in a few words.
        group: which part of the table it stands in.
        formula: the function, LaTeX for math mode.
        corrected_latex: the gradient that is right, LaTeX for math mode.
        forward: the function in NumPy.
        corrected: its gradient in NumPy.
        torch: the function in PyTorch, on tensors with the names of the inputs; autograd differentiates it.
        wrt: names of the inputs whose gradients are compared.
        cases: draws the cases from a generator; every gradient must be non-zero in one of them.
        written: the forms in the notes; none where the notes name the function and derive nothing.
        targets: the functions whose code carries the corrected gradient, or a rule whose result is checked as the
            value, into which faults are planted.
        kink: where there is no derivative and which value both sides take there; empty if it is smooth.
        differences: whether central differences make sense; false where the output is no differentiable function.
    """

    id: str
    title: str
    group: Literal["building block", "layer", "loss", "update", "model"]
    formula: str
    corrected_latex: str
    forward: Callable[[Arrays], Array]
    corrected: Gradient
    torch: Callable[[dict[str, torch.Tensor]], torch.Tensor]
    wrt: tuple[str, ...]
    cases: Callable[[np.random.Generator], Iterable[Case]]
    written: tuple[Written, ...] = ()
    targets: tuple[Callable[..., Any], ...] = ()
    kink: str = ""
    differences: bool = True
