"""Which loader to take: decided by the comparisons alone, so that no winner is named that the runs do not show."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from bench.render.language import Text
from bench.report.breakeven import epochs_until, preparation
from bench.report.groups import Cell
from bench.report.metrics import METRICS, Metric
from bench.report.tables.cells import difference
from bench.report.tables.part import Digests, Part
from bench.stats.comparison import Comparison, compare_all, paired_ratio
from bench.stats.intervals import Interval, mean_interval

Outcome: TypeAlias = Literal["winner", "several", "baseline", "too few runs", "samples differ", "alone", "nothing"]
Pair: TypeAlias = tuple[Cell, Cell]
Compared: TypeAlias = dict[Pair, Comparison]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A loader that gave results.

    Attributes:
        cell: its runs' settings.
        cost: seconds by round; all above 0.
        prepare_s: mean time to write its store; None where no record tells.
        runs: ids of the runs behind.
    """

    cell: Cell
    cost: Mapping[int, float]
    prepare_s: float | None
    runs: tuple[str, ...]

    @property
    def interval(self) -> Interval:
        """Mean cost with its 95% interval."""
        return mean_interval(list(self.cost.values())).above_zero


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What follows from the runs on one dataset with one model, cache state and the like.

    Attributes:
        cell: any of the cells; loader and options do not count.
        metric: what was compared: the epoch, or with a cold cache the epoch with the opening before it.
        outcome: "winner": every other loader compared was found slower than ``best[0]``. "several": more than one is
            left; each of ``best`` was found faster than the baseline, if there is one. "baseline": no loader was found
            faster than it. "too few runs": nothing can be claimed. "samples differ": the times do not
            compare. "alone": one loader only. "nothing": none.
        best: the loaders to take, that whose conversion pays first at the head; all by their means where none is named.
        equal: loaders beside them that no loader was found faster than.
        slower: loaders that another one was found faster than.
        untested: loaders with too few runs to be compared, where others were.
        baseline: what conversion is compared with; None where it gave no result.
        ratio: of ``best[0]`` to the baseline; None where there is none, or it is the best itself.
        detectable: the largest of the smallest relative differences that the comparisons between ``best`` and ``equal``
            would most likely have shown; None where they were not compared.
        break_even: epochs from which on converting to ``best[0]`` has paid; None where it does not.
        pairs: how many pairs of these loaders had enough runs to be compared.
        rounds: the most that any compared pair shares; with a baseline, that the baseline and another share.
        lost: loaders without a result.
        samples: which loaders gave which samples, where those differ; "" where they do not.
    """

    cell: Cell
    metric: Metric
    outcome: Outcome
    best: Sequence[Candidate] = ()
    equal: Sequence[Candidate] = ()
    slower: Sequence[Candidate] = ()
    untested: Sequence[Candidate] = ()
    baseline: Candidate | None = None
    ratio: Comparison | None = None
    detectable: float | None = None
    break_even: int | None = None
    pairs: int = 0
    rounds: int = 0
    lost: Sequence[Cell] = ()
    samples: Text = ""

    @property
    def candidates(self) -> list[Candidate]:
        """All that gave results."""
        return [*self.best, *self.equal, *self.slower, *self.untested]

    @property
    def runs(self) -> list[str]:
        """Ids of all runs behind."""
        return [run for candidate in self.candidates for run in candidate.runs]


def recommend(part: Part, given: Digests) -> list[Recommendation]:
    """One recommendation for each dataset of a part, and for each other setting that varies in it.

    All comparisons of the part are two families, Holm-corrected each: every loader against the baseline, as in the main
    table, and all pairs of the other loaders of each dataset. Each raises any false alarm with probability
    `FAMILY_ALPHA` at most. No loader is named before one was found faster than the baseline, so that where none
    differs, one is named no more often than that.

    Args:
        part: runs of one network and cache state.
        given: who gave which samples.
    """
    metric = _metric(part)
    strata: dict[Cell, list[Candidate]] = {_stratum(cell): [] for cell in part.cells}
    for cell in part.cells:
        if candidate := _candidate(part, cell, metric):
            strata[_stratum(cell)].append(candidate)
    bases = {key: _baseline(part, found) for key, found in strata.items()}
    samples = {key: given.listed((c.cell for c in found), lambda cell: cell.label) for key, found in strata.items()}
    against: list[tuple[Candidate, Candidate]] = []
    among: list[tuple[Candidate, Candidate]] = []
    for key, found in strata.items():
        base = bases[key]
        others = [] if samples[key] else [candidate for candidate in found if candidate is not base]
        against += [] if base is None else [(other, base) for other in others]
        among += itertools.combinations(others, 2)
    compared = {**_compare(against), **_compare(among)}
    made = []
    for key, found in strata.items():
        results = {candidate.cell for candidate in found}
        mine = {pair: comparison for pair, comparison in compared.items() if results.issuperset(pair)}
        ordered = sorted(found, key=lambda c: c.interval.mean)
        decided = _decide(key, metric, ordered, bases[key], mine)
        if samples[key]:
            decided = Recommendation(key, metric, "samples differ", best=ordered, samples=samples[key])
        lost = [cell for cell in part.cells if _stratum(cell) == key and cell not in results]
        made.append(dataclasses.replace(decided, lost=lost))
    return made


def _stratum(cell: Cell) -> Cell:
    """What cells that may be compared have in common."""
    return cell._replace(loader="", options="")


def _metric(part: Part) -> Metric:
    """A format that reads everything when it is opened pays there: so a cold epoch counts with its opening."""
    total = METRICS["total_s"]
    told = all(total.of(record) is not None for cell in part.cells for record in part.done(cell))
    return total if part.key.cache == "cold" and told else METRICS["epoch_s"]


def _candidate(part: Part, cell: Cell, metric: Metric) -> Candidate | None:
    cost = {number: seconds for number, seconds in part.by_round(cell, metric.key).items() if seconds > 0}
    used = [record for number, record in part.group.runs[cell].items() if number in cost]
    prepare = preparation(used)
    return (
        Candidate(cell, cost, None if prepare is None else prepare.mean, tuple(record.run_id for record in used))
        if cost
        else None
    )


def _baseline(part: Part, found: Sequence[Candidate]) -> Candidate | None:
    return next((candidate for candidate in found if candidate.cell == part.baseline_of(candidate.cell)), None)


def _compare(pairs: Iterable[tuple[Candidate, Candidate]]) -> Compared:
    """One family; a ratio is that of the first to the second."""
    return compare_all({(ours.cell, other.cell): paired_ratio(ours.cost, other.cost) for ours, other in pairs})


def _decide(
    cell: Cell, metric: Metric, found: Sequence[Candidate], base: Candidate | None, compared: Compared
) -> Recommendation:
    """From the comparisons between ``found``, which are ordered by their means."""
    outcome: Outcome = "too few runs" if len(found) > 1 else "alone" if found else "nothing"
    shared = [c.ratio.n for pair, c in compared.items() if base is None or base.cell in pair]
    pairs, rounds = sum(c.p is not None for c in compared.values()), max(shared, default=0)
    made = Recommendation(cell, metric, outcome, best=found, baseline=base, pairs=pairs, rounds=rounds)
    tested = {cell for pair, comparison in compared.items() if comparison.p is not None for cell in pair}
    if not tested or (base is not None and base.cell not in tested):
        return made
    above = _faster_ones(compared, tested)
    left = [c for c in found if c.cell in tested and not above[c.cell]]
    best = [c for c in left if c is base] or [c for c in left if base is None or c.cell in above[base.cell]]
    best.sort(key=lambda c: break_even(c, base) or math.inf)  # stable: by mean where none pays
    return dataclasses.replace(
        made,
        outcome="baseline" if best[0] is base else "winner" if len(left) == 1 else "several",
        best=best,
        equal=[c for c in left if c not in best],
        slower=[c for c in found if c.cell in tested and c not in left],
        untested=[c for c in found if c.cell not in tested],
        ratio=compared.get((best[0].cell, base.cell)) if base else None,
        detectable=_largest_detectable(compared, {c.cell for c in left}),
        break_even=break_even(best[0], base),
    )


def _faster_ones(compared: Compared, cells: Iterable[Cell]) -> dict[Cell, set[Cell]]:
    """Those found faster than each cell, or faster than one that was: faster than faster is faster."""
    above: dict[Cell, set[Cell]] = {cell: set() for cell in cells}
    for (ours, other), comparison in compared.items():
        if comparison.verdict == "faster":
            above[other].add(ours)
        elif comparison.verdict == "slower":
            above[ours].add(other)
    for middle in above:  # Warshall's closure
        for faster in above.values():
            if middle in faster:
                faster |= above[middle]
    return above


def _largest_detectable(compared: Compared, cells: set[Cell]) -> float | None:
    """Between cells of which none was found faster: what would most likely not have been missed."""
    found = [c.detectable for pair, c in compared.items() if cells.issuperset(pair) and c.detectable is not None]
    return max(found, default=None)


def break_even(candidate: Candidate, baseline: Candidate | None) -> int | None:
    """Whole epochs after which the time to write a store has been earned back against the baseline; None where never.

    What the baseline's own store costs does not count: it is taken for the form that the images have anyway.
    """
    if baseline is None or candidate is baseline or candidate.prepare_s is None:
        return None
    saved = difference(baseline.cost, candidate.cost)
    epochs = epochs_until(candidate.prepare_s, None if saved is None else saved.mean)
    return None if epochs is None else max(1, math.ceil(epochs))
