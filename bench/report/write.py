"""Writes a report beside its records: a Markdown page, tables as CSV and LaTeX, figures, and one HTML page."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.records import Foreign, Record
from bench.render.csv import csv_text
from bench.render.language import translated
from bench.render.latex import fragment, preview
from bench.render.markdown import Drawing, markdown
from bench.render.table import Language, Table
from bench.render.text import one_line, plain
from bench.render.whole import write_whole
from bench.report.tables import BASELINE, tables

if TYPE_CHECKING:  # matplotlib takes a second to import: only who draws pays
    from bench.report.figures import Picture

__all__ = ["FORMATS", "Report", "one_line", "plain", "write"]


@dataclasses.dataclass(frozen=True)
class Report:
    """What is to be reported, and how.

    Attributes:
        records: all that there are.
        command: what makes the report, to be named in it.
        baseline: loader, with or without its options, that the others are compared with.
        language: of all text.
        mix: put records of different environments into one table, with a warning.
        foreign: files beside the records that were none.
        gradients: folder of a gradient audit, to be shown on the HTML page, or None.
    """

    records: Sequence[Record]
    command: str
    baseline: str = BASELINE
    language: Language = "en"
    mix: bool = False
    foreign: Sequence[Foreign] = ()
    gradients: Path | None = None

    @functools.cached_property
    def tables(self) -> list[Table]:
        """All tables."""
        return tables(self.records, self.baseline, self.language, self.mix)

    @functools.cached_property
    def pictures(self) -> list[Picture]:
        """All figures, not drawn yet."""
        from bench.report.figures import plan

        return plan(self.records, self.baseline, self.mix, self.language)

    def place(self, name: str) -> str:
        """A file's or folder's name; in another language than English it ends in that."""
        stem, dot, ending = name.partition(".")
        return name if self.language == "en" else f"{stem}-{self.language}{dot}{ending}"


def write(report: Report, folder: Path, formats: Collection[str]) -> list[Path]:
    """Write ``report.md``, ``tables/<key>.csv`` and ``.tex`` with a ``preview.tex``, ``figures/`` and ``report.html``.

    In Latvian they are ``report-lv.md`` and so on. Tables and figures of an earlier report that this one lacks are
    removed, as far as their format is written.

    Args:
        report: what to write.
        folder: where to.
        formats: any of ``FORMATS``.

    Returns:
        What was written.

    Raises:
        BenchError: the folder cannot be written.
    """
    try:
        return [path for name, work in _WORK.items() if name in formats for path in work(report, folder, formats)]
    except OSError as error:
        raise BenchError(f"cannot write the report into {folder}: {error.strerror}; choose another folder") from error


def _csv(report: Report, folder: Path, _: Collection[str]) -> list[Path]:
    return _put_all(folder / report.place("tables"), ".csv", {t.key: csv_text(t) for t in report.tables})


def _latex(report: Report, folder: Path, _: Collection[str]) -> list[Path]:
    texts = {table.key: fragment(table, report.command) for table in report.tables}
    texts["preview"] = preview(list(texts), report.command, report.language)
    return _put_all(folder / report.place("tables"), ".tex", texts)


def _figures(report: Report, folder: Path, _: Collection[str]) -> list[Path]:
    place = folder / report.place("figures")
    place.mkdir(exist_ok=True)
    written = [path for picture in report.pictures for path in picture.save(place, report.language)]
    _remove_others(place, (".pdf", ".png"), written)
    return written


def _markdown(report: Report, folder: Path, formats: Collection[str]) -> list[Path]:
    pictures = report.pictures if "figures" in formats else []
    place = PurePosixPath(report.place("figures"))
    say = functools.partial(translated, language=report.language)
    drawings = [
        Drawing(p.scene.group.title, say(p.title), say(p.caption), str(place / f"{p.key}.png")) for p in pictures
    ]
    page = markdown(report.tables, report.command, report.language, drawings)
    return [write_whole(folder / report.place("report.md"), page)]


def _html(report: Report, folder: Path, formats: Collection[str]) -> list[Path]:
    from bench.report.page import write_html

    path = write_html(
        report.tables,
        report.records,
        report.pictures,
        folder,
        command=report.command,
        baseline=report.baseline,
        language=report.language,
        mix=report.mix,
        foreign=report.foreign,
        drawn=folder / report.place("figures") if "figures" in formats else None,
        gradients=report.gradients,
    )
    return [path]


# In this order: the pages show the figures.
_WORK: dict[str, Callable[[Report, Path, Collection[str]], list[Path]]] = {
    "csv": _csv,
    "latex": _latex,
    "figures": _figures,
    "md": _markdown,
    "html": _html,
}
FORMATS = ("md", "csv", "latex", "html", "figures")


def _put_all(place: Path, ending: str, texts: dict[str, str]) -> list[Path]:
    place.mkdir(exist_ok=True)
    written = [write_whole(place / f"{name}{ending}", text) for name, text in texts.items()]
    _remove_others(place, (ending,), written)
    return written


def _remove_others(place: Path, endings: Collection[str], written: Collection[Path]) -> None:
    """What an earlier report left and this one does not have."""
    for path in set(place.iterdir()) - set(written):
        if path.suffix in endings:
            path.unlink()
