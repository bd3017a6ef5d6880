"""Which loader to take, in two sentences: as far as the comparisons with the baseline show it, and no further."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.render.language import Number, Text, joined, message
from bench.render.table import Value
from bench.report.breakeven import epochs_until, preparation
from bench.report.groups import Cell, varying
from bench.report.metrics import METRICS
from bench.report.tables.assemble import setting_name, short
from bench.report.tables.flags import is_unverified
from bench.report.tables.part import Part
from bench.stats.comparison import Comparison, Ratio
from bench.stats.intervals import MIN_RUNS, Interval

NOBODY = message("None can be named")


class Advice(NamedTuple):
    """A recommendation for one dataset with one model, cache state and the like."""

    about: Text  # dataset, model, cache state, and the settings that vary beside them
    pick: Text
    sentences: tuple[Text, Text]
    basis: Text  # how many rounds and comparisons it rests on, and what could not be compared
    is_decided: bool  # whether a loader is named because something was found faster or slower than the baseline
    runs: Sequence[str]


def advise(part: Part) -> list[Advice]:
    """One recommendation for each dataset of a part, and for each other setting that varies in it.

    Each loader is compared with the baseline, all of the part Holm-corrected together, as in the main table. Of those
    found faster the one with the shortest mean is named; they are not compared with one another.
    """
    tasks = list(dict.fromkeys(cell.task for cell in part.cells))
    names, (metric, comparisons) = varying(tasks), _comparisons(part)
    made = []
    for task in tasks:
        settings = [joined((setting_name(name), task.setting(name))) for name in names]
        about = joined((task.dataset, short(part), *settings), ", ")
        made.append(_advice(part, [cell for cell in part.cells if cell.task == task], about, metric, comparisons))
    return made


def _comparisons(part: Part) -> tuple[str, Mapping[Cell, Comparison]]:
    """The main table's, of the epoch; with a cold cache the opening counts too, where a format may read everything."""
    runs = [record for cell in part.cells for record in part.done(cell)]
    if part.key.cache != "cold" or any(METRICS["total_s"].of(record) is None for record in runs):
        return "epoch_s", part.comparisons
    return "total_s", part.compared("total_s")


def _advice(
    part: Part, cells: Sequence[Cell], about: Text, metric: str, comparisons: Mapping[Cell, Comparison]
) -> Advice:
    means = {cell: over[0] for cell in cells if (over := METRICS[metric].over(part.done(cell)))}
    by_mean = sorted(means, key=lambda cell: means[cell].mean)
    compared = {cell: comparisons[cell] for cell in by_mean if cell in comparisons}
    tested = {cell: comparison for cell, comparison in compared.items() if comparison.p is not None}
    faster = [cell for cell, comparison in tested.items() if comparison.verdict == "faster"]
    base, rounds = part.baseline_of(cells[0]), max((c.ratio.n for c in compared.values()), default=0)
    name = part.baseline if base is None else base.label
    pick: Text = NOBODY
    sentences: tuple[Text, Text]
    if not means:
        sentences = message("No loader gave a result."), message("The table says why for each of them.")
    elif samples := part.digests.listed(cells, lambda cell: cell.label):
        differ = message("No loader is recommended: they trained on different samples, so their times do not compare.")
        sentences = differ, message("Samples by their sha256: {samples}.", samples=samples)
    elif base is None or not tested:
        few = message(
            "No loader is recommended: that takes {needed} rounds with {baseline}, and there were {rounds} at most.",
            needed=MIN_RUNS,
            baseline=name,
            rounds=rounds,
        )
        cost = _cost(by_mean[0], metric, means)
        sentences = few, message("The shortest mean, which may be chance: {cost}.", cost=cost)
    elif faster:
        best, pick = faster[0], faster[0].label
        shortest = message(
            "On this machine: {best}, since {cost}, {ratio}, the shortest mean of those found faster: {faster}.",
            best=pick,
            cost=_cost(best, metric, means),
            faster=_labels(faster),
            ratio=_ratio(tested[best].ratio, name),
        )
        sentences = shortest, _pays(preparation(part.done(best)), means[base].mean - means[best].mean)
    else:
        pick = name
        none = message(
            "On this machine: {best}, since {cost}, and no loader was found faster{limit}.",
            best=pick,
            cost=_cost(base, metric, means),
            limit=_limit(tested.values()),
        )
        sentences = none, message("Nothing shows that converting the images would pay.")
    is_decided = pick != NOBODY and any(c.verdict in ("faster", "slower") for c in tested.values())
    done = [record for cell in cells if cell in means for record in part.done(cell)]
    holm = message(
        "{rounds} rounds; {count} loaders compared with {baseline} and not with one another, Holm-corrected.",
        rounds=rounds,
        count=len(tested),
        baseline=name,
    )
    untested = _labels(cell for cell in by_mean if cell not in tested and cell != base) if tested else ""
    lost = _labels(cell for cell in cells if cell not in means)
    count, total = sum(map(is_unverified, done)), len(done)
    unshown = message("In {count} of {total} runs nothing shows the state of the cache.", count=count, total=total)
    basis = [
        holm if tested else "",
        message("Too few runs to compare: {list}.", list=untested) if untested else "",
        message("No result: {list}.", list=lost) if lost else "",
        unshown if count else "",
    ]
    return Advice(about, pick, sentences, joined(basis), is_decided, [record.run_id for record in done])


def _cost(cell: Cell, metric: str, means: Mapping[Cell, Interval]) -> Text:
    """Seconds to three significant digits, with their interval."""
    mean, digits = means[cell], _digits(means[cell].mean)
    half = Value(mean.mean, mean.low, mean.high).half_width
    spread: Text = ""
    if half is not None:
        spread = joined((" ± ", Number(half, digits)), "")
    elif mean.low is not None and mean.high is not None:
        limits = message("{low} to {high}", low=Number(mean.low, digits), high=Number(mean.high, digits))
        spread = joined((" [", limits, "]"), "")
    time = joined((Number(mean.mean, digits), spread, "\N{NO-BREAK SPACE}s"), "")
    if metric == "epoch_s":
        return message("an epoch of {loader} takes {time}", loader=cell.label, time=time)
    return message("a cold epoch of {loader}, with the opening before it, takes {time}", loader=cell.label, time=time)


def _ratio(ratio: Ratio, baseline: str) -> Text:
    sides = {"ratio": ratio.ratio, "low": ratio.low, "high": ratio.high}
    shown = {k: Number(v, ",.3f") if v is not None and math.isfinite(v) else "∞" for k, v in sides.items()}
    return message("{ratio} times {baseline}'s (95% interval {low} to {high})", baseline=baseline, **shown)


def _limit(comparisons: Iterable[Comparison]) -> Text:
    """The smallest difference that would most likely have been found in each of those where none was."""
    unseen = [c.detectable for c in comparisons if c.verdict != "slower" and c.detectable is not None]
    if not unseen or math.isinf(max(unseen)):
        return ""
    percent = Number(100 * max(unseen), ",.1f")
    return message(", where a difference of {percent}% would most likely have been found", percent=percent)


def _pays(prepare: Interval | None, saved_s: float) -> Text:
    """After how many epochs converting the images has paid."""
    epochs = None if prepare is None else epochs_until(prepare.mean, saved_s)
    if prepare is None or epochs is None:
        return message("From how many epochs on converting pays is not known.")
    time = joined((Number(prepare.mean, _digits(prepare.mean)), "s"), "\N{NO-BREAK SPACE}")
    paid = Number(epochs, ",.1f")
    return message("Converting the images takes {time} and has paid after {epochs} epochs.", time=time, epochs=paid)


def _labels(cells: Iterable[Cell]) -> str:
    return ", ".join(cell.label for cell in cells)


def _digits(seconds: float) -> str:
    """Python's format of three significant digits."""
    return next((format_ for limit, format_ in ((100, ",.0f"), (10, ",.1f"), (1, ",.2f")) if seconds >= limit), ",.3f")
