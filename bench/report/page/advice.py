"""Which loader to take, in two sentences: as far as the records show it, and no further."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from bench.render.language import Number, Text, joined, message
from bench.render.table import Value
from bench.report.breakeven import epochs_until, preparation
from bench.report.groups import NO_MODEL, Cell, Round, varying
from bench.report.page.advised import NOBODY, Advice, digits, labels
from bench.report.page.fed import fed
from bench.report.tables.assemble import setting_name, short
from bench.report.tables.flags import is_unverified
from bench.report.tables.part import Part
from bench.stats.comparison import Comparison, Ratio
from bench.stats.intervals import MIN_RUNS, Interval, positive_interval


def advise(part: Part) -> list[Advice]:
    """One recommendation for each dataset of a part, and for each other setting that varies in it.

    Each loader's data stall is compared with the baseline's, all of the part Holm-corrected together, as in the main
    table; with a cold cache the opening counts, too, where a format may read everything. Of those found faster the one
    with the least stall is named; they are not compared with one another.
    """
    tasks = list(dict.fromkeys(cell.task for cell in part.cells))
    names = varying(tasks)
    if part.key.model != NO_MODEL:
        waits, comparisons = _waits(part)
    made = []
    for task in tasks:
        settings = [joined((setting_name(name), task.setting(name))) for name in names]
        about = joined((task.dataset, short(part), *settings), ", ")
        own = [cell for cell in part.cells if cell.task == task]
        made.append(
            fed(part, own, about) if part.key.model == NO_MODEL else _advice(part, own, about, waits, comparisons)
        )
    return made


Waits = Mapping[Cell, Mapping[Round, float]]


def _waits(part: Part) -> tuple[Waits, Mapping[Cell, Comparison]]:
    """Seconds that each run waited for data an epoch, and how they compare."""
    waits = {cell: part.by_round(cell, "stall_s") for cell in part.cells}
    if part.key.cache != "cold":
        return waits, part.comparisons
    opening = {cell: _sums(part.by_round(cell, "open_s"), part.by_round(cell, "first_batch_s")) for cell in part.cells}
    if any(part.done(cell) and not opening[cell] for cell in part.cells):
        return waits, part.comparisons  # older records
    every = {cell: _sums(waits[cell], opening[cell]) for cell in part.cells}
    return every, part.judged(every)


def _sums(left: Mapping[Round, float], right: Mapping[Round, float]) -> dict[Round, float]:
    return {number: left[number] + right[number] for number in left.keys() & right.keys()}


def _advice(
    part: Part, cells: Sequence[Cell], about: Text, waits: Waits, comparisons: Mapping[Cell, Comparison]
) -> Advice:
    means = {cell: positive_interval(list(waits[cell].values())) for cell in cells if waits[cell]}
    cold = part.key.cache == "cold"
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
        cost = _cost(by_mean[0], means, cold=cold)
        sentences = few, message("The least, which may be chance: {cost}.", cost=cost)
    elif faster:
        best, pick = faster[0], faster[0].label
        shortest = message(
            "On this machine: {best}, since {cost}, the least of those found faster ({faster}); {ratio}.",
            best=pick,
            cost=_cost(best, means, cold=cold),
            faster=labels(faster),
            ratio=_ratio(part.epochs[best], name),
        )
        sentences = shortest, _pays(preparation(part.done(best)), means[base].mean - means[best].mean)
    else:
        pick = name
        none = message(
            "On this machine: {best}, since {cost}, and no loader was found faster{limit}.",
            best=pick,
            cost=_cost(base, means, cold=cold),
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
    untested = labels(cell for cell in by_mean if cell not in tested and cell != base) if tested else ""
    lost = labels(cell for cell in cells if cell not in means)
    count, total = sum(map(is_unverified, done)), len(done)
    unshown = message("In {count} of {total} runs nothing shows the state of the cache.", count=count, total=total)
    basis = [
        holm if tested else "",
        message("Too few runs to compare: {list}.", list=untested) if untested else "",
        message("No result: {list}.", list=lost) if lost else "",
        unshown if count else "",
    ]
    return Advice(about, pick, sentences, joined(basis), is_decided, [record.run_id for record in done])


def _cost(cell: Cell, means: Mapping[Cell, Interval], *, cold: bool) -> Text:
    """Seconds to three significant digits, with their interval."""
    mean, shown = means[cell], digits(means[cell].mean)
    half = Value(mean.mean, mean.low, mean.high).half_width
    spread: Text = ""
    if half is not None:
        spread = joined((" ± ", Number(half, shown)), "")
    elif mean.low is not None and mean.high is not None:
        limits = message("{low} to {high}", low=Number(mean.low, shown), high=Number(mean.high, shown))
        spread = joined((" [", limits, "]"), "")
    time = joined((Number(mean.mean, shown), spread, "\N{NO-BREAK SPACE}s"), "")
    if not cold:
        return message("an epoch of {loader} waits {time} for data", loader=cell.label, time=time)
    return message(
        "a cold epoch of {loader}, with the opening before it, waits {time} for data", loader=cell.label, time=time
    )


def _ratio(ratio: Ratio, baseline: str) -> Text:
    sides = {"ratio": ratio.ratio, "low": ratio.low, "high": ratio.high}
    shown = {k: Number(v, ",.3f") if v is not None and math.isfinite(v) else "∞" for k, v in sides.items()}
    return message("its epoch is {ratio} times {baseline}'s ({low} to {high})", baseline=baseline, **shown)


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
    time = joined((Number(prepare.mean, digits(prepare.mean)), "s"), "\N{NO-BREAK SPACE}")
    paid = Number(epochs, ",.1f")
    return message("Converting the images takes {time} and has paid after {epochs} epochs.", time=time, epochs=paid)
