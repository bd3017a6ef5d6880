"""Which loader to take, in two sentences: as far as the comparisons with the baseline show it, and no further."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from bench.render.language import Joined, Number, Text, joined, message
from bench.render.table import Value
from bench.report.figures.breakeven import break_even, preparation
from bench.report.figures.scene import setting_name
from bench.report.groups import Cell, varying
from bench.report.metrics import METRICS
from bench.report.tables.assemble import short
from bench.report.tables.flags import is_unverified
from bench.report.tables.part import Digests, Part
from bench.stats.comparison import Comparison, compare_all, paired_ratio
from bench.stats.intervals import MIN_RUNS, Interval

NOBODY = message("None can be named")


@dataclasses.dataclass(frozen=True)
class Advice:
    """A recommendation for one dataset with one model, cache state and the like.

    Attributes:
        about: dataset, model, cache state, and the settings that vary beside them.
        pick: the loader to take, or that there is none.
        sentences: two.
        basis: how many rounds and comparisons it rests on, and what could not be compared.
        is_decided: whether a loader is named because something was found faster or slower than the baseline.
        runs: ids of all runs behind it.
    """

    about: Text
    pick: Text
    sentences: Sequence[Text]
    basis: Text
    is_decided: bool
    runs: Sequence[str]


def advise(part: Part, digests: Digests) -> list[Advice]:
    """One recommendation for each dataset of a part, and for each other setting that varies in it.

    Each loader is compared with the baseline, all of the part Holm-corrected together, as in the main table. Of those
    found faster the one with the shortest mean is named; they are not compared with one another.

    Args:
        part: runs of one network and cache state.
        digests: who gave which samples.
    """
    metric, comparisons = _comparisons(part)
    alike: dict[Cell, list[Cell]] = {}
    for cell in part.cells:
        alike.setdefault(cell._replace(loader="", options=""), []).append(cell)
    names = varying(alike)
    made = []
    for key, cells in alike.items():
        case = _Case(part, cells, metric, comparisons)
        pick, *sentences = case.sentences(digests.listed(case.means, lambda cell: cell.label))
        settings = [joined((setting_name(name), key.setting(name))) for name in names]
        about = joined((key.dataset, short(part), *settings), ", ")
        is_decided = pick != NOBODY and any(c.verdict in ("faster", "slower") for c in case.tested.values())
        runs = [record.run_id for record in case.done]
        made.append(Advice(about, pick, sentences, case.basis(), is_decided, runs))
    return made


def _comparisons(part: Part) -> tuple[str, Mapping[Cell, Comparison]]:
    """The main table's, of the epoch; with a cold cache the opening counts too, where a format may read everything."""
    runs = [record for cell in part.cells for record in part.done(cell)]
    if part.key.cache != "cold" or any(METRICS["total_s"].of(record) is None for record in runs):
        return "epoch_s", part.comparisons
    times = {cell: {n: s for n, s in part.by_round(cell, "total_s").items() if s > 0} for cell in part.cells}
    pairs = {cell: base for cell in part.cells if (base := part.baseline_of(cell)) is not None and base != cell}
    return "total_s", compare_all({cell: paired_ratio(times[cell], times[base]) for cell, base in pairs.items()})


class _Case:
    """The cells that one recommendation is about.

    Attributes:
        means: of those that gave results, the smallest first.
        done: all their runs.
        compared: with the baseline.
        tested: those of them that had enough runs for it.
    """

    def __init__(self, part: Part, cells: Sequence[Cell], metric: str, comparisons: Mapping[Cell, Comparison]) -> None:
        means = {cell: over[0] for cell in cells if (over := METRICS[metric].over(part.done(cell)))}
        self.part, self.cells, self.metric, self.base = part, cells, metric, part.baseline_of(cells[0])
        self.means = dict(sorted(means.items(), key=lambda item: item[1].mean))
        self.done = [record for cell in self.means for record in part.done(cell)]
        self.compared = {cell: comparisons[cell] for cell in self.means if cell in comparisons}
        self.tested = {cell: comparison for cell, comparison in self.compared.items() if comparison.p is not None}
        self.rounds = max((comparison.ratio.n for comparison in self.compared.values()), default=0)

    def sentences(self, samples: str) -> tuple[Text, Text, Text]:
        """The loader to take, and two sentences; ``samples`` tells which loader gave which, where they differ."""
        if not self.means:
            return NOBODY, message("No loader gave a result."), message("The table says why for each of them.")
        if samples:
            why = message(
                "No loader is recommended: they did not train on the same samples, so that their times do not compare."
            )
            return NOBODY, why, message("Samples by their sha256: {samples}.", samples=samples)
        fastest = next(iter(self.means))
        if self.base is None or not self.tested:
            why = message(
                "No loader is recommended: that takes {needed} rounds or more with the baseline {name}, and there were "
                "{rounds} at most.",
                needed=MIN_RUNS,
                name=self.part.baseline,
                rounds=self.rounds,
            )
            cost = self._cost(fastest)
            told = message(
                "By its mean {best} was the fastest, since {cost}; that may be chance.", best=fastest.label, cost=cost
            )
            return NOBODY, why, told
        faster = [cell for cell, comparison in self.tested.items() if comparison.verdict == "faster"]
        return self._faster(faster, self.base) if faster else self._baseline(self.base)

    def _faster(self, faster: Sequence[Cell], base: Cell) -> tuple[Text, Text, Text]:
        """The fastest by its mean of those found faster than the baseline, and from how many epochs on it pays."""
        best = faster[0]
        first = message(
            "On this machine: {best}, since {cost}, the shortest mean of those found faster than {baseline}: {faster}.",
            best=best.label,
            cost=self._cost(best),
            baseline=base.label,
            faster=_labels(faster),
        )
        prepare = preparation(self.part.done(best))
        epochs = None if prepare is None else break_even(prepare, self.means[base].mean - self.means[best].mean)
        if prepare is None or epochs is None:
            return best.label, first, message("From how many epochs on converting pays is not known.")
        pays = message(
            "Converting the images for {best} takes {time} and has paid after {epochs} epochs.",
            best=best.label,
            time=_seconds(Interval(prepare, None, None, 1)),
            epochs=Number(epochs, ",.1f"),
        )
        return best.label, first, pays

    def _baseline(self, base: Cell) -> tuple[Text, Text, Text]:
        """No loader was found faster; how small a difference would most likely have been found."""
        detectable = [c.detectable for c in self.tested.values() if c.verdict != "slower" and c.detectable is not None]
        limit: Text = ""
        if detectable and math.isfinite(max(detectable)):
            limit = message(
                ", where a difference of {percent}% would most likely have been found",
                percent=Number(100 * max(detectable), ",.1f"),
            )
        first = message(
            "On this machine: {best}, since {cost}, and no loader was found faster{limit}.",
            best=base.label,
            cost=self._cost(base),
            limit=limit,
        )
        return base.label, first, message("Nothing shows that converting the images would pay.")

    def _cost(self, cell: Cell) -> Text:
        """Seconds with their interval, and the ratio to the baseline where there is one."""
        time = _seconds(self.means[cell])
        cost = message("an epoch of {loader} takes {time}", loader=cell.label, time=time)
        if self.metric == "total_s":
            cost = message(
                "a cold epoch of {loader}, with the opening before it, takes {time}", loader=cell.label, time=time
            )
        ratio = self.compared[cell].ratio if cell in self.compared else None
        if self.base is None or ratio is None or ratio.ratio is None or ratio.low is None or ratio.high is None:
            return cost
        times = message(
            "{ratio} times {baseline}'s (95% interval {low} to {high})",
            ratio=Number(ratio.ratio, ",.3f"),
            baseline=self.base.label,
            low=Number(ratio.low, ",.3f"),
            high=Number(ratio.high, ",.3f") if math.isfinite(ratio.high) else "∞",
        )
        return joined((cost, times), ", ")

    def basis(self) -> Text:
        """Rounds and comparisons, and what stands against them."""
        parts: list[Text] = []
        if self.base is not None and self.tested:
            basis = message(
                "{rounds} rounds; {count} loaders compared with {baseline} and not with one another, Holm-corrected.",
                rounds=self.rounds,
                count=len(self.tested),
                baseline=self.base.label,
            )
            parts.append(basis)
            if untested := [cell for cell in self.means if cell not in self.tested and cell != self.base]:
                parts.append(message("Too few runs to compare: {list}.", list=_labels(untested)))
        if lost := [cell for cell in self.cells if cell not in self.means]:
            parts.append(message("No result: {list}.", list=_labels(lost)))
        if count := sum(map(is_unverified, self.done)):
            total = len(self.done)
            unverified = message(
                "In {count} of {total} runs nothing shows the state of the cache.", count=count, total=total
            )
            parts.append(unverified)
        return joined(parts)


def _labels(cells: Iterable[Cell]) -> str:
    return ", ".join(cell.label for cell in cells)


def _seconds(interval: Interval) -> Text:
    """A mean to three significant digits, with its interval to as many decimals."""
    digits = f",.{next((places for limit, places in ((100, 0), (10, 1), (1, 2)) if interval.mean >= limit), 3)}f"
    half = Value(interval.mean, interval.low, interval.high).half_width
    spread: tuple[Text, ...] = ()
    if half is not None:
        spread = (" ± ", Number(half, digits))
    elif interval.low is not None and interval.high is not None:
        limits = message("{low} to {high}", low=Number(interval.low, digits), high=Number(interval.high, digits))
        spread = (" [", limits, "]")
    return Joined((Number(interval.mean, digits), *spread, "\N{NO-BREAK SPACE}s"), "")
