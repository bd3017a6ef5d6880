"""The report's figures, each as PDF for print and PNG for the screen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.records import Record
from bench.render.language import Language
from bench.report.figures.pictures import Picture, Plan, plan

__all__ = ["Picture", "Plan", "draw", "plan"]


def draw(
    records: Iterable[Record], folder: Path, baseline: str = "filesystem", language: Language = "en", mix: bool = False
) -> list[Path]:
    """Draw every figure that the records have data for into a folder that exists.

    The same records give the same bytes. Matplotlib's settings are the user's own again afterwards. What is left out,
    and why, is told by ``plan(...).left_out``.

    Args:
        records: in any order; those of one environment share figures.
        folder: where to.
        baseline: loader, with or without its options, that the others are compared with.
        language: of all text.
        mix: records of all environments share figures.

    Returns:
        The files, in the order of the figures.
    """
    return [path for picture in plan(records, baseline, language, mix).pictures for path in picture.save(folder)]
