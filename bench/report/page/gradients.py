"""The gradient audit's results as tables of the page, read from the CSV files that `bench gradcheck` writes."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchError
from bench.render.language import message
from bench.render.table import Column, Row, Table, Value


class _Shown(NamedTuple):
    """One file and the columns taken from it: a number has a format, a text none."""

    name: str
    columns: Sequence[tuple[str, str]]


_FILES = (
    _Shown("audit", [
        ("group", ""), ("title", ""), ("form", ""), ("verdict", ""), ("autograd", ".1e"), ("differences", ".1e"),
        ("float32", ".1e"), ("cases", ",.0f"), ("cause", ""),
    ]),
    _Shown("parity", [
        ("model", ""), ("data", ""), ("steps", ",.0f"), ("worst distance", ".1e"), ("parameter", ""),
        ("optimum distance", ".1e"), ("kink margin", ".1e"),
    ]),
    _Shown("claims", [("statement", ""), ("verdict", ""), ("evidence", "")]),
)  # fmt: skip


_TEXTS = {
    "audit": (
        message("Gradients as written"),
        message(
            "Every gradient with its verdict, and its worst relative error over all cases: against autograd in "
            "float64, against central differences, and against autograd in float32."
        ),
    ),
    "parity": (
        message("Models trained on both sides"),
        message(
            "The same models trained by the hand-written gradients and by autograd: the worst relative distance of any "
            "parameter after any step."
        ),
    ),
    "claims": (message("Claims"), message("What the notes claim, held against computations.")),
}
"""Title and caption of each table."""


def gradient_tables(folder: Path) -> list[Table]:
    """A table for each of the audit's files that the folder holds; none if it holds none.

    Raises:
        BenchError: a file is not one that the audit writes.
    """
    return [_table(path, shown) for shown in _FILES if (path := folder / f"{shown.name}.csv").is_file()]


def _table(path: Path, shown: _Shown) -> Table:
    columns = [
        Column(key=name, heading=name, kind="number" if format_ else "text", format=format_ or ",.0f")
        for name, format_ in shown.columns
    ]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            places = {name: place for place, name in enumerate(next(lines))}
            at = [places[column.key] for column in columns]
            rows = [
                Row({c.key: _value(line[place], c) for c, place in zip(columns, at, strict=True)}) for line in lines
            ]
    except (OSError, ValueError, LookupError, StopIteration, csv.Error) as error:
        raise BenchError(f"{path} is not a table of `bench gradcheck` ({error!r}); give its --out folder") from error
    title, caption = _TEXTS[shown.name]
    return Table(
        key=f"gradients-{shown.name}",
        kind="gradients",
        title=title,
        caption=caption,
        label=f"tab:gradients-{shown.name}",
        columns=columns,
        rows=rows,
        notes=[],
        environment="",
    )


def _value(text: str, column: Column) -> Value:
    if column.kind == "text":
        return Value(text=text)
    number = float(text) if text else math.nan
    if not math.isfinite(number):
        return Value(text="\N{INFINITY}" if text else "")
    return Value(number=number, text="" if number else "0")
