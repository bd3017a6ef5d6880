"""What each loader looks like: the same colour and marker in all figures of a report."""

from __future__ import annotations

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from bench.render.figurestyle import BLACK, BLUE, GREEN, VERMILLION, WINE
from bench.report.groups import Cell

KNOWN = ("filesystem", "gpu_mmap", "hdf5", "memory", "mmap", "postgres")
"""Loaders that have the first colours for good; the colour of any other follows from its name."""
COLOURS = (
    *(BLACK, BLUE, VERMILLION, GREEN, "#CC79A7", "#56B4E9", "#E69F00", WINE),
    *("#332288", "#44AA99", "#999933", "#7A4A1F", "#7F7F7F", "#AA4499", "#4B6A88", "#6B8E00"),
)
"""Okabe and Ito's without the yellow, which is lost on white, and a wine; then some of Tol's and others."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")  # one beside each colour: a figure printed in grey can still be read
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.4)), (0, (1, 1.2)), (0, (6, 1.4, 1, 1.4)), (0, (3, 1, 1, 1, 1, 1)))
"""For the options of one loader, and for more loaders than there are colours."""


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


def looks(cells: Iterable[Cell], baseline: str) -> dict[str, Look]:
    """A look for each label that the cells of all groups have; first the baseline, a label or loader, in black.

    The colour tells the loader; marker and dashes tell its options. A loader that is alone has a colour for each label.
    """
    loaders = {cell.label: cell.loader for cell in cells}
    labels = sorted(loaders, key=lambda label: (label != baseline, loaders[label] != baseline, _natural(label)))
    places = _places(loaders.values(), loaders.get(baseline, baseline))
    options: Counter[str] = Counter()
    made: dict[str, Look] = {}
    for label in labels:
        loader, option = loaders[label], options[loaders[label]]
        made[label] = _look(places[loader], option) if len(places) > 1 else _look(option)
        options[loader] += 1
    return made


def _places(loaders: Iterable[str], baseline: str) -> dict[str, int]:
    """A place for each loader: its own, or the next free one where a loader before it has that."""
    places: dict[str, int] = {}
    for loader in sorted(set(loaders), key=lambda loader: (loader != baseline, loader not in KNOWN, loader)):
        own = len(KNOWN) + zlib.crc32(loader.encode(errors="surrogatepass")) % (len(COLOURS) - len(KNOWN))
        own = 0 if loader == baseline else KNOWN.index(loader) if loader in KNOWN else own
        free = range(max(own, len(KNOWN)), len(COLOURS))
        candidates = itertools.chain([own], free, itertools.count(len(KNOWN)))
        places[loader] = next(place for place in candidates if place not in places.values())
    return places


def _look(place: int, option: int = 0) -> Look:
    again, colour = divmod(place, len(COLOURS))
    marker, dashes = MARKERS[(place + option) % len(MARKERS)], DASHES[(again + option) % len(DASHES)]
    return Look(COLOURS[colour], marker, dashes, hollow=(colour >= len(MARKERS)) != (option > 0))


def _natural(label: str) -> list[tuple[int, str]]:
    """For an order in which ``n=2`` comes before ``n=10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", label)]
