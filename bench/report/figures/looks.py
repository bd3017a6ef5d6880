"""What each loader looks like: the same colour and marker in all figures of a report."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from bench.render.figurestyle import BLACK, BLUE, GREEN, VERMILLION, WINE
from bench.report.groups import Cell

KNOWN = ("filesystem", "gpu_mmap", "hdf5", "memory", "mmap", "postgres")
"""Loaders that have the first colours for good; the colour of any other follows from its name."""
COLOURS = (
    *(BLACK, BLUE, VERMILLION, GREEN, "#CC79A7", "#56B4E9", "#E69F00", WINE),
    *("#332288", "#44AA99", "#999933", "#7A4A1F", "#7F7F7F", "#AA4499", "#4B6A88", "#6B8E00"),
)
"""Okabe and Ito's without the yellow, which is lost on white, and a wine; then some of Tol's and others."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
"""One beside each colour: a figure printed in grey can still be read."""
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.4)), (0, (1, 1.2)), (0, (6, 1.4, 1, 1.4)), (0, (3, 1, 1, 1, 1, 1)))
"""For the options of one loader, where there are more of them than colours."""


class Look(NamedTuple):
    """Colour, Matplotlib's marker and line style of a loader with its options, and whether the marker is open."""

    colour: str
    marker: str
    dashes: Any
    hollow: bool

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
    """A look for each label that the cells have, the baseline first.

    Where there are more labels than colours, the colour tells the loader, and dashes and marker tell its options.

    Args:
        cells: of all groups of a report.
        baseline: label or loader that is black.
    """
    loaders = {cell.label: cell.loader for cell in cells}
    labels = sorted(loaders, key=lambda label: (label != baseline, loaders[label] != baseline, _natural(label)))
    by_loader: dict[str, list[str]] = {}
    for label in labels:
        by_loader.setdefault(loaders[label], []).append(label)
    places = _places(by_loader, loaders.get(baseline, baseline))
    if len(labels) <= len(COLOURS) or len(by_loader) == 1:
        free = (place for place in itertools.count() if place not in places.values())
        firsts = {same[0]: places[loader] for loader, same in by_loader.items()}
        found = {label: _look(firsts[label] if label in firsts else next(free)) for label in labels}
    else:
        found = {
            label: _look(places[loader], option)
            for loader, same in by_loader.items()
            for option, label in enumerate(same)
        }
    return {label: found[label] for label in labels}


def _places(loaders: Iterable[str], baseline: str) -> dict[str, int]:
    """A place for each loader: its own, or the next free one where a loader before it has that."""
    places: dict[str, int] = {}
    for loader in sorted(loaders, key=lambda loader: (loader != baseline, loader not in KNOWN, loader)):
        if loader == baseline:
            own = 0
        elif loader in KNOWN:
            own = KNOWN.index(loader)
        else:
            own = len(KNOWN) + zlib.crc32(loader.encode()) % (len(COLOURS) - len(KNOWN))
        candidates = itertools.chain(range(own, len(COLOURS)), itertools.count(len(KNOWN)))
        places[loader] = next(place for place in candidates if place not in places.values())
    return places


def _look(place: int, option: int = 0) -> Look:
    again, colour = divmod(place, len(COLOURS))
    marker = MARKERS[(place + option) % len(MARKERS)]
    hollow = (colour >= len(MARKERS)) != (option > 0)
    return Look(COLOURS[colour], marker, DASHES[(again + option) % len(DASHES)], hollow)


def _natural(label: str) -> list[tuple[int, str]]:
    """For an order in which ``n=2`` comes before ``n=10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", label)]
