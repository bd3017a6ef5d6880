"""The audit's results as tables: one row a thing, numbers unrounded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from bench.gradients.audit import DIFFERENCES_TOLERANCE, FLOAT32_TOLERANCE, TOLERANCE, Finding
from bench.gradients.entry import Verdict
from bench.gradients.outcome import Outcome, Planting
from bench.gradients.parity import OPTIMUM_TOLERANCE, Parity
from bench.gradients.parity import TOLERANCE as PARITY_TOLERANCE
from bench.render.table import Column, Row, Table, Value

DERIVED_HERE = "derived here"
"""Stands for the form of an entry that the notes name and do not derive: its gradient is the corrected one."""


def shown(made: Outcome | Planting) -> list[Table]:
    """What a person looks at first: the forms, the trainings and the claims; or the counts of planted faults."""
    if isinstance(made, Planting):
        return [planted(made, "kind"), planted(made, "entry")]
    return [audit(made), parity(made), claims(made)]


def audit(outcome: Outcome) -> Table:
    """One row a written form, and one an entry without any; numbers are the largest of their rows in ``checks``."""
    rows = [
        _audit_row(finding, outcome.corrected[finding.entry.id])
        for finding in outcome.findings
        if finding.written is not None or not finding.entry.written
    ]
    caption = (
        f"{outcome.summary}. A form is a gradient as the notes write it; one called '{DERIVED_HERE}' is not in the "
        "notes, which name the function alone. Errors are the worst of ‖hand - referee‖ / (‖hand‖ + ‖referee‖) over "
        "all gradients and cases, with 0/0 = 0 and a random upstream gradient: against autograd in float64 (tolerance "
        f"{TOLERANCE:.0e}), against central differences (tolerance {DIFFERENCES_TOLERANCE:.0e}), and against autograd "
        f"with both in float32 (tolerance {FLOAT32_TOLERANCE:.0e}). An infinite error stands for another shape, NaN or "
        "infinities."
    )
    columns = [
        _text("gradient", share=16),
        *_raw("entry", "title", "group", "form"),
        _text("verdict", share=10),
        *_raw("expected"),
        *(_error(name) for name in ("autograd", "differences", "float32")),
        _count("cases"),
        *_raw("wrong gradients", "cause"),
        _error("corrected autograd", heading="corrected"),
        *(_error(name, hidden=True) for name in ("corrected differences", "corrected float32")),
        _text("why", heading="what is wrong, and why", share=30),
    ]
    return _table("audit", "Gradients as written", caption, columns, rows, outcome)


def formulas(outcome: Outcome) -> Table:
    """One row a form, each entry's function first and its right gradient last."""
    rows = []
    for finding in outcome.corrected.values():
        entry = finding.entry
        rows.append({"entry": f"{entry.title} ({entry.id})", "form": "function", "formula": entry.formula})
        rows += [{"form": f"as written: {form.name}", "formula": form.latex} for form in entry.written]
        last = "corrected" if entry.written else DERIVED_HERE
        rows.append({"form": last, "formula": entry.corrected_latex, "kink": entry.kink})
    columns = [
        _text("entry", share=20),
        _text("form", share=16),
        Column(key="formula", heading="formula", kind="maths", share=44),
        _text("kink", share=12),
    ]
    caption = "Every function, its gradient as the notes write it, and the right one; at a kink, what both sides take."
    return _table("formulas", "Formulas", caption, columns, rows, outcome)


def checks(outcome: Outcome) -> Table:
    """One row a gradient of a form in a case: what every number of ``audit`` is the largest of."""
    columns = [
        *(_text(name) for name in ("entry", "form", "case", "kind", "gradient")),
        *(_error(name) for name in ("autograd", "differences", "float32")),
    ]
    rows = [vars(check) for finding in outcome.findings for check in finding.checks]
    return _table("checks", "Checks", "", columns, rows, outcome)


def parity(outcome: Outcome) -> Table:
    """One row a trained model; the losses are the last epoch's."""
    caption = (
        "The same model is trained by NumPy and by PyTorch from the same start on the same batches. The distance is "
        "the largest ‖ours - theirs‖ / ‖theirs‖ of any parameter tensor over all steps (tolerance "
        f"{PARITY_TOLERANCE:.0e}); the distance from the optimum, where one has a closed form, is relative too "
        f"(tolerance {OPTIMUM_TOLERANCE:.0e}). The margin is the nearest that the inputs of any step came to a kink."
    )
    columns = [
        _text("model", share=12),
        _text("data", share=18),
        _count("steps"),
        _count("epochs"),
        *(_error(name, hidden=True) for name in ("batch size", "rate", "momentum")),
        _error("worst distance", heading="distance"),
        _text("parameter", share=8),
        _error("optimum distance", heading="optimum"),
        *(_error(name, hidden=True) for name in ("numpy loss", "torch loss")),
        _text("kink", heading="kinks", share=22),
        _error("kink margin", heading="margin"),
    ]
    rows = [_parity_row(parity) for parity in outcome.parities]
    return _table("parity", "Models trained on both sides", caption, columns, rows, outcome)


def losses(outcome: Outcome) -> Table:
    """One row a model and epoch, with its mean loss on both sides."""
    rows = [
        {"model": parity.trainable.entry.id, "epoch": epoch, "numpy": ours, "torch": theirs}
        for parity in outcome.parities
        for epoch, (ours, theirs) in enumerate(zip(parity.losses, parity.torch_losses, strict=True), 1)
    ]
    columns = [_text("model"), _count("epoch"), _error("numpy"), _error("torch")]
    return _table("losses", "Losses", "", columns, rows, outcome)


def claims(outcome: Outcome) -> Table:
    """One row a claim."""
    columns = [
        *_raw("id"),
        _text("statement", share=40),
        _text("verdict", share=12),
        *_raw("expected"),
        _text("evidence", share=44),
    ]
    rows = [{**vars(claim), "verdict": _verdict(claim.verdict, claim.expected)} for claim in outcome.claims]
    return _table("claims", "Claims", "What the notes claim, held against computations.", columns, rows, outcome)


def planted(planting: Planting, by: Literal["kind", "entry"]) -> Table:
    """Faults planted and caught, by wrong values and by an error, for each kind of fault or entry."""
    groups: dict[str, list[str]] = {}
    for mutant in planting.mutants:
        groups.setdefault(getattr(mutant, by), []).append(mutant.caught)
    rows = [
        {
            by: name,
            "planted": len(caught),
            "caught": len(caught) - caught.count(""),
            "by values": caught.count("value"),
            "by an error": caught.count("error"),
        }
        for name, caught in groups.items()
    ]
    columns = [_text(by), *(_count(name) for name in ("planted", "caught", "by values", "by an error"))]
    return _table("planted", "Planted faults", f"{planting.summary}.", columns, rows, f"by {by}")


def _audit_row(finding: Finding, corrected: Finding) -> dict[str, Any]:
    entry, written = finding.entry, finding.written
    form = written.name if written else DERIVED_HERE
    expected = written.expected if written else Verdict.AGREES
    return {
        "gradient": f"{entry.id}: {form}",
        "entry": entry.id,
        "title": entry.title,
        "group": entry.group,
        "form": form,
        "verdict": _verdict(finding.verdict.value, expected.value),
        "expected": expected.value,
        "autograd": finding.autograd,
        "differences": finding.differences,
        "float32": finding.float32,
        "cases": finding.cases,
        "wrong gradients": ", ".join(finding.wrong),
        "cause": (written.cause or written.remark) if written else "",
        "corrected autograd": corrected.autograd,
        "corrected differences": corrected.differences,
        "corrected float32": corrected.float32,
        "why": _why(finding),
    }


def _why(finding: Finding) -> str:
    """Which gradients are wrong and for what cause, or a remark; empty where there is nothing to say."""
    if finding.written is None:
        return f"kink: {finding.entry.kink}" if finding.entry.kink else ""
    text = finding.written.cause or finding.written.remark
    if not finding.wrong:
        return text
    gradients = {check.gradient for check in finding.checks} - {"value"}
    all_of_them = len(gradients) > 1 and gradients <= set(finding.wrong)
    return f"{'all' if all_of_them else ', '.join(finding.wrong)}: {text}"


def _parity_row(parity: Parity) -> dict[str, Any]:
    model = parity.trainable
    return {
        "model": model.entry.id,
        "data": model.about_data,
        "steps": parity.steps,
        "epochs": len(parity.losses),
        "batch size": model.batch_size,
        "rate": model.rate,
        "momentum": model.momentum,
        "worst distance": parity.worst,
        "parameter": parity.parameter,
        "optimum distance": parity.optimum,
        "numpy loss": parity.losses[-1],
        "torch loss": parity.torch_losses[-1],
        "kink": model.kink,
        "kink margin": parity.margin,
    }


def _verdict(verdict: str, expected: str) -> Value:
    return Value(text=verdict, mark="" if verdict == expected else f", not {expected}")


def _text(key: str, heading: str = "", share: int = 0) -> Column:
    return Column(key=key, heading=heading or key, kind="text", share=share)


def _raw(*keys: str) -> Iterator[Column]:
    """Columns of text that the CSV alone has."""
    return (Column(key=key, heading=key, kind="text", hidden=True) for key in keys)


def _count(key: str) -> Column:
    return Column(key=key, heading=key, format=",.0f")


def _error(key: str, heading: str = "", *, hidden: bool = False) -> Column:
    return Column(key=key, heading=heading or key, format=".1e", hidden=hidden)


def _table(
    key: str,
    title: str,
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Mapping[str, Any]],
    made: Outcome | str,
) -> Table:
    return Table(
        key=key,
        kind="gradients",
        title=title,
        caption=caption,
        label=f"tab:gradcheck-{key}",
        columns=columns,
        rows=[Row({name: _value(value) for name, value in row.items()}) for row in rows],
        notes=[],
        environment=made if isinstance(made, str) else made.made_with,
    )


def _value(value: Any) -> Value:
    """A cell of a text, a number or nothing."""
    if isinstance(value, Value):
        return value
    if isinstance(value, str):
        return Value(text=value)
    return Value(number=None if value is None or math.isnan(value) else float(value))
