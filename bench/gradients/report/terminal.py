"""The audit's tables for a terminal, readable from 120 columns on."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from bench.gradients.outcome import Outcome, Planting
from bench.gradients.report import tables
from bench.gradients.report.numbers import error

_STYLES = {"wrong": "red", "does not hold": "red", "convention at a kink": "yellow", "cannot be checked": "yellow"}
"""A verdict's colour; one that is not the expected one is shown in reverse."""


def tables_of(made: Outcome | Planting) -> Iterator[Table]:
    """The audit, the trainings and the claims; or the counts of planted faults by operator and by entry."""
    if isinstance(made, Outcome):
        yield _audit(made)
        yield _parity(tables.parity(made))
        yield _claims(tables.claims(made))
        return
    for by in tables.BY:
        frame = tables.caught(made, by)
        table = _table(f"Planted faults by {by}")
        for name in frame.columns:
            table.add_column(name, justify="left" if name == by else "right")
        for row in frame.itertuples(index=False):
            table.add_row(*(Text(str(cell)) for cell in row))
        yield table


def _audit(outcome: Outcome) -> Table:
    table = _table("Hand-written gradients against torch.autograd: worst relative errors")
    table.add_column("entry\n  form", overflow="fold")
    table.add_column("verdict", max_width=12)
    for name in ("autograd", "differ.", "float32", "cases", "corrected"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what is wrong, and why", overflow="fold")
    group = ""
    for finding, row in zip(outcome.rows, tables.audit(outcome).to_dict("records"), strict=True):
        if row["group"] != group and group:
            table.add_section()
        group = row["group"]
        table.add_row(
            Text(f"{row['entry']}\n  {row['form']}"),
            _verdict(row),
            *(Text(error(row[name])) for name in ("autograd", "differences", "float32")),
            Text(str(row["cases"])),
            Text(error(row["corrected autograd"])),
            Text(tables.why(finding)),
        )
    return table


def _parity(frame: pd.DataFrame) -> Table:
    table = _table(
        "NumPy and PyTorch trained side by side: worst relative distance of a parameter, distance from the optimum"
    )
    for name in ("model", "parameter"):
        table.add_column(name, overflow="fold")
    for name in ("steps", "distance", "optimum", "margin"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("kinks", overflow="fold")
    for row in frame.to_dict("records"):
        table.add_row(
            Text(row["model"]),
            Text(row["parameter"]),
            Text(f"{row['steps']:,}"),
            Text(error(row["worst distance"])),
            Text(error(row["optimum distance"])),
            Text(error(row["kink margin"])),
            Text(row["kink"] or "smooth"),
        )
    return table


def _claims(frame: pd.DataFrame) -> Table:
    table = _table("What the notes claim")
    table.add_column("claim", overflow="fold")
    table.add_column("statement", overflow="fold")
    table.add_column("verdict", max_width=13)
    table.add_column("evidence", overflow="fold")
    for row in frame.to_dict("records"):
        table.add_row(Text(row["id"]), Text(row["statement"]), _verdict(row), Text(row["evidence"]))
    return table


def _verdict(row: Mapping[Hashable, str]) -> Text:
    if row["verdict"] == row["expected"]:
        return Text(row["verdict"], style=_STYLES.get(row["verdict"], ""))
    return Text(f"{row['verdict']}, not {row['expected']}", style="reverse red")


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
