"""Which loader to take for an emulated accelerator: the cheapest to prepare of those that keep it busy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.config import RunConfig
from bench.render.language import Number, Text, joined, message
from bench.report.breakeven import preparation
from bench.report.groups import Cell
from bench.report.metrics import METRICS
from bench.report.page.advised import NOBODY, Advice, digits, labels
from bench.report.tables.part import Part


def fed(part: Part, cells: Sequence[Cell], about: Text) -> Advice:
    """What feeds an accelerator: of the loaders that keep it busy, the one that is prepared soonest.

    A loader keeps it busy if its feed rate, with the whole of its interval, is at least the accelerator's speed.
    """
    rates = {cell: over[0] for cell in cells if (over := METRICS["feed_rate"].over(part.done(cell)))}
    done = [record for cell in cells for record in part.done(cell)]
    lost = labels(cell for cell in cells if cell not in rates)
    basis = message("No result: {list}.", list=lost) if lost else ""
    runs = [record.run_id for record in done]
    config = done[0].config if done else None
    if not rates or not isinstance(config, RunConfig) or config.accelerator is None:
        nothing = message("No loader gave a result."), message("The table says why for each of them.")
        return Advice(about, NOBODY, nothing, basis, is_decided=False, runs=runs)
    if samples := part.digests.listed(cells, lambda cell: cell.label):
        differ = message("No loader is recommended: they gave different samples, so their rates do not compare.")
        told = message("Samples by their sha256: {samples}.", samples=samples)
        return Advice(about, NOBODY, (differ, told), basis, is_decided=False, runs=runs)
    needed, share = config.accelerator.images_per_s, Number(100 * config.busy, "g")
    enough = [cell for cell, rate in rates.items() if (rate.mean if rate.low is None else rate.low) >= needed]
    costs = {cell: preparation(part.done(cell)) for cell in rates}
    by_cost = sorted(enough, key=lambda cell: math.inf if (cost := costs[cell]) is None else cost.mean)
    best = by_cost[0] if by_cost else max(rates, key=lambda cell: rates[cell].mean)
    given: dict[str, Text] = {
        "best": best.label,
        "rate": Number(rates[best].mean, ",.0f"),
        "needed": Number(needed, ",.0f"),
    }
    cost = costs[best]
    time = "?" if cost is None else joined((Number(cost.mean, digits(cost.mean)), "s"), "\N{NO-BREAK SPACE}")
    if not enough:
        none = message("No loader keeps this accelerator of {needed} images/s busy for {share}%.", share=share, **given)
        most = message(
            "{best} feeds the fastest one, of {rate} images/s; preparing it takes {time}.", time=time, **given
        )
        return Advice(about, best.label, (none, most), basis, is_decided=True, runs=runs)
    first = message(
        "On this machine: {best}, the soonest prepared ({time}) of those that keep this accelerator of {needed} "
        "images/s busy for {share}%: {names}.",
        time=time, share=share, names=labels(by_cost), **given,
    )  # fmt: skip
    slow = labels(cell for cell in rates if cell not in enough)
    second = message("It would feed one of {rate} images/s.", **given)
    if slow:
        second = message("It would feed one of {rate} images/s; too slow: {slow}.", slow=slow, **given)
    return Advice(about, best.label, (first, second), basis, is_decided=True, runs=runs)
