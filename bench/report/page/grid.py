"""A table as the page's template takes it: every cell with its text, its raw number and where it leads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from bench.render import text as show
from bench.render.language import Language, translated
from bench.render.table import Column, Row, Table, Value
from bench.report.page.links import Links

LONG = 24  # characters from which on a text wants a column of some width


class GridCell(NamedTuple):
    """A number or text with its interval and mark, where it leads, and the raw number, by which a reader sorts."""

    text: str
    spread: str
    mark: str
    href: str | None
    value: float | None
    style: str
    is_header: bool


class Grid(NamedTuple):
    """One table, and its columns and rows, each with its CSS classes."""

    table: Table
    columns: list[tuple[Column, str]]
    rows: list[tuple[list[GridCell], str]]


def grid(table: Table, links: Links, language: Language = "en") -> Grid:
    """The table with the links of its numbers."""
    columns = table.shown
    numbers = [place for place, column in enumerate(columns) if column.kind == "number"]
    headers = [column.key for column in columns[: max(1, min(numbers, default=1))]]  # texts before the first number
    styles = {column.key: _style(column, table, headers, language) for column in columns}

    def cell(value: Value, column: Column) -> GridCell:
        text, spread = translated(value.text, language), ""
        if not text and value.number is not None:
            text, spread = show.rounded(value.number, column, language), show.spread(value, column, language)
        href = links.target(table.group, value.runs) if text else None
        number = value.number if value.number is None or math.isfinite(value.number) else None  # none in JavaScript
        return GridCell(text, spread, value.mark, href, number, styles[column.key], column.key in headers)

    rows = [([cell(row[c.key], c) for c in columns], _row_style(row, columns)) for row in table.rows]
    choices = {*headers, "verdict"}  # a reader may choose rows by what names them, and by the verdict
    heads = [(c, " ".join(filter(None, [styles[c.key], "choice" * (c.key in choices)]))) for c in columns]
    return Grid(table, heads, rows)


def _style(column: Column, table: Table, headers: Sequence[str], language: Language) -> str:
    """CSS classes of a column: the key of a row stays in sight when a wide table is scrolled."""
    if column.kind == "number":
        return "number"
    is_key = column.key == ("loader" if "loader" in headers else headers[0])
    is_long = any(len(translated(row[column.key].text, language)) > LONG for row in table.rows)
    return " ".join(["key"] * is_key + ["long"] * is_long)


def _row_style(row: Row, columns: Sequence[Column]) -> str:
    """A row without any number but their count stands for runs that gave none."""
    numbers = [row[column.key].number for column in columns if column.kind == "number" and column.key != "runs"]
    return "lost" if numbers and all(number is None for number in numbers) else "baseline" if row.baseline else ""
