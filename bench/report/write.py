"""Writes tables as Markdown and CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.report.tables import Table, cells

FORMATS = ("md", "csv")


def write(made: Sequence[Table], folder: Path, formats: Sequence[str], source: str) -> list[Path]:
    """Write ``report.md`` and ``table-<n>.csv`` into the folder.

    Args:
        made: the tables.
        folder: where to.
        formats: any of ``FORMATS``.
        source: the command that made them, for the page's foot.

    Raises:
        BenchError: the folder cannot be written.
    """
    written = []
    try:
        if "md" in formats:
            path = folder / "report.md"
            path.write_text(markdown(made, source), encoding="utf-8")
            written.append(path)
        if "csv" in formats:
            for stale in folder.glob("table-*.csv"):
                stale.unlink()
            for number, table in enumerate(made, 1):
                path = folder / f"table-{number}.csv"
                text = table.frame.map(one_line).to_csv(index=False)
                path.write_text(f"# {one_line(table.title)}\n{text}", encoding="utf-8")
                written.append(path)
    except OSError as error:
        raise BenchError(f"cannot write the report into {folder}: {error.strerror}; choose another folder") from error
    return written


def markdown(made: Sequence[Table], source: str) -> str:
    """All tables as one page."""
    parts = ["# Results", "", f"Made from the records beside this file by `{source}`.", ""]
    for table in made:
        rows = [[plain(cell) for cell in row] for row in cells(table.frame)]
        shown = pd.DataFrame(rows, columns=table.frame.columns)
        words = ("dataset", "loader", "digest", "remark")
        align = ["left" if name in words else "right" for name in shown.columns]
        text = shown.to_markdown(index=False, disable_numparse=True, colalign=align)
        parts += [f"## {plain(table.title)}", "", text, ""]
        parts += [f"- {plain(note)}" for note in table.notes] + ([""] if table.notes else [])
    return "\n".join(parts)


def one_line(value: Any) -> Any:
    """Text without line ends: pandas leaves a carriage return unquoted, which tears the row."""
    return " ".join(value.split()) if isinstance(value, str) else value


def plain(text: str) -> str:
    """Text from a record must not break out of its cell, nor be taken for Markdown."""
    text = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)  # an underscore within a word is harmless
