"""What the audit works on: formulas with their gradients as written and corrected, and models that are trained."""

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

    The inputs are every argument of ``forward`` by name: float64 arrays, integer arrays for labels, and arrays of no
    dimensions for numbers. "regular" cases are compared with central differences too; "kink" cases lie within 1e-6 of
    a point without a derivative; "extreme" ones have magnitudes where differences, or a naive formula, fail.
    """

    name: str
    inputs: Arrays
    kind: Literal["regular", "kink", "extreme"] = "regular"


@dataclasses.dataclass(frozen=True)
class Written:
    """A gradient as the notes write it, verdict and cause included.

    Attributes:
        latex, gradient: the gradient as written, for math mode and in NumPy; of some inputs only, where others are
            left out.
        cause: one line: what is wrong, or what the convention is on each side. Empty where the form agrees.
        remark: one line on a form that agrees, e.g. where it overflows.
        applies: the cases that the form is written for, e.g. one sample; all by default.
        forward: where the notes write the function itself differently, that function; else the entry's.
        overflows: whether it gives NaN or infinities in extreme cases, which the audit then demands; the verdict
            rests on the other cases.
    """

    name: str
    latex: str
    gradient: Gradient
    expected: Verdict = Verdict.AGREES
    cause: str = ""
    remark: str = ""
    applies: Callable[[Case], bool] | None = None
    forward: Callable[[Arrays], Array] | None = None
    overflows: bool = False


@dataclasses.dataclass(frozen=True)
class Entry:
    """A function whose gradient is checked.

    Attributes:
        formula, corrected_latex: the function and its right gradient, LaTeX for math mode.
        torch: the function in PyTorch, on tensors with the names of the inputs.
        wrt: names of the inputs whose gradients are compared.
        cases: draws the cases from a generator; every gradient must be non-zero in one of them.
        targets: the functions with the code of the corrected gradient or of a rule, into which faults are planted.
        written: the forms in the notes; none where the notes name the function and derive nothing.
        kink: where there is no derivative and which value both sides take there; empty if it is smooth.
    """

    id: str
    title: str
    formula: str
    corrected_latex: str
    forward: Callable[[Arrays], Array]
    corrected: Gradient
    torch: Callable[[dict[str, torch.Tensor]], torch.Tensor]
    cases: Callable[[np.random.Generator], Iterable[Case]]
    wrt: tuple[str, ...] = ("x",)
    group: Literal["building block", "layer", "loss", "update", "model"] = "building block"
    targets: tuple[Callable[..., Any], ...] = ()
    written: tuple[Written, ...] = ()
    kink: str = ""


@dataclasses.dataclass(frozen=True)
class Trainable:
    """How an entry whose ``forward`` is a loss is trained twice, by NumPy and by PyTorch, on the same batches.

    Attributes:
        start: draws the first values of the parameters, which are the inputs that are trained, float64.
        data: the other inputs, float64 or integer; those of ``batched`` have one row a sample.
        batch_size: samples in a batch; ``None`` for all at once.
        about_data: what the data are and where they come from, in one line.
        kink, margin: why a kink does not part the two sides, and how far the inputs of a step are from the nearest: the
            smallest magnitude of what is compared with zero. Empty and ``None`` if the model is smooth.
        optimum: the parameters that training must end near, where there is a closed solution.
    """

    entry: Entry
    parameters: tuple[str, ...]
    start: Callable[[np.random.Generator], Gradients]
    data: Callable[[], dict[str, Array]]
    rate: float
    about_data: str
    batched: tuple[str, ...] = ("x", "y")
    batch_size: int | None = None
    epochs: int = 300
    momentum: float = 0.0
    kink: str = ""
    margin: Callable[[Arrays], float] | None = None
    optimum: Callable[[], Gradients] | None = None
