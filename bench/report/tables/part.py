"""Part of a group that makes one table of each kind: one network, one wished state of the cache."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from bench.records import Record
from bench.render.language import Joined, Text, joined
from bench.report.groups import Cell, Group, Round
from bench.report.metrics import METRICS, Of
from bench.report.values import Raw, computing_s, waiting_s
from bench.stats.comparison import Comparison, Ratio, compare_all, paired_log_ratio, paired_ratio

SHOWN = 8
"""Hex digits of a sha256 by which samples are told apart."""


class Key(NamedTuple):
    """Of a part within its group."""

    command: str
    model: str | None
    cache: str | None


@dataclasses.dataclass(frozen=True)
class Part:
    """Cells that stand in one table, and how they compare with the baseline.

    Attributes:
        baseline: label of the loader to compare with, with or without its options.
        digests: who gave which samples, in the whole group.
    """

    group: Group
    key: Key
    cells: list[Cell]
    baseline: str
    digests: Digests

    def done(self, cell: Cell) -> list[Record]:
        """The cell's runs that ended well."""
        return self.group.done(cell)

    def by_round(self, cell: Cell, metric: str) -> dict[Round, float]:
        """A metric of each run of a cell."""
        return self.group.by_round(cell, METRICS[metric].of)

    @functools.cached_property
    def comparisons(self) -> dict[Cell, Comparison]:
        """The data stall of each cell against its baseline's."""
        return self.judged({cell: self.group.by_round(cell, _known(waiting_s)) for cell in self.cells})

    def judged(self, waits: Mapping[Cell, Mapping[Round, float]]) -> dict[Cell, Comparison]:
        """What each cell's runs wait for against its baseline's, judged together, by their logarithms.

        A stall that is not above 0, as noise makes one on CUDA, has none: then epochs that all computed equally long
        are compared in their place.
        """
        ratios: dict[Cell, Ratio] = {}
        for cell, base in self._against().items():
            sides = waits.get(cell, {}), waits.get(base, {})
            if min((seconds for side in sides for seconds in side.values()), default=1.0) <= 0:
                sides = self.pooled[cell], self.pooled[base]
            ratios[cell] = paired_log_ratio(*sides)
        return compare_all(ratios)

    @functools.cached_property
    def epochs(self) -> dict[Cell, Ratio]:
        """The epoch of each cell over its baseline's, if both computed as long as all loaders did on average."""
        return {c: paired_log_ratio(self.pooled[c], self.pooled[base]) for c, base in self._against().items()}

    def _against(self) -> dict[Cell, Cell]:
        """The baseline of each cell that has another one."""
        bases = {cell: self.baseline_of(cell) for cell in self.cells}
        return {cell: base for cell, base in bases.items() if base is not None and base != cell}

    @functools.cached_property
    def pooled(self) -> dict[Cell, dict[Round, float]]:
        """Seconds of each run's data stall with the mean computing of its round, over all cells of the same task.

        A run that took less than nothing by that, as odd records may have it, has none.
        """
        pooled: dict[Cell, dict[Round, float]] = {}
        for cell in self.cells:
            mean, stalls = self._pools[cell.task], self.group.by_round(cell, _known(waiting_s))
            pooled[cell] = {n: stall + mean[n] for n, stall in stalls.items() if n in mean and stall + mean[n] > 0}
        return pooled

    @functools.cached_property
    def _pools(self) -> dict[Cell, dict[Round, float]]:
        """Mean seconds of computing by task and round."""
        every: dict[Cell, dict[Round, list[float]]] = {}
        for cell in self.cells:
            rounds = every.setdefault(cell.task, {})
            for number, seconds in self.group.by_round(cell, _known(computing_s)).items():
                rounds.setdefault(number, []).append(seconds)
        return {task: {n: sum(own) / len(own) for n, own in rounds.items()} for task, rounds in every.items()}

    @functools.cached_property
    def computing(self) -> dict[Cell, Comparison]:
        """The computing of each cell against the mean over all cells of its task, judged together.

        Where nothing is found the loaders compute alike, as the comparisons of their epochs assume.
        """
        ratios = {}
        for cell in self.cells:
            own, pool = self.group.by_round(cell, _known(computing_s)), self._pools[cell.task]
            if sum(other.task == cell.task for other in self.cells) > 1:
                ratios[cell] = paired_ratio(
                    *({n: v for n, v in side.items() if v > 0 and n in own} for side in (own, pool))
                )
        return compare_all(ratios)

    def compared(self, metric: str) -> dict[Cell, Comparison]:
        """A time of each cell against its baseline, or its baseline's rate against the cell's, judged together.

        In both cases a ratio above 1 is slower. Only values above 0 count.
        """
        is_rate, ratios = METRICS[metric].column.better == "higher", {}
        for cell, base in self._against().items():
            sides = (self.by_round(side, metric) for side in (cell, base))
            ours, theirs = ({n: value for n, value in side.items() if value > 0} for side in sides)
            ratios[cell] = paired_ratio(theirs, ours) if is_rate else paired_ratio(ours, theirs)
        return compare_all(ratios)

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The baseline's cell, of the same images and settings, best without options; None if there is none."""
        same = [c for c in self.cells if self.baseline in (c.loader, c.label) and c.task == cell.task]
        exact = [c for c in same if c.label == self.baseline]
        return exact[0] if exact else same[0] if len(same) == 1 else None


def parts(group: Group, baseline: str) -> list[Part]:
    """All parts of a group, in the order of its cells."""
    cells: dict[Key, list[Cell]] = {}
    for cell in group.cells:
        cells.setdefault(Key(cell.command, cell.model, cell.cache), []).append(cell)
    given = digests(group)
    return [Part(group, key, own, baseline, given) for key, own in cells.items()]


def _known(of: Raw) -> Of:
    """None for what cannot be known."""

    def known(record: Record) -> float | None:
        value = of(record)
        return None if math.isnan(value) else value

    return known


class Digests(NamedTuple):
    """Cells that gave the same samples as all others, and those that did not, with the beginnings of their sha256.

    None of the latter is right because more agree with it. A cell that has nothing to be compared with is in neither.
    """

    agree: frozenset[Cell]
    differ: Mapping[Cell, Sequence[str]]

    def listed(self, cells: Iterable[Cell], name: Callable[[Cell], Text]) -> Text:
        """Which of these cells gave what, ``1a2b3c4d: mmap, hdf5; 5e6f7a8b: memory``; "" where none differs."""
        names: dict[str, list[Text]] = {}
        for cell in cells:
            for digest in self.differ.get(cell, ()):
                names.setdefault(digest, []).append(name(cell))
        return joined((Joined((digest, joined(own, ", ")), ": ") for digest, own in names.items()), "; ")


def digests(group: Group) -> Digests:
    """Compare the samples that all cells of a dataset gave for the same seed."""
    given = pd.DataFrame(
        [
            (cell, (cell.dataset, record.config.seed), record.digest.combined[:SHOWN])
            for cell in group.cells
            for record in group.done(cell)
            if record.digest is not None
        ],
        columns=["cell", "samples", "digest"],
    )
    agree: set[Cell] = set()
    differ: dict[Cell, dict[str, None]] = {}
    for _, same in given.groupby("samples", sort=False):
        if same["digest"].nunique() > 1:
            for cell, digest in zip(same["cell"], same["digest"], strict=True):
                differ.setdefault(cell, {})[digest] = None
        elif same["cell"].nunique() > 1:
            agree.update(same["cell"])
    return Digests(frozenset(agree - differ.keys()), {cell: list(own) for cell, own in differ.items()})
