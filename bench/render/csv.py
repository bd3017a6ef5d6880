"""Tables as CSV: raw numbers and limits, with the runs behind each row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from bench.render.table import Column, Table, Value
from bench.render.text import printable


def csv_text(table: Table) -> str:
    """The table, headed by the columns' keys, with every column, those included that are not shown.

    A number stands in its own unit (seconds, bytes), unrounded, its limits in ``<key>_low`` and ``<key>_high``, and
    what is shown in its place or beside it in ``<key>_note``. The last column names the row's runs, if there are any.
    """
    names = [list(_names(column, table)) for column in table.columns]
    has_runs = any(row.runs for row in table.rows)
    lines = [[name for group in names for name in group] + ["run_ids"] * has_runs]
    for row in table.rows:
        fields = (_fields(row[column.key], column) for column in table.columns)
        lines.append([found[name] for group, found in zip(names, fields, strict=True) for name in group])
        if has_runs:
            lines[-1].append(" ".join(map(printable, row.runs)))
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def _names(column: Column, table: Table) -> Iterator[str]:
    """The fields of a column that any row has; the first in any case."""
    yield column.key
    every = [_fields(row[column.key], column) for row in table.rows]
    for name in (f"{column.key}_low", f"{column.key}_high", f"{column.key}_note"):
        if any(fields.get(name) for fields in every):
            yield name


def _fields(value: Value, column: Column) -> dict[str, str]:
    key = column.key
    if column.kind != "number":
        return {key: printable(value.text + value.mark)}
    numbers = {key: value.number, f"{key}_low": value.low, f"{key}_high": value.high}
    shown = {name: "" if number is None else repr(float(number)) for name, number in numbers.items()}
    return {**shown, f"{key}_note": printable(" ".join(part for part in (value.text, value.mark) if part))}
