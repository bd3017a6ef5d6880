"""The report's most important tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.table import Table as RichTable
from rich.text import Text

from bench.render.show import cell
from bench.render.table import Table
from bench.render.text import printable

KINDS = ("main", "rates", "compare", "gradients")


def tables_of(made: Iterable[Table]) -> Iterator[tuple[RichTable, list[str]]]:
    """Those of `KINDS`, each with its notes; no text of a record can act on the terminal."""
    for table in made:
        if table.kind in KINDS:
            flagged = [
                f"{row['dataset'].text}, {row['loader'].text}: {row['flags'].text}"
                for row in table.rows
                if row["flags"].text
            ]
            yield _shown(table), [printable(note) for note in [*table.notes, *flagged]]


def _shown(table: Table) -> RichTable:
    shown = RichTable(title=Text(printable(f"{table.title}; {table.environment}")), title_justify="left")
    columns = [column for column in table.shown if column.key != "flags"]  # sentences, which stand below the table
    for column in columns:
        shown.add_column(Text(printable(column.title)), justify="left" if column.kind == "text" else "right")
    for row in table.rows:
        shown.add_row(*(Text(printable(cell(row[column.key], column, table.language))) for column in columns))
    return shown
