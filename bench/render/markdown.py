"""Tables as one Markdown page."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.render import maths
from bench.render.language import Joined, Language, Text, message, translated
from bench.render.table import Column, Table, Value
from bench.render.text import cell, plain


class Drawing(NamedTuple):
    """A figure that lies beside the page, shown after the tables of its group; ``path`` is relative to the page."""

    group: int
    title: Text
    caption: Text
    path: str


def markdown(
    tables: Sequence[Table], command: str, language: Language, drawings: Sequence[Drawing] = (), beside: bool = True
) -> str:
    """All tables, each with its caption, what its columns mean, and its notes; after those of a machine its figures.

    ``command`` is what made them, to be named in the page; ``beside`` tells whether the records lie beside the page.
    """
    code = " ".join(command.replace("`", "'").split())  # it may not end its backticks
    origin = message("Made by `{command}`.", command=code)
    if beside:
        origin = message("Made by `{command}` from the records beside this page.", command=code)
    lines = [f"# {translated(message('Results'), language)}\n", f"{translated(origin, language)}\n"]
    lines += [f"- [{_plain(table.title, language)}](#{table.key})" for table in tables]
    for group, members in itertools.groupby(tables, lambda table: table.group):
        own = list(members)
        lines.append(f"\n## {_plain(own[0].environment, language)}")
        lines += [line for table in own for line in _section(table, language)]
        for drawing in drawings:
            if drawing.group == group:
                title = _plain(drawing.title, language)
                lines.append(f"\n### {title}\n\n![{title}]({drawing.path})\n\n{_plain(drawing.caption, language)}")
    return "\n".join(lines) + "\n"


def _section(table: Table, language: Language) -> Iterator[str]:
    yield f'\n<a id="{table.key}"></a>\n\n### {_plain(table.title, language)}\n'
    yield f"{_plain(table.caption, language)}\n"
    yield from _grid(table, language)
    if items := [*(Joined(pair, ": ") for pair in table.definitions), *table.notes]:
        yield ""
        yield from (_item(_plain(item, language)) for item in items)


def _grid(table: Table, language: Language) -> Iterator[str]:
    """The table itself, its columns aligned for those who read the source."""
    columns = table.shown
    lines = [[_plain(column.title, language) for column in columns]]
    lines += [[_cell(row[c.key], c, language) for c in columns] for row in table.rows]
    widths = [max(3, *(len(line[place]) for line in lines)) for place in range(len(columns))]
    text = [column.kind != "number" for column in columns]
    rules = [f":{'-' * (w - 1)}" if left else f"{'-' * (w - 1)}:" for w, left in zip(widths, text, strict=True)]
    for line in (lines[0], rules, *lines[1:]):
        padded = (c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, widths, text, strict=True))
        yield f"| {' | '.join(padded)} |"


def _cell(value: Value, column: Column, language: Language) -> str:
    shown = cell(value, column, language)
    return maths.markdown(shown) if column.kind == "maths" and shown else plain(shown)


def _item(line: str) -> str:
    """A line of a list, whose text begins neither a heading nor another list."""
    return "- " + re.sub(r"^([#>+=-]|\d+(?=[.)]))", r"\\\1" if not line[:1].isdigit() else r"\1\\", line)


def _plain(text: Text, language: Language) -> str:
    return plain(translated(text, language))
