"""Writes what an audit found: a page, tables with raw values, LaTeX and figures, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bench.errors import BenchError
from bench.gradients import tables
from bench.gradients.figures import figures
from bench.gradients.outcome import Outcome
from bench.render import latex, markdown, maths
from bench.render.csv import csv_text
from bench.render.stored import STORED, dumps
from bench.render.whole import write_whole

FORMATS = ("md", "csv", "latex")


def write(outcome: Outcome, folder: Path, formats: Collection[str], command: str) -> list[Path]:
    """Write an outcome, with figures and stored tables for ``bench report --gradients`` whatever the formats.

    What cannot be drawn leaves all files as they were. Returns what was written, the figures' folder last; raises
    ``BenchError`` if the folder cannot be written. The files name the command that makes them.
    """
    shown = tables.shown(outcome)
    with_formulas = [*shown, tables.formulas(outcome)]
    drawn = figures(outcome)
    drawings = [markdown.Drawing(1, title, caption, f"figures/{name}.png") for name, title, caption, _ in drawn]
    texts: dict[str, str] = {}
    if "md" in formats:
        texts["audit.md"] = markdown.markdown(with_formulas, command, "en", drawings, beside=False)
    if "csv" in formats:
        texts |= {f"{t.key}.csv": csv_text(t) for t in (*shown, tables.checks(outcome), tables.losses(outcome))}
    if "latex" in formats:
        texts |= {f"{table.key}.tex": latex.fragment(table, command) for table in with_formulas}
        texts["preview.tex"] = latex.preview(
            [t.key for t in with_formulas], command, "en", (*latex.PACKAGES, *maths.PACKAGES)
        )
    texts[STORED] = dumps(shown)
    check(folder)
    try:
        written = [write_whole(folder / name, text) for name, text in texts.items()]
        (folder / "figures").mkdir(exist_ok=True)
        for name, _, _, files in drawn:
            for suffix, content in files.items():
                write_whole(folder / "figures" / f"{name}.{suffix}", content)
    except OSError as error:
        raise _refused(folder, error) from error
    return [*written, folder / "figures"]


def check(folder: Path) -> None:
    """Make the folder and write into it; ``BenchError``, before anything is computed, where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ".gradcheck", b"").unlink()
    except OSError as error:
        raise _refused(folder, error) from error


def _refused(folder: Path, error: OSError) -> BenchError:
    return BenchError(f"cannot write the audit into {folder}: {error.strerror}; choose another --out")
