"""Where the time of an epoch goes, and how far it is above the best that any loader could do."""

from __future__ import annotations

from bench.render.language import say
from bench.render.table import Row, Table, Value
from bench.report.groups import Cell
from bench.report.metrics import METRICS
from bench.report.tables.assemble import Shown, column, first_cells, first_columns, name_of, row, table
from bench.report.tables.cells import CLIPPED, above_resolution, over_runs
from bench.report.tables.part import Part
from bench.report.values import is_stall_clipped

_FORMAT = ",.3f"
_OVER = Shown("over_ceiling_s", _FORMAT, spread="half")
_METRICS = (
    Shown("epoch_s", _FORMAT, spread="half"),
    Shown("fetch_s", _FORMAT),
    Shown("transfer_s", _FORMAT),
    Shown("compute_s", _FORMAT),
    Shown("other_s", _FORMAT),
    Shown("fetch_pct", ".1f"),
    Shown("ceiling_s", _FORMAT),
    Shown("stall_s", _FORMAT, spread="half"),
    Shown("stall_pct", ".1f"),
    Shown("au_pct", ".1f"),
    _OVER,
    Shown("device_copy_s", _FORMAT, optional=True),
    Shown("device_compute_s", _FORMAT, optional=True),
    Shown("device_idle_s", _FORMAT, optional=True),
    Shown("device_busy_pct", ".1f", optional=True),
)


def stages(part: Part) -> Table | None:
    """A row for each cell that has run; None if none has."""
    cells = [cell for cell in part.cells if part.done(cell)]
    if not cells:
        return None
    language = part.language
    first = first_columns(cells, language)
    rows: list[Row] = []
    notes: list[str] = []
    for cell in cells:
        values = {shown.key: over_runs(part.done(cell), METRICS[shown.key]) for shown in _METRICS}
        values[_OVER.key] = above_resolution(values[_OVER.key], _FORMAT, language)
        count = sum(map(is_stall_clipped, part.done(cell)))
        for key in ("stall_s", "stall_pct"):
            values[key] = _marked(values[key], count)
        notes += _clipped(part, cell, count)
        rows.append(row(part, cell, {**first_cells(cell, first), **values}))
    columns = [*first, *(column(shown, language) for shown in _METRICS)]
    caption = say("Parts of the epoch on the host's clock, means over runs; they add up to the epoch.", language)
    return table(part, "stages", say("Stages of the epoch", language), caption, columns, rows, notes)


def _marked(value: Value, count: int) -> Value:
    return Value(value.number, value.low, value.high, value.text, CLIPPED, value.runs) if count else value


def _clipped(part: Part, cell: Cell, count: int) -> list[str]:
    if not count:
        return []
    filled = {"count": count, "total": len(part.done(cell)), "name": name_of(cell)}
    return [f"{CLIPPED} {say('clipped at 0 in {count} of {total} runs: {name}', part.language, **filled)}"]
