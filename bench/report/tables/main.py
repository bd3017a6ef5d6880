"""The main table: loaders by datasets, with their epoch times against the baseline's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from bench.render.language import Joined, Number, Text, joined, message
from bench.render.table import Column, Table, Value
from bench.report.groups import Cell
from bench.report.metrics import METRICS, columns
from bench.report.tables import assemble, cells
from bench.report.tables.flags import FLAGGED, UNVERIFIED, flags, reasons_unverified, unverified
from bench.report.tables.losses import loss_notes
from bench.report.tables.part import Part
from bench.stats.comparison import FAMILY_ALPHA

SAMPLES = Column(
    "digest",
    message("samples"),
    kind="text",
    definition=message(
        "whether all loaders gave the same training samples, by their sha256; where not, the beginning of this one's"
    ),
)
COLUMNS = (
    assemble.RUNS,
    *columns("stall_s"),
    Column("ratio", message("stall ratio"), spread="limits", better="lower", definition=message(
        "data stall over the baseline's: geometric means, paired by round; the interval belongs to the verdict")),
    dataclasses.replace(assemble.VERDICT, definition=message(
        "of the paired t test of the data stalls' logarithms, Holm-corrected over this table at {alpha}",
        alpha=Number(FAMILY_ALPHA, "g"))),
    *columns("epoch_s", "images_per_s"),
    Column("epoch_ratio", message("epoch ratio"), spread="limits", better="lower", definition=message(
        "data stall with the round's mean computing over the baseline's with the same, geometric means, with the 95% "
        "interval of this row alone: the epochs' ratio if computing does not depend on the loader")),
    Column("computing_ratio", message("computing"), spread="limits", definition=message(
        "what of the epoch is no data stall over its mean of all loaders, paired by round; the interval belongs to the "
        "test that the notes tell of")),
    *columns("accuracy", "macro_f1"),
    SAMPLES,
    assemble.REMARK,
)  # fmt: skip


_UNEQUAL = {
    "slower": message("computes longer than the others, so that its epoch is longer than the ratio says: {names}"),
    "faster": message("computes shorter than the others, so that its epoch is shorter than the ratio says: {names}"),
}
"""Where a loader's computing differs, on which the comparison of epochs rests."""


def main(part: Part) -> Table | None:
    """Every cell of the part, those without a run included, with the reason."""
    caption = message(
        "Data stall and epoch time of each loader, means with their 95% t intervals over runs; the verdict is on the "
        "data stall."
    )
    notes = list(_notes(part))
    return assemble.part_table(
        part, "main", message("Epoch time"), caption, COLUMNS, lambda cell: _cells(part, cell), notes, part.cells
    )


def _cells(part: Part, cell: Cell) -> dict[str, Value]:
    done = part.done(cell)
    marks = UNVERIFIED * bool(unverified(done)) + FLAGGED * _is_flagged(part, cell)
    return {
        "runs": cells.counted(done),
        "epoch_s": dataclasses.replace(cells.over_runs(done, METRICS["epoch_s"]), mark=marks),
        **_compared(part, cell),
        "computing_ratio": _computing(part, cell),
        "digest": samples_of(part, cell),
        "remark": Value(text=assemble.reasons(part.group.cells[cell])),
    }


def _compared(part: Part, cell: Cell) -> dict[str, Value]:
    """Ratio and verdict; of the baseline, that it is one."""
    base = part.baseline_of(cell)
    if base == cell:
        return {"verdict": Value(text=assemble.BASELINE)}
    comparison = part.comparisons.get(cell)
    if comparison is None or base is None or not part.done(cell):
        return {}
    runs = cells.ids(record for record in (*part.done(cell), *part.done(base)) if METRICS["epoch_s"].of(record))
    ratio = Value() if comparison.ratio.ratio is None else cells.from_ratio(comparison.ratio, runs)
    epochs = cells.from_ratio(part.epochs[cell], runs)
    return {
        "ratio": ratio,
        "epoch_ratio": epochs,
        "verdict": Value(text=assemble.VERDICTS[comparison.verdict], runs=runs),
    }


def _computing(part: Part, cell: Cell) -> Value:
    comparison = part.computing.get(cell)
    if comparison is None or comparison.ratio.ratio is None:
        return Value()
    same = [other for other in part.cells if other.task == cell.task]
    return cells.from_ratio(comparison.ratio, cells.ids(record for other in same for record in part.done(other)))


def samples_of(part: Part, cell: Cell) -> Value:
    """Whether a cell gave the same samples as the others."""
    runs = cells.ids(record for record in part.done(cell) if record.digest is not None)
    if cell in part.digests.differ:
        return Value(text=assemble.because(assemble.DIFFER, ", ".join(part.digests.differ[cell])), runs=runs)
    return Value(text=assemble.AGREE, runs=runs) if cell in part.digests.agree else Value()


def _is_flagged(part: Part, cell: Cell) -> bool:
    """By anything but the cache, which has a mark of its own."""
    return any(flag != unverified(part.done(cell)) for flag in flags(part, cell))


def unverified_notes(part: Part) -> Iterator[Text]:
    """Of which rows the state of the cache is not shown, and why."""
    by_reason: dict[str, list[Text]] = {}
    for cell in part.cells:
        for reason in reasons_unverified(part.done(cell)):
            by_reason.setdefault(reason, []).append(cell.name)
    rows = sum(bool(part.done(cell)) for cell in part.cells)
    for reason, about in by_reason.items():
        names = message("all rows") if len(about) == rows else joined(about, "; ")
        yield Joined((UNVERIFIED, Joined((assemble.because(message("cache not verified"), reason), names), ": ")))


def samples_notes(part: Part) -> Iterator[Text]:
    """Which rows gave other samples than the others."""
    if names := part.digests.listed(part.cells, lambda cell: cell.name):
        yield message("samples differ, so these rows do not compare; by their sha256: {names}", names=names)


def _notes(part: Part) -> Iterator[Text]:
    yield from unverified_notes(part)
    if lonely := [cell.name for cell in part.cells if part.done(cell) and part.baseline_of(cell) is None]:
        names = joined(lonely, "; ")
        yield message("no run of {baseline} to compare with: {names}", baseline=part.baseline, names=names)
    if any(_is_flagged(part, cell) for cell in part.cells):
        yield Joined((FLAGGED, message("flagged; the table of statistics says why")))
    yield from samples_notes(part)
    yield from loss_notes(part)
    for verdict, text in _UNEQUAL.items():
        if unlike := [cell for cell, comparison in part.computing.items() if comparison.verdict == verdict]:
            yield message(text.text, names=joined([cell.name for cell in unlike], "; "))
    judged = (comparison.detectable for comparison in part.comparisons.values())
    if known := [100 * value for value in judged if value is not None and math.isfinite(value)]:
        yield message(
            "{count} comparisons; each would most likely (95%) have found a slowdown of {low}% to {high}%, by its runs",
            count=len(known),
            low=Number(min(known), ".1f"),
            high=Number(max(known), ".1f"),
        )
    yield from part.group.remarks
