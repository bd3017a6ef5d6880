"""A table as the page's template takes it: every cell with its text, its raw number and where it leads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from bench.render import show
from bench.render.table import Column, Language, Row, Table, Value
from bench.report.page.links import Links


class GridCell(NamedTuple):
    """One cell.

    Attributes:
        text: the number or text.
        spread: its interval, shown more softly.
        mark: a sign that the notes explain.
        href: the HTML id that it leads to.
        value: the raw number, for sorting.
        style: CSS classes.
        is_header: whether it names its row.
    """

    text: str
    spread: str
    mark: str
    href: str | None
    value: float | None
    style: str
    is_header: bool


class GridRow(NamedTuple):
    """One row; ``style`` is its CSS class."""

    cells: list[GridCell]
    style: str


class GridColumn(NamedTuple):
    """One column's head; ``name`` is heading and unit in one, for what tells of sorting."""

    heading: str
    unit: str
    name: str
    definition: str
    style: str


class Grid(NamedTuple):
    """One table."""

    key: str
    title: str
    caption: str
    columns: list[GridColumn]
    rows: list[GridRow]
    notes: Sequence[str]


_LONG = 24
"""Characters from which on a text wants a column of some width."""


def grid(table: Table, links: Links) -> Grid:
    """The table with the links of its numbers."""
    columns = table.shown
    headers = _row_headers(columns)
    styles = {column.key: _style(column, table, headers) for column in columns}
    rows = [
        GridRow(
            [_cell(row[c.key], c, table, links, styles[c.key], c.key in headers) for c in columns],
            _row_style(row, columns),
        )
        for row in table.rows
    ]
    heads = [_column(column, styles[column.key], column.key in headers) for column in columns]
    return Grid(table.key, table.title, table.caption, heads, rows, table.notes)


def _row_headers(columns: Sequence[Column]) -> list[str]:
    """What names a row: the texts before the first number."""
    numbers = [place for place, column in enumerate(columns) if column.kind == "number"]
    return [column.key for column in columns[: max(1, min(numbers, default=1))]]


def _style(column: Column, table: Table, headers: Sequence[str]) -> str:
    """CSS classes of a column: the key of a row stays in sight when a wide table is scrolled."""
    if column.kind == "number":
        return "number"
    is_key = column.key == ("loader" if "loader" in headers else headers[0])
    is_long = any(len(row[column.key].text) > _LONG for row in table.rows)
    return " ".join(["key"] * is_key + ["long"] * is_long)


def _column(column: Column, style: str, is_header: bool) -> GridColumn:
    """A reader may choose rows by what names them, and by the verdict."""
    unit = column.unit if column.unit != column.heading else ""
    is_choice = is_header or column.key == "verdict"
    classes = " ".join(filter(None, [style, "choice" if is_choice else ""]))
    return GridColumn(column.heading, unit, column.title, column.definition, classes)


def _row_style(row: Row, columns: Sequence[Column]) -> str:
    """A row without any number but their count stands for runs that gave none."""
    numbers = [row[column.key].number for column in columns if column.kind == "number" and column.key != "runs"]
    return "lost" if numbers and all(number is None for number in numbers) else "baseline" if row.baseline else ""


def _cell(value: Value, column: Column, table: Table, links: Links, style: str, is_header: bool) -> GridCell:
    text, spread = _text(value, column, table.language)
    href = links.target(table.environment, value.runs) if text else None
    number = value.number if value.number is None or math.isfinite(value.number) else None  # no number in JavaScript
    return GridCell(text, spread, value.mark, href, number, style, is_header)


def _text(value: Value, column: Column, language: Language) -> tuple[str, str]:
    """What is shown, and its interval apart."""
    if value.text or value.number is None:
        return value.text, ""
    return show.rounded(value.number, column, language), show.spread(value, column, language)
