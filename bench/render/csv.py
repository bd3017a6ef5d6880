"""Tables as CSV: raw numbers and limits, with the runs behind each row."""

from __future__ import annotations

import csv
import io

from bench.render.language import Language, joined, translated
from bench.render.table import Column, Table, Value
from bench.render.text import printable


def csv_text(table: Table, language: Language = "en") -> str:
    """Every column of the table, also those that are not shown, headed by their keys; the last names the row's runs.

    A number stands in its own unit (seconds, bytes), unrounded, its limits in ``<key>_low`` and ``<key>_high``, and
    what is shown in its place or beside it in ``<key>_note``, as far as any row has them.
    """
    rows = []
    for row in table.rows:
        fields = {name: text for c in table.columns for name, text in _fields(row[c.key], c, language).items()}
        rows.append(fields | {"run_ids": " ".join(map(printable, row.runs))})
    keys = {column.key for column in table.columns}
    names = [name for column in table.columns for name in _fields(Value(), column, language)] + ["run_ids"]
    kept = [name for name in names if name in keys or any(row[name] for row in rows)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, kept, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _fields(value: Value, column: Column, language: Language) -> dict[str, str]:
    key = column.key
    if column.kind != "number":
        return {key: printable(translated(value.shown_text, language))}
    numbers = {key: value.number, f"{key}_low": value.low, f"{key}_high": value.high}
    shown = {name: "" if number is None else repr(float(number)) for name, number in numbers.items()}
    return {**shown, f"{key}_note": printable(translated(joined((value.text, value.mark)), language))}
