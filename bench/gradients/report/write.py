"""Writes what an audit found: pages, tables with raw values, LaTeX and figures, each file whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from bench.errors import BenchError
from bench.gradients.figures import draw
from bench.gradients.outcome import Outcome, Planting
from bench.gradients.report import latex, markdown, tables
from bench.render.text import one_line
from bench.render.whole import write_whole

_ENDINGS = {"md": "md", "csv": "csv", "tex": "latex"}
FORMATS = tuple(_ENDINGS.values())
FIGURES = "figures"


def write(made: Outcome | Planting, folder: Path, formats: Collection[str], command: str) -> list[Path]:
    """Write an outcome with its figures, or, beside its files, what became of the planted faults.

    Args:
        made: what was found.
        folder: where to; made if it is missing.
        formats: any of ``FORMATS``. The figures are drawn in any case.
        command: what makes these files, to be named in them.

    Returns:
        What was written; the figures' folder, which is replaced as a whole, last.

    Raises:
        BenchError: the folder cannot be written.
    """
    with _staged(folder) as stage:
        if isinstance(made, Planting):
            return _publish(stage, folder, formats, _of_planting(made, command))
        (stage / FIGURES).mkdir()
        drawn = draw(stage / FIGURES, made)
        pictures = [PurePosixPath(path.relative_to(stage)) for path in drawn if path.suffix == ".png"]
        return _publish(stage, folder, formats, _of_outcome(made, command, pictures))


def check(folder: Path) -> None:
    """Make the folder and write into it, so that nothing is computed for one that cannot be written.

    Raises:
        BenchError: it cannot.
    """
    with _staged(folder):
        pass


def _of_outcome(outcome: Outcome, command: str, pictures: list[PurePosixPath]) -> dict[str, str]:
    return {
        "audit.md": markdown.audit(outcome, command, pictures),
        "claims.md": markdown.claims(outcome, command),
        "audit.csv": csv(tables.audit(outcome)),
        "checks.csv": csv(tables.checks(outcome)),
        "parity.csv": csv(tables.parity(outcome)),
        "losses.csv": csv(tables.losses(outcome)),
        "claims.csv": csv(tables.claims(outcome)),
        "audit.tex": latex.audit(outcome, command),
        "parity.tex": latex.parity(outcome, command),
        "claims.tex": latex.claims(outcome, command),
        "preview.tex": latex.preview(["audit", "parity", "claims"], command),
    }


def _of_planting(planting: Planting, command: str) -> dict[str, str]:
    return {
        "mutants.md": markdown.mutants(planting, command),
        "mutants.csv": csv(tables.mutants(planting)),
        "mutants.tex": latex.mutants(planting, command),
    }


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder within the folder, for files that are not whole yet; gone at the end, whatever happens."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".gradcheck-", dir=folder))
        try:
            yield stage
        finally:
            shutil.rmtree(stage)
    except OSError as error:
        raise BenchError(f"cannot write the audit into {folder}: {error.strerror}; choose another --out") from error


def _publish(stage: Path, folder: Path, formats: Collection[str], texts: Mapping[str, str]) -> list[Path]:
    """Write the texts of these formats, then put them and the figures into place, each at once."""
    names = [name for name in texts if _ENDINGS[name.rpartition(".")[2]] in formats]
    for name in names:
        write_whole(stage / name, texts[name])
    written = [(stage / name).replace(folder / name) for name in names]
    if (stage / FIGURES).exists():
        with contextlib.suppress(FileNotFoundError):
            (folder / FIGURES).rename(stage / "replaced")
        written.append((stage / FIGURES).rename(folder / FIGURES))
    return written


def csv(frame: pd.DataFrame) -> str:
    """The table with its numbers as they are; infinite is ``inf``, and what there is not is empty."""
    return str(frame.map(one_line).to_csv(index=False))
