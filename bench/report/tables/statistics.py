"""How far the numbers can be trusted: runs, spread, what could have been found, and everything that went wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.render.language import say
from bench.render.table import Column, Language, Row, Table, Value
from bench.report.groups import Cell, Group
from bench.report.metrics import METRICS
from bench.report.tables.assemble import (
    MODELS,
    Shown,
    column,
    finished,
    first_cells,
    first_columns,
    group_notes,
    name_of,
    protocol,
    reasons,
    row,
    slug,
)
from bench.report.tables.cells import finite, over_runs, text
from bench.report.tables.flags import flags
from bench.report.tables.part import Digests, Part
from bench.stats.intervals import bootstrap_interval, mean_interval, relative_spread

_WORST = (
    Shown("others_pct", ".1f"),
    Shown("stolen_pct", ".1f"),
    Shown("gap_pct", ".2f"),
    Shown("stopwatch_pct", ".2f"),
)


def statistics(group: Group, parts: Sequence[Part], digests: Digests, language: Language) -> list[Table]:
    """One table of all training runs by their epoch time, one of `bench rate` by its rate."""
    made = []
    for command, metric, format_ in (("run", "epoch_s", ",.4f"), ("rate", "loader_rate", ",.0f")):
        mine = [part for part in parts if part.key.command == command]
        if mine:
            made.append(_table(group, mine, digests, language, metric, format_))
    return made


def _table(
    group: Group, parts: Sequence[Part], digests: Digests, language: Language, metric: str, format_: str
) -> Table:
    cells = [cell for part in parts for cell in part.cells]
    first = first_columns(cells, language)
    keys = _columns(metric, format_, language)
    if metric == "epoch_s":
        first = [
            Column("model", say("model", language), kind="text"),
            Column("cache", say("cache", language), kind="text"),
            *first,
        ]
    columns = [*first, *keys]
    rows = [_row(part, cell, digests, metric, columns) for part in parts for cell in part.cells]
    quantity = say(METRICS[metric].name, language)
    caption = say("Spread over runs ({quantity}), and what is to be said against them.", language, quantity=quantity)
    return finished(
        group,
        language,
        slug(group, "statistics", None if metric == "epoch_s" else "rates"),
        "statistics",
        f"{say('Statistics and flags', language)}: {quantity}",
        f"{caption} {protocol(cells, language)}",
        columns,
        rows,
        [*_said_by_records(cells, group, language), *group_notes(group, language)],
    )


def _columns(metric: str, format_: str, language: Language) -> list[Column]:
    unit = METRICS[metric].unit
    unit = say(unit, language)
    return [
        Column("runs", say("runs", language), format=".0f", definition=say("runs that ended well", language)),
        Column(
            "mean",
            say("mean", language),
            unit,
            say("over runs, with its 95% t interval", language),
            format=format_,
            spread="limits",
        ),
        Column("sd", say("sd", language), unit, say("standard deviation over runs", language), format=format_),
        Column(
            "spread_pct",
            say("spread", language),
            "%",
            say("standard deviation over mean; 10% or more is flagged", language),
            format=".1f",
        ),
        Column(
            "median",
            say("median", language),
            unit,
            say("over runs, with its 95% bootstrap interval (BCa) where there are ten runs", language),
            format=format_,
            spread="limits",
        ),
        *(
            [
                Column(
                    "p",
                    "p",
                    "",
                    say("of the ratio to the baseline, Holm-corrected over the table of epoch times", language),
                    format=".4f",
                    optional=True,
                ),
                Column(
                    "detectable_pct",
                    say("detectable", language),
                    "%",
                    say(
                        "smallest slowdown that the comparison finds with a probability of 95%, given the spread "
                        "observed",
                        language,
                    ),
                    format=".1f",
                    optional=True,
                ),
                *(column(shown, language) for shown in _WORST),
            ]
            if metric == "epoch_s"
            else []
        ),
        Column("flags", say("flags", language), kind="text"),
    ]


def _row(part: Part, cell: Cell, digests: Digests, metric: str, columns: Sequence[Column]) -> Row:
    language, done = part.language, part.done(cell)
    first = [c for c in columns if c.key in ("dataset", "loader") or c.key in _settings(cell)]
    values = first_cells(cell, first)
    if cell.model is not None:
        values["model"] = text(MODELS.get(cell.model, cell.model))
    if cell.cache is not None:
        values["cache"] = text(say(cell.cache, language))
    values["runs"] = Value(float(len(done)), runs=tuple(record.run_id for record in done))
    values |= _numbers(part, cell, metric)
    values |= {shown.key: over_runs(done, METRICS[shown.key]) for shown in _WORST if metric == "epoch_s"}
    told = flags(part, cell, metric, digests)
    unavailable = reasons([r for r in part.group.cells[cell] if r.status == "unavailable"], language)
    values["flags"] = text("; ".join([*told, unavailable] if unavailable else told))
    return row(part, cell, values)


def _settings(cell: Cell) -> set[str]:
    return {"batch_size", "workers", *(name for name, _ in cell.settings)}


def _numbers(part: Part, cell: Cell, metric: str) -> dict[str, Value]:
    found = [(r.run_id, value) for r in part.done(cell) if (value := METRICS[metric].of(r)) is not None]
    if not found:
        return {}
    runs, values = tuple(run for run, _ in found), [value for _, value in found]
    mean = mean_interval(values).above_zero
    spread = relative_spread(values)
    numbers = {"mean": Value(mean.mean, mean.low, mean.high, runs=runs), "median": _median(values, runs)}
    if len(values) > 1:
        numbers["sd"] = Value(float(np.std(values, ddof=1)), runs=runs)
    if spread is not None:
        numbers["spread_pct"] = Value(100 * spread, runs=runs)
    comparison = part.comparisons.get(cell) if metric == "epoch_s" else None
    if comparison is not None:
        numbers["p"] = Value(comparison.p, runs=runs)
        detectable = finite(comparison.detectable)
        numbers["detectable_pct"] = Value(None if detectable is None else 100 * detectable, runs=runs)
    return numbers


def _median(values: Sequence[float], runs: tuple[str, ...]) -> Value:
    limits = bootstrap_interval(values, np.median)
    low, high = limits or (None, None)
    return Value(float(np.median(values)), low, high, runs=runs)


def _said_by_records(cells: Sequence[Cell], group: Group, language: Language) -> list[str]:
    """What the runs themselves flagged, each text once a cell; what all cells say, once."""
    said: dict[str, dict[str, None]] = {}
    for cell in cells:
        for flag in dict.fromkeys(flag for record in group.done(cell) for flag in record.flags):
            said.setdefault(flag, {})[name_of(cell)] = None
    everyone = {name_of(cell) for cell in cells if group.done(cell)}
    return [
        f"{name}: {flag}"
        for flag, names in said.items()
        for name in ([say("all rows", language)] if len(everyone) > 1 and names.keys() == everyone else names)
    ]
