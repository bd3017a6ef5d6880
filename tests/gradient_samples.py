"""Small made-up results of a gradient audit, for what is made of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from bench.gradients.audit import CORRECTED, Check, Finding
from bench.gradients.claims import Claim
from bench.gradients.entry import Arrays, Case, Entry, Gradients, Trainable, Verdict, Written
from bench.gradients.figures import Drawn
from bench.gradients.figures.graph import graph
from bench.gradients.models.net_1221 import SAMPLE, trace
from bench.gradients.mutants import Mutant
from bench.gradients.outcome import Outcome, Planting
from bench.gradients.parity import Parity
from bench.render.figurestyle import FORMATS, drawn, thesis

INF = float("inf")


def nothing(inputs: Arrays, g: Any) -> Gradients:
    """No gradient: the results here are made up."""
    return {}


def one_case(rng: np.random.Generator) -> list[Case]:
    return [Case("one", {"x": np.ones(1)})]


def start(rng: np.random.Generator) -> Gradients:
    return {"W": np.ones(1)}


def an_entry(entry_id: str = "sigmoid", **change: Any) -> Entry:
    fields: dict[str, Any] = {
        "title": "Logistic function",
        "formula": r"\sigma(x)=\frac{1}{1+e^{-x}}",
        "corrected_latex": r"\frac{\partial L}{\partial x}=\sigma(x)\,(1-\sigma(x))\odot g",
        "forward": lambda inputs: inputs["x"],
        "corrected": nothing,
        "torch": lambda inputs: inputs["x"],
        "cases": one_case,
    }
    return Entry(**{"id": entry_id, **fields, **change})


def a_form(name: str, expected: Verdict = Verdict.AGREES, cause: str = "", latex: str = "-(1+e^{-x})^{-2}") -> Written:
    return Written(name, latex, nothing, expected, cause)


def a_finding(
    entry: Entry, written: Written | None, errors: list[tuple[float, float | None, float | None]], **change: Any
) -> Finding:
    """A finding with one check of ``x`` for each triple of errors."""
    form = CORRECTED if written is None else written.name
    fields: dict[str, Any] = {
        "verdict": Verdict.AGREES if written is None else written.expected,
        "autograd": max(a for a, _, _ in errors),
        "differences": max((d for _, d, _ in errors if d is not None), default=float("nan")),
        "float32": max((f for _, _, f in errors if f is not None), default=float("nan")),
        "cases": len(errors),
        "wrong": ("x",) if any(a > 1e-10 for a, _, _ in errors) else (),
        "faults": (),
        "checks": tuple(Check(entry.id, form, f"case {i}", "regular", "x", *triple) for i, triple in enumerate(errors)),
    }
    return Finding(entry=entry, written=written, **{**fields, **change})


def a_parity(
    entry_id: str = "house-linear", kink: str = "of relu at 0, which no step comes near", **change: Any
) -> Parity:
    trainable = Trainable(
        entry=an_entry(entry_id, group="model"),
        parameters=("W",),
        start=start,
        data=dict,
        batched=(),
        batch_size=None,
        epochs=2,
        rate=0.1,
        about_data="two points",
        kink=kink,
    )
    fields: dict[str, Any] = {
        "steps": 2,
        "worst": 2.5e-16,
        "parameter": "W",
        "losses": (0.1, 0.1 + 2**-55),
        "torch_losses": (0.1, 0.1),
        "margin": None,
        "trained": {"W": np.ones(1)},
        "optimum": None,
        "faults": (),
    }
    return Parity(trainable=trainable, **{**fields, **change})


def a_claim(claim_id: str = "fit", **change: Any) -> Claim:
    fields: dict[str, Any] = {
        "statement": "w = 2.9393 is the fit",
        "verdict": "cannot be checked",
        "expected": "cannot be checked",
        "evidence": "the data are not given",
    }
    return Claim(claim_id, **{**fields, **change})


def an_outcome(**change: Any) -> Outcome:
    """An entry with a wrong and a conventional form, and one that is derived here."""
    wrong = a_form("class", Verdict.WRONG, "the sign is lost & 100% of x^2_i")
    convention = a_form("second source", Verdict.CONVENTION, "at 0 the notes take 1, autograd 0")
    sigmoid = an_entry(written=(wrong, convention))
    softmax = an_entry("softmax", title="Softmax", group="layer", kink="none_at_all")
    fields: dict[str, Any] = {
        "findings": (
            a_finding(sigmoid, None, [(1.25e-16, 2e-9, 3.3e-8), (0.0, None, 1e-8)]),
            a_finding(sigmoid, wrong, [(1.0, 0.5, 1.0), (INF, None, 1.0)]),
            a_finding(sigmoid, convention, [(0.25, None, 0.25)]),
            a_finding(softmax, None, [(0.0, None, None)]),
        ),
        "parities": (a_parity(), a_parity("house-cubic", optimum=3e-9, margin=0.125)),
        "claims": (a_claim(), a_claim("arm", verdict="does not hold", expected="does not hold")),
    }
    made_with = "Python 3.12.1, NumPy 2.4.6, device cpu (Some CPU)"
    return Outcome(**{"made_with": made_with, "seconds": 1.25, **fields, **change})


def a_mutant(**change: Any) -> Mutant:
    fields: dict[str, Any] = {
        "entry": "sigmoid",
        "function": "bench.gradients.layers.activations.Sigmoid._backward",
        "kind": "sign",
        "line": 31,
        "before": "g * y",
        "after": "-(g * y)",
        "caught": "value",
        "wrong": ("x",),
    }
    return Mutant(**{**fields, **change})


def a_planting(*mutants: Mutant) -> Planting:
    return Planting(mutants=mutants, seconds=1.25)


@cache
def a_figure() -> Drawn:
    """One of the five that an audit draws in ten seconds."""
    with thesis():
        figure = graph(trace(SAMPLE))
        files = {suffix: drawn(figure, suffix) for suffix in FORMATS}
    return Drawn("backpropagation", "Backpropagation", "A sample through a small network.", files)
