"""The data path alone: loaders against their formats' plain idioms, and against each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from bench.config import Settings
from bench.records import Record
from bench.render.language import joined, message
from bench.render.table import Column, Row, Table, Value
from bench.report.groups import NO_MODEL, Cell, Group, telling_apart
from bench.report.metrics import METRICS, columns
from bench.report.tables import assemble, cells

COLUMNS = (
    dataclasses.replace(assemble.RUNS, definition=message("runs that have a rate")),
    *columns("loader_rate", "raw_rate", "efficiency"),
    Column("idiom", message("idiom"), kind="text", definition=message("module of the plain idiom")),
    assemble.REMARK,
)
TITLES = {"rate": message("Loader rate"), "run": message("Loader rate within training runs")}
"""By the command whose runs are shown."""
_CAPTIONS = {
    "rate": message(
        "Batches drawn and consumed byte for byte without training, by bench rate; means over runs with 95% intervals."
    ),
    "run": message(
        "Batches drawn and consumed byte for byte after the last epoch, over the runs of all models and cache states; "
        "means over runs with 95% intervals."
    ),
}


def rates(group: Group) -> Iterator[Table]:
    """One table of bench rate, and one of the rates that training runs measured beside their epochs.

    Runs of all models and cache states count for one loader.
    """
    for command, title in TITLES.items():
        pooled: dict[Cell, list[Record]] = {}
        for cell, records in group.cells.items():
            if cell.command == command:
                pooled.setdefault(data_path(cell), []).extend(records)
        if command == "run":  # a training run without rates is none of this table's business
            pooled = {cell: own for cell, own in pooled.items() if any(METRICS["loader_rate"].of(r) for r in own)}
        if pooled:
            first = assemble.first_columns(telling_apart(pooled))
            caption = joined([_CAPTIONS[command], assemble.protocol(list(pooled))])
            rows = [_row(cell, records, first) for cell, records in pooled.items()]
            emulated = all(cell.model == NO_MODEL for cell in group.cells)
            key = ("rates", None if command == "rate" else "emulated" if emulated else "runs")
            yield assemble.table(group, key, title, caption, [*first, *COLUMNS], rows)


def data_path(cell: Cell) -> Cell:
    """The part of a cell that the rate of its data path depends on."""
    kept = tuple(pair for pair in cell.settings if cell.command == "rate" or pair[0] in Settings.model_fields)
    return cell._replace(model=None, cache=None, settings=kept)


def _row(cell: Cell, records: Sequence[Record], first: Sequence[Column]) -> Row:
    measured = [record for record in records if METRICS["loader_rate"].of(record) is not None]
    idioms = dict.fromkeys(r.rates.idiom for r in measured if r.rates is not None and r.rates.idiom)
    values = {
        **assemble.first_cells(cell, first),
        **cells.of_metrics(COLUMNS, measured),
        "runs": cells.counted(measured),
        "idiom": Value(text=", ".join(name.rpartition(".")[2] for name in idioms)),
        "remark": Value(text=assemble.reasons(records)),
    }
    return Row(values, cells.ids(records))
