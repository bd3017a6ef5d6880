"""The data path alone: loaders against their formats' plain idioms, and against each other."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config import Settings
from bench.records import Record
from bench.render.language import say
from bench.render.table import Column, Language, Row, Table, Value
from bench.report.groups import Cell, Group
from bench.report.metrics import METRICS
from bench.report.tables.assemble import (
    Shown,
    column,
    finished,
    first_cells,
    first_columns,
    protocol,
    reasons,
    slug,
)
from bench.report.tables.cells import over_runs, text

_METRICS = (
    Shown("loader_rate", ",.0f", spread="half"),
    Shown("raw_rate", ",.0f", spread="half"),
    Shown("efficiency", ".2f", spread="limits"),
)


def rates(group: Group, language: Language) -> list[Table]:
    """One table of bench rate, and one of the rates that training runs measured beside their epochs."""
    made = (_table(group, language, command) for command in ("rate", "run"))
    return [table for table in made if table is not None]


def _table(group: Group, language: Language, command: str) -> Table | None:
    """None if no record of this command has a rate. Runs of all models and cache states count for one loader."""
    pooled: dict[Cell, list[Record]] = {}
    for cell, records in group.cells.items():
        if cell.command == command:
            pooled.setdefault(data_path(cell), []).extend(records)
    if command == "run":  # a training run without rates is none of this table's business
        pooled = {cell: found for cell, found in pooled.items() if any(METRICS["loader_rate"].of(r) for r in found)}
    if not pooled:
        return None
    first = first_columns(pooled, language)
    columns = [
        *first,
        Column("runs", say("runs", language), format=".0f", definition=say("runs that have a rate", language)),
        *(column(shown, language) for shown in _METRICS),
        Column("idiom", say("idiom", language), kind="text", definition=say("module of the plain idiom", language)),
        Column("remark", say("remark", language), kind="text"),
    ]
    rows = [_row(cell, records, first, language) for cell, records in pooled.items()]
    title, caption = _words(command, language)
    common = protocol(list(pooled), language)
    key = slug(group, "rates", "runs" if command == "run" else None)
    return finished(group, language, key, "rates", title, f"{caption} {common}", columns, rows, [])


def _words(command: str, language: Language) -> tuple[str, str]:
    """Title and caption."""
    if command == "rate":
        return say("Loader rate", language), say(
            "Batches drawn and consumed byte for byte without training, by bench rate; means over runs with 95% "
            "intervals.",
            language,
        )
    return say("Loader rate within training runs", language), say(
        "Batches drawn and consumed byte for byte after the last epoch, over the runs of all models and cache states; "
        "means over runs with 95% intervals.",
        language,
    )


def data_path(cell: Cell) -> Cell:
    """The part of a cell that the rate of its data path depends on."""
    kept = tuple(pair for pair in cell.settings if cell.command == "rate" or pair[0] in Settings.model_fields)
    return cell._replace(model=None, cache=None, settings=kept)


def _row(cell: Cell, records: Sequence[Record], first: Sequence[Column], language: Language) -> Row:
    measured = [record for record in records if METRICS["loader_rate"].of(record) is not None]
    idioms = dict.fromkeys(r.rates.idiom for r in measured if r.rates is not None and r.rates.idiom)
    values = {
        **first_cells(cell, first),
        "runs": Value(float(len(measured)), runs=tuple(record.run_id for record in measured)),
        **{shown.key: over_runs(measured, METRICS[shown.key]) for shown in _METRICS},
        "idiom": text(", ".join(name.rpartition(".")[2] for name in idioms)),
        "remark": text(reasons(records, language)),
    }
    return Row(values, tuple(record.run_id for record in records))
