"""A recommendation, as the page shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.render.language import Text, message
from bench.report.groups import Cell

NOBODY = message("None can be named")


class Advice(NamedTuple):
    """A recommendation for one dataset with one model, cache state and the like."""

    about: Text  # dataset, model, cache state, and the settings that vary beside them
    pick: Text
    sentences: tuple[Text, Text]
    basis: Text  # how many rounds and comparisons it rests on, and what could not be compared
    is_decided: bool  # whether a loader is named because something was found faster or slower than the baseline
    runs: Sequence[str]


def labels(cells: Iterable[Cell]) -> str:
    """The loaders with their options."""
    return ", ".join(cell.label for cell in cells)


def digits(seconds: float) -> str:
    """Python's format of three significant digits."""
    return next((format_ for limit, format_ in ((100, ",.0f"), (10, ",.1f"), (1, ",.2f")) if seconds >= limit), ",.3f")
