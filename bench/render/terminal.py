"""The most important tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.table import Table as RichTable
from rich.text import Text

from bench.render.language import Joined, Language, translated
from bench.render.table import Table
from bench.render.text import cell, printable

KINDS = ("main", "feed", "rates", "compare", "gradients")
SUMMARY = "summary"
"""The kind of the table that stands for all others where there is one."""


def tables_of(tables: Iterable[Table], language: Language = "en") -> Iterator[tuple[RichTable, list[str]]]:
    """Those of `KINDS`, or the summary, each with its notes; no text of a record can act on the terminal."""
    tables = list(tables)
    kinds = (SUMMARY,) if any(table.kind == SUMMARY for table in tables) else KINDS
    for table in tables:
        if table.kind in kinds:
            flagged = [
                Joined((Joined((row["dataset"].text, row["loader"].text), ", "), row["flags"].text), ": ")
                for row in table.rows
                if row["flags"].text
            ]
            yield _shown(table, language), [printable(translated(note, language)) for note in [*table.notes, *flagged]]


def _shown(table: Table, language: Language) -> RichTable:
    title = translated(Joined((table.title, table.environment), "; "), language)
    shown = RichTable(title=Text(printable(title)), title_justify="left")
    columns = [column for column in table.shown if column.key != "flags"]  # sentences, which stand below the table
    for column in columns:
        heading = Text(printable(translated(column.title, language)))
        shown.add_column(heading, justify="left" if column.kind == "text" else "right")
    for row in table.rows:
        shown.add_row(*(Text(printable(cell(row[column.key], column, language))) for column in columns))
    return shown
