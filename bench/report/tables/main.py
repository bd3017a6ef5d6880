"""The main table: loaders by datasets, with their epoch times against the baseline's."""

from __future__ import annotations

import math

from bench.render.language import number, say
from bench.render.table import Column, Table, Value
from bench.report.groups import Cell
from bench.report.metrics import METRICS
from bench.report.tables.assemble import (
    Shown,
    column,
    first_cells,
    first_columns,
    group_notes,
    name_of,
    reasons,
    row,
    table,
)
from bench.report.tables.cells import from_ratio, over_runs, text
from bench.report.tables.flags import FLAGGED, UNVERIFIED, flags, reasons_unverified, unverified
from bench.report.tables.losses import loss_notes
from bench.report.tables.part import Digests, Part
from bench.stats.comparison import FAMILY_ALPHA, Comparison

_TIMES = (Shown("epoch_s", ",.3f", spread="half"), Shown("images_per_s", ",.0f"))
_SCORES = (Shown("accuracy", ".4f"), Shown("macro_f1", ".4f"))


def main(part: Part, digests: Digests) -> Table:
    """Every cell of the part, those without a run included, with the reason."""
    language = part.language
    first = first_columns(part.cells, language)
    columns = [
        *first,
        Column("runs", say("runs", language), format=".0f", definition=say("runs that ended well", language)),
        *(column(shown, language) for shown in _TIMES),
        Column(
            "ratio",
            say("ratio", language),
            definition=say(
                "mean epoch over the baseline's, paired by round, with the 95% interval of this row alone by Fieller's "
                "method",
                language,
            ),
            spread="limits",
            better="lower",
        ),
        Column(
            "verdict",
            say("verdict", language),
            kind="text",
            definition=say(
                "of the paired t test of the two means, Holm-corrected over this table at {alpha}, which asks for more "
                "than an interval that misses 1",
                language,
                alpha=number(FAMILY_ALPHA, "g", language),
            ),
        ),
        *(column(shown, language) for shown in _SCORES),
        Column(
            "digest",
            say("samples", language),
            kind="text",
            definition=say(
                "whether all loaders gave the same training samples, by their sha256; where not, the beginning of this "
                "one's",
                language,
            ),
        ),
        Column("remark", say("remark", language), kind="text"),
    ]
    rows = []
    for cell in part.cells:
        done = part.done(cell)
        values = {
            **first_cells(cell, first),
            "runs": Value(float(len(done)), runs=tuple(record.run_id for record in done)),
            **{shown.key: over_runs(done, METRICS[shown.key]) for shown in (*_TIMES, *_SCORES)},
            **_compared(part, cell),
            "digest": _samples(cell, digests, part),
            "remark": text(reasons(part.group.cells[cell], language)),
        }
        marks = UNVERIFIED * bool(unverified(done, language)) + FLAGGED * _is_flagged(part, cell, digests)
        values["epoch_s"] = _marked(values["epoch_s"], marks)
        rows.append(row(part, cell, values))
    caption = say("Mean epoch time of each loader, with its 95% t interval over runs.", language)
    return table(part, "main", say("Epoch time", language), caption, columns, rows, _notes(part, digests))


def _compared(part: Part, cell: Cell) -> dict[str, Value]:
    """Ratio and verdict; of the baseline, that it is one."""
    base = part.baseline_of(cell)
    if base == cell:
        return {"verdict": text(say("baseline", part.language))}
    comparison = part.comparisons.get(cell)
    if comparison is None or base is None or not part.done(cell):
        return {}
    runs = [record.run_id for record in (*part.done(cell), *part.done(base)) if METRICS["epoch_s"].of(record)]
    verdict = text(say(comparison.verdict, part.language), runs)
    ratio = Value() if comparison.ratio.ratio is None else from_ratio(comparison.ratio, runs)
    return {"ratio": ratio, "verdict": verdict}


def _samples(cell: Cell, digests: Digests, part: Part) -> Value:
    runs = [record.run_id for record in part.done(cell) if record.digest is not None]
    if cell in digests.differ:
        return text(f"{say('differ', part.language)} ({', '.join(digests.differ[cell])})", runs)
    return text(say("agree", part.language), runs) if cell in digests.agree else Value()


def _is_flagged(part: Part, cell: Cell, digests: Digests) -> bool:
    """By anything but the cache, which has a mark of its own."""
    told = unverified(part.done(cell), part.language)
    return any(flag != told for flag in flags(part, cell, "epoch_s", digests))


def _marked(value: Value, marks: str) -> Value:
    return Value(value.number, value.low, value.high, value.text, value.mark + marks, value.runs) if marks else value


def _notes(part: Part, digests: Digests) -> list[str]:
    language, notes = part.language, []
    by_reason: dict[str, list[str]] = {}
    for cell in part.cells:
        for reason in reasons_unverified(part.done(cell)):
            by_reason.setdefault(reason, []).append(name_of(cell))
    rows = sum(bool(part.done(cell)) for cell in part.cells)
    for reason, about in by_reason.items():
        names = say("all rows", language) if len(about) == rows else "; ".join(about)
        unshown = say("cache not verified", language) + (f" ({reason})" if reason else "")
        notes.append(f"{UNVERIFIED} {unshown}: {names}")
    if lonely := [name_of(cell) for cell in part.cells if part.done(cell) and part.baseline_of(cell) is None]:
        filled = {"baseline": part.baseline, "names": "; ".join(lonely)}
        notes.append(say("no run of {baseline} to compare with: {names}", language, **filled))
    if any(_is_flagged(part, cell, digests) for cell in part.cells):
        notes.append(f"{FLAGGED} {say('flagged; the table of statistics says why', language)}")
    if names := digests.listed(part.cells, name_of):
        notes.append(
            say("samples differ, so these rows do not compare; by their sha256: {names}", language, names=names)
        )
    return [*notes, *loss_notes(part), *_detectable(part), *group_notes(part.group, language)]


def _detectable(part: Part) -> list[str]:
    """What the comparisons of this table could have found."""
    judged: list[Comparison] = [c for c in part.comparisons.values() if c.detectable is not None]
    found = [c.detectable for c in judged if c.detectable is not None and math.isfinite(c.detectable)]
    if not found:
        return []
    low, high = (number(100 * value, ".1f", part.language) for value in (min(found), max(found)))
    return [
        say(
            "{count} comparisons; each would most likely (95%) have found a slowdown of {low}% to {high}%, by its runs",
            part.language,
            count=len(found),
            low=low,
            high=high,
        )
    ]
