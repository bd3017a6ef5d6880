"""What each loader looks like: the same colour and marker in all figures of a report."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from bench.render.figurestyle import BLACK, BLUE, GREEN, VERMILLION, WINE
from bench.report.groups import Cell

PURPLE = "#CC79A7"
SKY = "#56B4E9"
ORANGE = "#E69F00"

COLOURS = (BLACK, BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, WINE)
"""Okabe and Ito's without the yellow, which is lost on white, and a wine; the baseline's comes first."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
"""One beside each colour: a figure printed in grey can still be read."""
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.4)), (0, (1, 1.2)), (0, (6, 1.4, 1, 1.4)), (0, (3, 1, 1, 1, 1, 1)))
"""For the options of one loader, where there are more of them than colours."""


class Look(NamedTuple):
    """Of a loader with its options.

    Attributes:
        colour: of line and marker.
        marker: Matplotlib's letter.
        dashes: Matplotlib's line style.
        hollow: whether the marker is open.
    """

    colour: str
    marker: str
    dashes: Any = "-"
    hollow: bool = False

    @property
    def line(self) -> dict[str, Any]:
        """For ``axes.plot``."""
        return {"color": self.colour, "linestyle": self.dashes, **self.dot}

    @property
    def dot(self) -> dict[str, Any]:
        """Of a marker alone, for ``axes.plot`` and ``axes.errorbar``."""
        face = "white" if self.hollow else self.colour
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour}


Looks: TypeAlias = dict[str, Look]


def looks(cells: Iterable[Cell], baseline: str) -> Looks:
    """A look for each label that the cells have.

    Where there are more labels than colours, the colour tells the loader, and dashes and marker tell its options.

    Args:
        cells: of all groups of a report.
        baseline: label or loader that comes first.
    """
    loaders = {cell.label: cell.loader for cell in cells}
    labels = sorted(loaders, key=lambda label: (label != baseline, loaders[label] != baseline, _natural(label)))
    order = list(dict.fromkeys(loaders[label] for label in labels))
    if len(labels) <= len(COLOURS) or len(order) == 1:
        return {label: _by_label(place) for place, label in enumerate(labels)}
    found: Looks = {}
    for i, loader in enumerate(order):
        for j, label in enumerate(label for label in labels if loaders[label] == loader):
            found[label] = _by_loader(i, j)
    return {label: found[label] for label in labels}


def _by_label(place: int) -> Look:
    again, i = divmod(place, len(COLOURS))
    return Look(COLOURS[i], MARKERS[i], DASHES[again % len(DASHES)], hollow=again > 0)


def _by_loader(loader: int, option: int) -> Look:
    marker = MARKERS[(loader + option) % len(MARKERS)]
    return Look(COLOURS[loader % len(COLOURS)], marker, DASHES[option % len(DASHES)], hollow=option > 0)


def _natural(label: str) -> list[tuple[int, str]]:
    """For an order in which ``n=2`` comes before ``n=10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", label)]
