"""Tables as one Markdown page."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.render import maths
from bench.render.language import say
from bench.render.show import cell
from bench.render.table import Column, Language, Table, Value
from bench.render.text import plain


class Drawing(NamedTuple):
    """A figure that lies beside the page.

    Attributes:
        environment: as that of the tables.
        path: relative to the page.
    """

    environment: str
    title: str
    caption: str
    path: str


def markdown(
    made: Sequence[Table], command: str, language: Language, drawings: Sequence[Drawing] = (), beside: bool = True
) -> str:
    """All tables, each with its caption, what its columns mean, and its notes; after those of a machine its figures.

    Args:
        made: the tables, in order.
        command: what made them, to be named in the page.
        language: of the tables and of the page.
        drawings: figures to show.
        beside: whether the records lie beside the page.
    """
    origin = say("Made by `{command}`.", language, command=_code(command))
    if beside:
        origin = say("Made by `{command}` from the records beside this page.", language, command=_code(command))
    return "\n".join(_page(made, origin, language, drawings)) + "\n"


def _page(made: Sequence[Table], origin: str, language: Language, drawings: Sequence[Drawing]) -> Iterator[str]:
    yield f"# {say('Results', language)}\n"
    yield f"{origin}\n"
    yield from (f"- [{plain(table.title)}](#{table.key})" for table in made)
    for environment, tables in itertools.groupby(made, lambda table: table.environment):
        yield f"\n## {plain(environment)}"
        for table in tables:
            yield from _section(table)
        for drawing in drawings:
            if drawing.environment == environment:
                yield f"\n### {plain(drawing.title)}\n\n![{plain(drawing.title)}]({drawing.path})\n"
                yield plain(drawing.caption)


def _section(table: Table) -> Iterator[str]:
    yield f'\n<a id="{table.key}"></a>\n\n### {plain(table.title)}\n'
    yield f"{plain(table.caption)}\n"
    yield from _grid(table)
    if items := [*_definitions(table), *table.notes]:
        yield ""
        yield from map(_item, items)


def _grid(table: Table) -> Iterator[str]:
    """The table itself, its columns aligned for those who read the source."""
    columns = table.shown
    lines = [[plain(column.title) for column in columns]]
    lines += [[_cell(row[c.key], c, table.language) for c in columns] for row in table.rows]
    widths = [max(3, *(len(line[place]) for line in lines)) for place in range(len(columns))]
    text = [column.kind != "number" for column in columns]

    def written(line: Sequence[str]) -> str:
        padded = (c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, widths, text, strict=True))
        return f"| {' | '.join(padded)} |"

    yield written(lines[0])
    rules = (f":{'-' * (w - 1)}" if left else f"{'-' * (w - 1)}:" for w, left in zip(widths, text, strict=True))
    yield f"| {' | '.join(rules)} |"
    yield from map(written, lines[1:])


def _cell(value: Value, column: Column, language: Language) -> str:
    if column.kind == "maths":
        return maths.markdown(value.text) if value.text else ""
    return plain(cell(value, column, language))


def _definitions(table: Table) -> list[str]:
    return [f"{title}: {definition}" for title, definition in table.definitions]


def _item(text: str) -> str:
    """A line of a list, whose text begins neither a heading nor another list."""
    return "- " + re.sub(r"^([#>+=-]|\d+(?=[.)]))", r"\\\1" if not text[:1].isdigit() else r"\1\\", plain(text))


def _code(command: str) -> str:
    """A command within backticks, which it may not end."""
    return " ".join(command.replace("`", "'").split())
