"""The audit's results as tables: one row a thing, numbers unrounded."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from bench.gradients.audit import DIFFERENCES_TOLERANCE, FLOAT32_TOLERANCE, TOLERANCE, Check, Finding
from bench.gradients.claims import Claim
from bench.gradients.entry import Verdict
from bench.gradients.outcome import Outcome, Planting
from bench.gradients.parity import OPTIMUM_TOLERANCE, Parity
from bench.gradients.parity import TOLERANCE as PARITY_TOLERANCE
from bench.render.table import Column, Row, Table, Value

T = TypeVar("T")
_Columns: TypeAlias = Sequence[tuple[Column, Callable[[T], Value | str | float | None]]]
"""Each column with what stands in it for a thing that has a row."""

DERIVED_HERE = "derived here"
"""Stands for the form of an entry that the notes name and do not derive: its gradient is the corrected one."""


def shown(made: Outcome | Planting) -> list[Table]:
    """What a person looks at first: the forms, the trainings and the claims; or the counts of planted faults."""
    if isinstance(made, Planting):
        return [planted(made, "kind"), planted(made, "entry")]
    return [audit(made), parity(made), claims(made)]


def audit(outcome: Outcome) -> Table:
    """One row a written form, and one an entry without any; numbers are the largest of their rows in ``checks``."""
    caption = (
        f"{outcome.summary}. A form is a gradient as the notes write it; one called '{DERIVED_HERE}' is not in the "
        "notes, which name the function alone. Errors are the worst of ‖hand - referee‖ / (‖hand‖ + ‖referee‖) over "
        "all gradients and cases, with 0/0 = 0 and a random upstream gradient: against autograd in float64 (tolerance "
        f"{TOLERANCE:.0e}), against central differences (tolerance {DIFFERENCES_TOLERANCE:.0e}), and against autograd "
        f"with both in float32 (tolerance {FLOAT32_TOLERANCE:.0e}). An infinite error stands for another shape, NaN or "
        "infinities."
    )
    columns: _Columns[Finding] = [
        (_text("gradient", share=16), lambda f: f"{f.entry.id}: {_form(f)}"),
        (_raw("entry"), lambda f: f.entry.id),
        (_raw("title"), lambda f: f.entry.title),
        (_raw("group"), lambda f: f.entry.group),
        (_raw("form"), _form),
        (_text("verdict", share=10), lambda f: _verdict(f.verdict, _expected(f))),
        (_raw("expected"), _expected),
        (_error("autograd"), lambda f: f.autograd),
        (_error("differences"), lambda f: f.differences),
        (_error("float32"), lambda f: f.float32),
        (_count("cases"), lambda f: f.cases),
        (_raw("wrong gradients"), lambda f: ", ".join(f.wrong)),
        (_raw("cause"), lambda f: (f.written.cause or f.written.remark) if f.written else ""),
        (_error("corrected autograd", "corrected"), lambda f: outcome.corrected[f.entry.id].autograd),
        (_error("corrected differences", hidden=True), lambda f: outcome.corrected[f.entry.id].differences),
        (_error("corrected float32", hidden=True), lambda f: outcome.corrected[f.entry.id].float32),
        (_text("why", "what is wrong, and why", share=30), _why),
    ]
    rows = [f for f in outcome.findings if f.written is not None or not f.entry.written]
    return _table("audit", "Gradients as written", caption, columns, rows, outcome.made_with)


def formulas(outcome: Outcome) -> Table:
    """One row a form, each entry's function first and its right gradient last."""
    rows: list[tuple[str, str, str, str]] = []
    for finding in outcome.corrected.values():
        entry = finding.entry
        rows.append((f"{entry.title} ({entry.id})", "function", entry.formula, ""))
        rows += [("", f"as written: {form.name}", form.latex, "") for form in entry.written]
        rows.append(("", "corrected" if entry.written else DERIVED_HERE, entry.corrected_latex, entry.kink))
    formula = Column(key="formula", heading="formula", kind="maths", share=44)
    keys = (_text("entry", share=20), _text("form", share=16), formula, _text("kink", share=12))
    columns: _Columns[Any] = [(column, operator.itemgetter(i)) for i, column in enumerate(keys)]
    caption = "Every function, its gradient as the notes write it, and the right one; at a kink, what both sides take."
    return _table("formulas", "Formulas", caption, columns, rows, outcome.made_with)


def checks(outcome: Outcome) -> Table:
    """One row a gradient of a form in a case: what every number of ``audit`` is the largest of."""
    texts = [_text(name) for name in ("entry", "form", "case", "kind", "gradient")]
    errors = [_error(name) for name in ("autograd", "differences", "float32")]
    columns: _Columns[Check] = [(column, operator.attrgetter(column.key)) for column in (*texts, *errors)]
    rows = [check for finding in outcome.findings for check in finding.checks]
    return _table("checks", "Checks", "", columns, rows, outcome.made_with)


def parity(outcome: Outcome) -> Table:
    """One row a trained model; the losses are the last epoch's."""
    caption = (
        "The same model is trained by NumPy and by PyTorch from the same start on the same batches. The distance is "
        "the largest ‖ours - theirs‖ / ‖theirs‖ of any parameter tensor over all steps (tolerance "
        f"{PARITY_TOLERANCE:.0e}); the distance from the optimum, where one has a closed form, is relative too "
        f"(tolerance {OPTIMUM_TOLERANCE:.0e}). The margin is the nearest that the inputs of any step came to a kink."
    )
    columns: _Columns[Parity] = [
        (_text("model", share=12), lambda p: p.trainable.entry.id),
        (_text("data", share=17), lambda p: p.trainable.about_data),
        (_count("steps"), lambda p: p.steps),
        (_count("epochs"), lambda p: len(p.losses)),
        (_error("batch size", hidden=True), lambda p: p.trainable.batch_size),
        (_error("rate", hidden=True), lambda p: p.trainable.rate),
        (_error("momentum", hidden=True), lambda p: p.trainable.momentum),
        (_error("worst distance", "distance"), lambda p: p.worst),
        (_text("parameter", share=9), lambda p: p.parameter),
        (_error("optimum distance", "optimum"), lambda p: p.optimum),
        (_error("numpy loss", hidden=True), lambda p: p.losses[-1]),
        (_error("torch loss", hidden=True), lambda p: p.torch_losses[-1]),
        (_text("kink", "kinks", share=22), lambda p: p.trainable.kink),
        (_error("kink margin", "margin"), lambda p: p.margin),
    ]
    return _table("parity", "Models trained on both sides", caption, columns, outcome.parities, outcome.made_with)


def losses(outcome: Outcome) -> Table:
    """One row a model and epoch, with its mean loss on both sides."""
    rows = [
        (parity.trainable.entry.id, epoch, *both)
        for parity in outcome.parities
        for epoch, both in enumerate(zip(parity.losses, parity.torch_losses, strict=True), 1)
    ]
    keys = (_text("model"), _count("epoch"), _error("numpy"), _error("torch"))
    columns: _Columns[Any] = [(column, operator.itemgetter(i)) for i, column in enumerate(keys)]
    return _table("losses", "Losses", "", columns, rows, outcome.made_with)


def claims(outcome: Outcome) -> Table:
    """One row a claim."""
    columns: _Columns[Claim] = [
        (_raw("id"), lambda claim: claim.id),
        (_text("statement", share=40), lambda claim: claim.statement),
        (_text("verdict", share=12), lambda claim: _verdict(claim.verdict, claim.expected)),
        (_raw("expected"), lambda claim: claim.expected),
        (_text("evidence", share=44), lambda claim: claim.evidence),
    ]
    caption = "What the notes claim, held against computations."
    return _table("claims", "Claims", caption, columns, outcome.claims, outcome.made_with)


def planted(planting: Planting, by: Literal["kind", "entry"]) -> Table:
    """Faults planted and caught, by wrong values and by an error, for each kind of fault or entry."""
    groups: dict[str, list[str]] = {}
    for mutant in planting.mutants:
        groups.setdefault(getattr(mutant, by), []).append(mutant.caught)
    columns: _Columns[tuple[str, list[str]]] = [
        (_text(by), lambda group: group[0]),
        (_count("planted"), lambda group: len(group[1])),
        (_count("caught"), lambda group: len(group[1]) - group[1].count("")),
        (_count("by values"), lambda group: group[1].count("value")),
        (_count("by an error"), lambda group: group[1].count("error")),
    ]
    return _table("planted", "Planted faults", f"{planting.summary}.", columns, groups.items(), f"by {by}")


def _form(finding: Finding) -> str:
    return finding.written.name if finding.written else DERIVED_HERE


def _expected(finding: Finding) -> str:
    return finding.written.expected if finding.written else Verdict.AGREES


def _why(finding: Finding) -> str:
    if finding.written is None:
        return f"kink: {finding.entry.kink}" if finding.entry.kink else ""
    text = finding.written.cause or finding.written.remark
    if not finding.wrong:
        return text
    gradients = {check.gradient for check in finding.checks} - {"value"}
    all_of_them = len(gradients) > 1 and gradients <= set(finding.wrong)
    return f"{'all' if all_of_them else ', '.join(finding.wrong)}: {text}"


def _verdict(verdict: str, expected: str) -> Value:
    return Value(text=str(verdict), mark="" if verdict == expected else f", not {expected}")


def _text(key: str, heading: str = "", share: int = 0) -> Column:
    return Column(key=key, heading=heading or key, kind="text", share=share)


def _raw(key: str) -> Column:
    """A text that the CSV alone has."""
    return Column(key=key, heading=key, kind="text", hidden=True)


def _count(key: str) -> Column:
    return Column(key=key, heading=key, format=",.0f")


def _error(key: str, heading: str = "", *, hidden: bool = False) -> Column:
    return Column(key=key, heading=heading or key, format=".1e", hidden=hidden)


def _table(key: str, title: str, caption: str, columns: _Columns[T], rows: Iterable[T], environment: str) -> Table:
    return Table(
        key=key,
        kind="gradients",
        title=title,
        caption=caption,
        label=f"tab:gradcheck-{key}",
        columns=[column for column, _ in columns],
        rows=[Row({column.key: _value(of(row)) for column, of in columns}) for row in rows],
        notes=[],
        environment=environment,
    )


def _value(value: Value | str | float | None) -> Value:
    if isinstance(value, Value | str):
        return value if isinstance(value, Value) else Value(text=str(value))
    return Value(number=None if value is None or math.isnan(value) else float(value))
