"""Holds two folders of records against each other, and writes what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from bench.errors import BenchError, UsageError
from bench.records import Record
from bench.render.csv import csv_text
from bench.render.latex import fragment, preview
from bench.render.markdown import markdown
from bench.render.table import Language, Table
from bench.render.whole import write_whole
from bench.report.groups import groups
from bench.report.tables.against import Side, against

FORMATS = ("md", "csv", "latex")


def compare(
    a: tuple[str, Sequence[Record]], b: tuple[str, Sequence[Record]], language: Language = "en", mix: bool = False
) -> list[Table]:
    """Tables of all that both folders measured.

    Args:
        a: a folder's name, and its records.
        b: the same of the folder that is held against it.
        language: of all text.
        mix: let the records of several environments within a folder count as one set, with a warning.

    Raises:
        UsageError: a folder holds records of several environments, and `mix` is not set.
        BenchError: the two have no work in common.
    """
    sides = [_side(name, records, language, mix) for name, records in (a, b)]
    made = against(sides[0], sides[1], language)
    if not made:
        raise BenchError(
            f"no run in {b[0]} did the same work as one in {a[0]}; give folders with runs of the same images, "
            "loaders, models, cache states and settings"
        )
    return made


def write(made: Sequence[Table], folder: Path, formats: Collection[str], command: str) -> list[Path]:
    """Write ``compare.md``, and each table as ``<key>.csv`` and ``<key>.tex`` with a ``preview.tex``.

    Args:
        made: the tables.
        folder: where to; made if it is missing.
        formats: any of ``FORMATS``.
        command: what made the tables, to be named in them.

    Returns:
        What was written.

    Raises:
        BenchError: the folder cannot be written.
    """
    language = made[0].language
    texts: dict[str, str] = {}
    if "md" in formats:
        texts["compare.md"] = markdown(made, command, language, beside=False)
    if "csv" in formats:
        texts |= {f"{table.key}.csv": csv_text(table) for table in made}
    if "latex" in formats:
        texts |= {f"{table.key}.tex": fragment(table, command) for table in made}
        texts["preview.tex"] = preview([table.key for table in made], command, language)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(folder / name, text)
    except OSError as error:
        raise BenchError(
            f"cannot write the comparison into {folder}: {error.strerror}; choose another --out"
        ) from error
    return [folder / name for name in texts]


def _side(name: str, records: Sequence[Record], language: Language, mix: bool) -> Side:
    found = groups(records, mix, language)
    if len(found) > 1:
        titles = "; ".join(group.title for group in found)
        raise UsageError(
            f"{name} holds records of {len(found)} environments ({titles}); keep a folder to one, or add "
            "--mix-environments"
        )
    return Side(name, found[0])
