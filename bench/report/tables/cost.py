"""What a store costs to make and to keep, and after how many epochs it has paid for itself."""

from __future__ import annotations

import math

from bench.render.language import say
from bench.render.table import Column, Row, Table, Value
from bench.report.groups import Cell
from bench.report.metrics import METRICS
from bench.report.tables.assemble import Shown, column, first_cells, first_columns, row, table
from bench.report.tables.cells import difference, from_interval, over_runs, text
from bench.report.tables.part import Part
from bench.stats.intervals import mean_interval

_STORE = (
    Shown("store_bytes", ",.1f", "MB", 1e-6),
    Shown("store_allocated_bytes", ",.1f", "MB", 1e-6),
    Shown("bytes_per_image", ",.0f"),
)
_PREPARE = Shown("prepare_s", ",.2f", spread="half")


def cost(part: Part) -> Table | None:
    """A row for each cell whose store is known; None if there is none."""
    language = part.language
    cells = [cell for cell in part.cells if any(record.store is not None for record in part.done(cell))]
    if not cells:
        return None
    first = first_columns(cells, language)
    columns = [*first, column(_PREPARE, language), *(column(shown, language) for shown in _STORE)]
    if part.key.command == "run":
        columns += [
            Column(
                "saved_s",
                say("saved", language),
                say("s", language),
                say("epoch time of the baseline less this one, paired by round", language),
                spread="half",
                better="higher",
            ),
            Column(
                "break_even_epochs",
                say("break-even", language),
                say("epochs", language),
                say(
                    "preparation time over the time saved per epoch, with the range by its interval; the baseline's "
                    "preparation is not subtracted; never where nothing is saved",
                    language,
                ),
                format=",.1f",
                spread="limits",
                better="lower",
            ),
        ]
    rows: list[Row] = []
    for cell in cells:
        values = {shown.key: over_runs(part.done(cell), METRICS[shown.key]) for shown in _STORE}
        values[_PREPARE.key] = _preparations(part, cell)
        rows.append(row(part, cell, {**first_cells(cell, first), **values, **_break_even(part, cell)}))
    caption = say(
        "Preparation and size of the stores, and the epochs after which the time saved has paid for the preparation. "
        "A store that several runs read was prepared once.",
        language,
    )
    return table(part, "cost", say("Preparation, size and break-even", language), caption, columns, rows, [])


def _preparations(part: Part, cell: Cell) -> Value:
    """Mean over the preparations, which runs share: equal times to the last digit are one preparation."""
    times = [(r.run_id, value) for r in part.done(cell) if (value := METRICS["prepare_s"].of(r)) is not None]
    if not times:
        return Value()
    mean = mean_interval(list(dict.fromkeys(value for _, value in times)))
    return from_interval(mean.above_zero, [run for run, _ in times])


def _break_even(part: Part, cell: Cell) -> dict[str, Value]:
    base = part.baseline_of(cell)
    if base is None:
        return {}
    if base == cell:
        return {"break_even_epochs": text(say("baseline", part.language))}
    saved = difference(part.by_round(base, "epoch_s"), part.by_round(cell, "epoch_s"))
    if saved is None:
        return {}
    runs = [record.run_id for side in (base, cell) for record in part.done(side)]
    found = {"saved_s": from_interval(saved, runs)}
    prepared = _preparations(part, cell).number
    if prepared is not None:
        found["break_even_epochs"] = _epochs(prepared, found["saved_s"], part)
    return found


def _epochs(prepared: float, saved: Value, part: Part) -> Value:
    """Epochs until so much is saved. The limits are those of the largest and of the smallest saving in the interval."""
    low = _over(prepared, saved.high)
    high = _over(prepared, saved.low)
    epochs = _over(prepared, saved.number)
    if epochs is None:
        return Value(None, low, None, say("never", part.language), runs=saved.runs)
    return Value(epochs, low, high, runs=saved.runs)


def _over(prepared: float, saved: float | None) -> float | None:
    """None where nothing is saved."""
    epochs = prepared / saved if saved is not None and saved > 0 else math.inf
    return epochs if math.isfinite(epochs) else None
