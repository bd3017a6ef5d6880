"""Writes a report beside its records: a Markdown page, tables as CSV and LaTeX, figures, and one HTML page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.render.csv import csv_text
from bench.render.language import Language
from bench.render.latex import fragment, preview
from bench.render.markdown import Drawing, markdown
from bench.render.table import Table
from bench.render.whole import write_whole
from bench.report.report import Report

FORMATS = ("md", "csv", "latex", "html", "figures")
_ENDINGS = {"csv": ".csv", "latex": ".tex"}


def write(report: Report, folder: Path, formats: Collection[str]) -> list[Path]:
    """Write ``report.md``, ``tables/<key>.csv`` and ``.tex`` with a ``preview.tex``, ``figures/`` and ``report.html``.

    In Latvian they are ``report-lv.md`` and so on. Tables and figures of an earlier report that this one lacks are
    removed, as far as their format is written.

    Raises:
        BenchError: the folder cannot be written.
    """
    try:
        return list(_written(report, folder, formats))
    except OSError as error:
        raise BenchError(f"cannot write the report into {folder}: {error.strerror}; choose another folder") from error


def _written(report: Report, folder: Path, formats: Collection[str]) -> Iterator[Path]:
    """Write file by file, the figures before the pages that show them."""
    language, command = report.language, report.command
    tables, figures = folder / report.place("tables"), folder / report.place("figures")
    for name, ending in _ENDINGS.items():
        if name in formats:
            tables.mkdir(exist_ok=True)
            texts = table_files(report.tables, [name], command, language)
            written = [write_whole(tables / file, text) for file, text in texts.items()]
            _remove_others(tables, (ending,), written)
            yield from written
    pictures = report.pictures if "figures" in formats else []
    if "figures" in formats:
        figures.mkdir(exist_ok=True)
        drawn = [path for picture in pictures for path in picture.save(figures, language)]
        _remove_others(figures, (".pdf", ".png"), drawn)
        yield from drawn
    if "md" in formats:
        drawings = [Drawing(p.scene.group.number, p.title, p.caption, f"{figures.name}/{p.key}.png") for p in pictures]
        page = markdown(report.tables, command, language, drawings)
        yield write_whole(folder / report.place("report.md"), page)
    if "html" in formats:
        from bench.report.page import html

        page = html(report, report.tables, report.pictures, drawn=figures if "figures" in formats else None)
        yield write_whole(folder / report.place("report.html"), page)


def table_files(tables: Sequence[Table], formats: Collection[str], command: str, language: Language) -> dict[str, str]:
    """The tables as ``<key>.csv`` and ``<key>.tex`` with a ``preview.tex``, by the files' names."""
    texts: dict[str, str] = {}
    if "csv" in formats:
        texts |= {f"{table.key}.csv": csv_text(table, language) for table in tables}
    if "latex" in formats:
        texts |= {f"{table.key}.tex": fragment(table, command, language) for table in tables}
        texts["preview.tex"] = preview([table.key for table in tables], command, language)
    return texts


def _remove_others(place: Path, endings: Collection[str], written: Collection[Path]) -> None:
    """What an earlier report left and this one does not have."""
    for path in set(place.iterdir()) - set(written):
        if path.suffix in endings:
            path.unlink()
