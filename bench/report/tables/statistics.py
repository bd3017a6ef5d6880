"""How far the numbers can be trusted: runs, spread, what could have been found, and everything that went wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from bench.render.language import Joined, Text, joined, message
from bench.render.table import Column, Row, Table, Value
from bench.report.groups import NO_MODEL, Cell, Group, telling_apart
from bench.report.metrics import METRICS, columns
from bench.report.tables import assemble, cells
from bench.report.tables.flags import flags
from bench.report.tables.part import Part
from bench.stats.intervals import bootstrap_interval, positive_interval, relative_spread

_COMPARED = (
    dataclasses.replace(assemble.P, optional=True, definition=message(
        "of the ratio to the baseline, Holm-corrected over the table of epoch times")),
    dataclasses.replace(assemble.DETECTABLE, optional=True),
    *columns("others_pct", "stolen_pct", "gap_pct", "stopwatch_pct"),
)  # fmt: skip
"""What is told of epoch times alone."""


def statistics(group: Group, parts: Sequence[Part]) -> Iterator[Table]:
    """One table of all training runs by their epoch time, one of emulated ones by their feed rate, one of rates."""
    kinds: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        if part.key.command == "rate":
            kind = "loader_rate", ",.0f"
        else:
            kind = ("feed_rate", ",.0f") if part.key.model == NO_MODEL else ("epoch_s", ",.4f")
        kinds.setdefault(kind, []).append(part)
    for (metric, format_), own in kinds.items():
        if metric != "feed_rate" or any(METRICS[metric].over(part.done(c)) for part in own for c in part.cells):
            yield _table(group, own, metric, _columns(metric, format_))


def _columns(metric: str, format_: str) -> list[Column]:
    unit = METRICS[metric].column.unit
    return [
        assemble.RUNS,
        Column("mean", message("mean"), unit, message("over runs, with its 95% t interval"), format=format_,
               spread="limits"),
        Column("sd", message("sd"), unit, message("standard deviation over runs"), format=format_),
        Column("spread_pct", message("spread"), "%",
               message("standard deviation over mean; 10% or more is flagged"), format=".1f"),
        Column("median", message("median"), unit,
               message("over runs, with its 95% bootstrap interval (BCa) where there are ten runs"), format=format_,
               spread="limits"),
        *(_COMPARED if metric == "epoch_s" else ()),
        assemble.FLAGS,
    ]  # fmt: skip


def _table(group: Group, parts: Sequence[Part], metric: str, columns: Sequence[Column]) -> Table:
    every = [cell for part in parts for cell in part.cells]
    first = assemble.first_columns(telling_apart(every), with_model=metric != "loader_rate")
    quantity = METRICS[metric].column.heading
    about = message("Spread over runs ({quantity}), and what is to be said against them.", quantity=quantity)
    title = Joined((message("Statistics and flags"), quantity), ": ")
    caption = Joined((about, assemble.protocol(every)))
    rows = [_row(part, cell, metric, first, columns) for part in parts for cell in part.cells]
    notes = [*_said_by_records(every, group), *group.remarks]
    key = ("statistics", {"epoch_s": None, "feed_rate": "feed"}.get(metric, "rates"))
    return assemble.table(group, key, title, caption, [*first, *columns], rows, notes)


def _row(part: Part, cell: Cell, metric: str, first: Sequence[Column], columns: Sequence[Column]) -> Row:
    done = part.done(cell)
    unavailable = assemble.reasons(record for record in part.group.cells[cell] if record.status == "unavailable")
    values = {
        **assemble.first_cells(cell, first),
        **cells.of_metrics(columns, done),
        **_numbers(part, cell, metric),
        "runs": cells.counted(done),
        "flags": Value(text=joined([*flags(part, cell, metric), unavailable], "; ")),
    }
    return assemble.row(part, cell, values)


def _numbers(part: Part, cell: Cell, metric: str) -> dict[str, Value]:
    known = [(r.run_id, value) for r in part.done(cell) if (value := METRICS[metric].of(r)) is not None]
    if not known:
        return {}
    runs, values = tuple(run for run, _ in known), [value for _, value in known]
    mean = positive_interval(values)
    low, high = bootstrap_interval(values, np.median) or (None, None)
    numbers = {
        "mean": Value(mean.mean, mean.low, mean.high, runs=runs),
        "median": Value(float(np.median(values)), low, high, runs=runs),
    }
    if len(values) > 1:
        numbers["sd"] = Value(float(np.std(values, ddof=1)), runs=runs)
    if (spread := relative_spread(values)) is not None:
        numbers["spread_pct"] = Value(100 * spread, runs=runs)
    comparison = part.comparisons.get(cell) if metric == "epoch_s" else None
    if comparison is not None:
        numbers["p"] = Value(comparison.p, runs=runs)
        numbers["detectable_pct"] = cells.detectable_pct(comparison, runs)
    return numbers


def _said_by_records(every: Sequence[Cell], group: Group) -> list[Text]:
    """What the runs themselves flagged, each text once a cell; what all cells say, once."""
    said: dict[str, dict[Text, None]] = {}
    for cell in every:
        for flag in dict.fromkeys(flag for record in group.done(cell) for flag in record.flags):
            said.setdefault(flag, {})[cell.name] = None
    everyone = {cell.name for cell in every if group.done(cell)}
    return [
        Joined((name, flag), ": ")
        for flag, names in said.items()
        for name in ([message("all rows")] if len(everyone) > 1 and names.keys() == everyone else names)
    ]
