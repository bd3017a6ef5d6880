"""Part of a group that makes one table of each kind: one network, one wished state of the cache."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.records import Record
from bench.render.table import Language
from bench.report.groups import Cell, Group, Round
from bench.report.metrics import METRICS
from bench.stats.comparison import Comparison, Ratio, compare_all, paired_ratio

SHOWN = 8
"""Hex digits of a sha256 by which samples are told apart."""


class Key(NamedTuple):
    """What tells the parts of a group apart."""

    command: str
    model: str | None
    cache: str | None


@dataclasses.dataclass(frozen=True)
class Part:
    """Cells that stand in one table, and how they compare with the baseline.

    Attributes:
        baseline: label of the loader to compare with, with or without its options.
        language: of the tables.
    """

    group: Group
    key: Key
    cells: list[Cell]
    baseline: str
    language: Language

    def done(self, cell: Cell) -> list[Record]:
        """The cell's runs that ended well."""
        return self.group.done(cell)

    def by_round(self, cell: Cell, metric: str) -> dict[Round, float]:
        """A metric of each run of a cell."""
        return self.group.by_round(cell, METRICS[metric].of)

    @functools.cached_property
    def comparisons(self) -> dict[Cell, Comparison]:
        """The epoch time of each cell against its baseline, judged together; without the baselines themselves."""
        ratios: dict[Cell, Ratio] = {}
        for cell in self.cells:
            base = self.baseline_of(cell)
            if base is not None and base != cell:
                ratios[cell] = _ratio(self.by_round(cell, "epoch_s"), self.by_round(base, "epoch_s"))
        return compare_all(ratios)

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The baseline's cell, of the same images and settings; None if there is none."""
        return self._baselines.get(_apart_from_loader(cell))

    @functools.cached_property
    def _baselines(self) -> dict[Cell, Cell]:
        """By what a cell is apart from its loader. A loader without options goes before the same with options."""
        found: dict[Cell, list[Cell]] = {}
        for cell in self.cells:
            if self.baseline in (cell.loader, cell.label):
                found.setdefault(_apart_from_loader(cell), []).append(cell)
        exact = {key: [c for c in cells if c.label == self.baseline] for key, cells in found.items()}
        return {key: (exact[key] or cells)[0] for key, cells in found.items() if exact[key] or len(cells) == 1}


def parts(group: Group, baseline: str, language: Language) -> list[Part]:
    """All parts of a group, in the order of its cells."""
    found: dict[Key, list[Cell]] = {}
    for cell in group.cells:
        found.setdefault(Key(cell.command, cell.model, cell.cache), []).append(cell)
    return [Part(group, key, cells, baseline, language) for key, cells in found.items()]


class Digests(NamedTuple):
    """Who gave which samples.

    Attributes:
        agree: cells that gave the same samples as all others.
        differ: cells of which not all gave the same, each with the beginnings of the sha256 of its own. None of them is
            right because more agree with it.
    """

    agree: frozenset[Cell]
    differ: Mapping[Cell, Sequence[str]]

    def listed(self, cells: Iterable[Cell], name: Callable[[Cell], str]) -> str:
        """Which of these cells gave what, ``1a2b3c4d: mmap, hdf5; 5e6f7a8b: memory``; "" where none differs."""
        names: dict[str, list[str]] = {}
        for cell in cells:
            for digest in self.differ.get(cell, ()):
                names.setdefault(digest, []).append(name(cell))
        return "; ".join(f"{digest}: {', '.join(found)}" for digest, found in names.items())


def digests(group: Group) -> Digests:
    """Compare the samples that all cells of a dataset gave for the same seed.

    A cell that has nothing to be compared with is in neither set.
    """
    given: dict[tuple[str, int], dict[Cell, dict[str, None]]] = {}
    for cell in group.cells:
        for record in group.done(cell):
            if record.digest is not None:
                cells = given.setdefault((cell.dataset, record.config.seed), {})
                cells.setdefault(cell, {})[record.digest.combined[:SHOWN]] = None
    agree: set[Cell] = set()
    differ: dict[Cell, dict[str, None]] = {}
    for cells in given.values():
        if len({digest for found in cells.values() for digest in found}) > 1:
            for cell, found in cells.items():
                differ.setdefault(cell, {}).update(found)
        elif len(cells) > 1:
            agree |= cells.keys()
    return Digests(frozenset(agree - differ.keys()), {cell: list(found) for cell, found in differ.items()})


def _apart_from_loader(cell: Cell) -> Cell:
    return cell._replace(loader="", options="")


def _ratio(ours: Mapping[Round, float], baseline: Mapping[Round, float]) -> Ratio:
    """Of the rounds that both have and whose times are positive, as every true time is."""
    return paired_ratio(_positive(ours), _positive(baseline))


def _positive(times: Mapping[Round, float]) -> dict[Round, float]:
    return {number: time for number, time in times.items() if time > 0}
