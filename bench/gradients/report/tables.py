"""The audit's results as data frames: one row a thing, numbers unrounded."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import pandas as pd

from bench.gradients.audit import Check, Finding
from bench.gradients.claims import Claim
from bench.gradients.entry import Verdict
from bench.gradients.mutants import Mutant, counts
from bench.gradients.outcome import Outcome, Planting
from bench.gradients.parity import Parity

DERIVED_HERE = "derived here"
"""Stands for the form of an entry that the notes name and do not derive: its gradient is the corrected one."""
By: TypeAlias = Literal["operator", "entry"]
BY: tuple[By, ...] = ("operator", "entry")
"""What planted faults are counted by."""


def audit(outcome: Outcome) -> pd.DataFrame:
    """One row a written form, and one an entry without any.

    ``autograd``, ``differences`` and ``float32`` are the worst relative errors of the row's form; the last three
    columns are those of the entry's corrected form. ``form`` is the form's name in ``checks``, except that
    ``DERIVED_HERE`` is called ``corrected`` there.
    """
    return _frame([_audit_row(outcome, finding) for finding in outcome.rows], _AUDIT)


def checks(outcome: Outcome) -> pd.DataFrame:
    """One row a gradient of a form in a case: what every number of ``audit`` is the largest of."""
    return _frame([dataclasses.astuple(c) for f in outcome.findings for c in f.checks], _names(Check))


def parity(outcome: Outcome) -> pd.DataFrame:
    """One row a trained model; the losses are the last epoch's."""
    return _frame([_parity_row(parity) for parity in outcome.parities], _PARITY)


def losses(outcome: Outcome) -> pd.DataFrame:
    """One row a model and epoch, with its mean loss on both sides."""
    rows = [
        (parity.trainable.entry.id, epoch, ours, theirs)
        for parity in outcome.parities
        for epoch, (ours, theirs) in enumerate(zip(parity.losses, parity.torch_losses, strict=True), 1)
    ]
    return _frame(rows, ["model", "epoch", "numpy", "torch"])


def claims(outcome: Outcome) -> pd.DataFrame:
    """One row a claim."""
    return _frame([dataclasses.astuple(claim) for claim in outcome.claims], _names(Claim))


def mutants(planting: Planting) -> pd.DataFrame:
    """One row a planted fault."""
    rows = [tuple({**vars(mutant), "wrong": ", ".join(mutant.wrong)}.values()) for mutant in planting.mutants]
    return _frame(rows, _names(Mutant))


def caught(planting: Planting, by: By) -> pd.DataFrame:
    """Faults planted and caught, by wrong values and by an error, for each operator or entry."""
    rows = [
        (name, count.planted, count.caught, count.values, count.errors)
        for name, count in counts(planting.mutants, operator.attrgetter(by)).items()
    ]
    return _frame(rows, [by, "planted", "caught", "by values", "by an error"])


def why(finding: Finding) -> str:
    """Which gradients are wrong and for what cause, or a remark; empty where there is nothing to say."""
    if finding.written is None:
        return f"kink: {finding.entry.kink}" if finding.entry.kink else ""
    text = finding.written.cause or finding.written.remark
    if not finding.wrong:
        return text
    given = {check.gradient for check in finding.checks} - {"value"}
    which = "all" if len(given) > 1 and given <= set(finding.wrong) else ", ".join(finding.wrong)
    return f"{which}: {text}"


_AUDIT = (
    *("entry", "title", "group", "form", "verdict", "expected", "autograd", "differences", "float32", "cases"),
    *("wrong gradients", "cause", "corrected autograd", "corrected differences", "corrected float32"),
)
_PARITY = (
    *("model", "data", "steps", "epochs", "batch size", "rate", "momentum", "worst distance", "parameter"),
    *("optimum distance", "numpy loss", "torch loss", "kink", "kink margin"),
)


def _frame(rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> pd.DataFrame:
    """The rows as they are: pandas would turn whole numbers beside a missing one into floats."""
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _audit_row(outcome: Outcome, finding: Finding) -> tuple[Any, ...]:
    entry, written, corrected = finding.entry, finding.written, outcome.corrected[finding.entry.id]
    return (
        entry.id,
        entry.title,
        entry.group,
        written.name if written else DERIVED_HERE,
        finding.verdict.value,
        (written.expected if written else Verdict.AGREES).value,
        finding.autograd,
        finding.differences,
        finding.float32,
        finding.cases,
        ", ".join(finding.wrong),
        (written.cause or written.remark) if written else "",
        corrected.autograd,
        corrected.differences,
        corrected.float32,
    )


def _parity_row(parity: Parity) -> tuple[Any, ...]:
    model = parity.trainable
    return (
        model.entry.id,
        model.about_data,
        parity.steps,
        len(parity.losses),
        model.batch_size,
        model.rate,
        model.momentum,
        parity.worst,
        parity.parameter,
        parity.optimum,
        parity.losses[-1],
        parity.torch_losses[-1],
        model.kink,
        parity.margin,
    )
