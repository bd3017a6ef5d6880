"""Holds two folders of records against each other, and writes what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from bench.errors import BenchError, UsageError
from bench.records import Record
from bench.render.language import Language, joined, translated
from bench.render.markdown import markdown
from bench.render.table import Table
from bench.render.whole import write_whole
from bench.report.groups import groups
from bench.report.tables.against import Side, against
from bench.report.write import table_files

FORMATS = ("md", "csv", "latex")


def compare(a: tuple[str, Sequence[Record]], b: tuple[str, Sequence[Record]], mix: bool = False) -> list[Table]:
    """Tables of all that both folders measured, each given by its name and its records.

    Raises:
        UsageError: a folder holds records of several environments, and `mix` is not set.
        BenchError: the two have no work in common.
    """
    tables = against(_side(*a, mix), _side(*b, mix))
    if not tables:
        raise BenchError(
            f"no run in {b[0]} did the same work as one in {a[0]}; give folders with runs of the same images, "
            "loaders, models, cache states and settings"
        )
    return tables


def write(
    tables: Sequence[Table], folder: Path, formats: Collection[str], command: str, language: Language = "en"
) -> list[Path]:
    """Write ``compare.md`` and `table_files` into a folder, made if it is missing; ``command`` made the tables.

    Raises:
        BenchError: the folder cannot be written.
    """
    texts = {"compare.md": markdown(tables, command, language, beside=False)} if "md" in formats else {}
    texts |= table_files(tables, formats, command, language)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [write_whole(folder / name, text) for name, text in texts.items()]
    except OSError as e:
        raise BenchError(f"cannot write the comparison into {folder}: {e.strerror}; choose another --out") from e


def _side(name: str, records: Sequence[Record], mix: bool) -> Side:
    made = groups(records, mix)
    if len(made) > 1:
        titles = translated(joined((group.title for group in made), "; "), "en")
        raise UsageError(
            f"{name} holds records of {len(made)} environments ({titles}); keep a folder to one, or add "
            "--mix-environments"
        )
    return Side(name, made[0])
