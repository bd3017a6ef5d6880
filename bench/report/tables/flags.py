"""What is wrong with the runs of a cell, so that a reader trusts its numbers only as far as they deserve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from bench.records import Record
from bench.render.language import number, say
from bench.render.table import Language
from bench.report.groups import Cell
from bench.report.metrics import METRICS
from bench.report.tables.assemble import reasons
from bench.report.tables.part import Digests, Part
from bench.report.values import Of
from bench.stats.intervals import MIN_RUNS, SPREAD_LIMIT, relative_spread

LOAD_LIMIT = 5.0
"""Percent of an epoch's core-seconds that others may use, or a hypervisor keep, before its run is flagged."""
CEILING_LIMIT = 5.0
"""Percent of an epoch by which its ceiling may be above it before its run is flagged."""
GAP_LIMIT = 1.0
"""Percent of an epoch's wall time that may lie in no part, or go into timing it, before its run is flagged."""
UNVERIFIED, FLAGGED = "†", "‡"


def flags(part: Part, cell: Cell, metric: str, digests: Digests) -> list[str]:
    """Everything to be said against a cell, each in a few words.

    Args:
        part: of the cell.
        cell: whose runs are judged.
        metric: the one whose spread counts.
        digests: of the group.
    """
    return [*_of_numbers(part, cell, metric), *_of_runs(part, cell, digests)]


def is_unverified(record: Record) -> bool:
    """Whether nothing shows that the page cache was in the state that was wished."""
    return record.config.command == "run" and (record.cache is None or record.cache.state == "unverified")


def reasons_unverified(done: Sequence[Record]) -> list[str]:
    """Why the state is not shown, each reason once; one is "" for a run that tells none."""
    found = (record.cache for record in done if is_unverified(record))
    return sorted({"" if cache is None else cache.reason or "" for cache in found})


def unverified(done: Sequence[Record], language: Language) -> str:
    """How many runs, and why; "" if there are none."""
    found = [record for record in done if is_unverified(record)]
    if not found:
        return ""
    why = [reason for reason in reasons_unverified(done) if reason]
    told = say("cache not verified in {count} of {total} runs", language, count=len(found), total=len(done))
    return f"{told} ({'; '.join(why)})" if why else told


def _of_numbers(part: Part, cell: Cell, metric: str) -> Iterator[str]:
    """Too few runs, or runs too far apart."""
    values = list(part.by_round(cell, metric).values())
    if part.done(cell) and len(values) < MIN_RUNS:
        yield say("fewer than {limit} runs", part.language, limit=MIN_RUNS)
    spread = relative_spread(values) if values else None
    if spread is not None and spread >= SPREAD_LIMIT:
        yield say("spread of {spread}%", part.language, spread=number(100 * spread, ".1f", part.language))


def _of_runs(part: Part, cell: Cell, digests: Digests) -> Iterator[str]:
    """What single runs are to be blamed for."""
    language, done, every = part.language, part.done(cell), part.group.cells[cell]
    if failed := [record for record in every if record.status == "failed"]:
        told = say("{count} of {total} runs failed", language, count=len(failed), total=len(every))
        yield f"{told} ({reasons(failed, language)})"
    if told := unverified(done, language):
        yield told
    if cell in digests.differ:
        yield f"{say('samples differ between loaders', language)} ({', '.join(digests.differ[cell])})"
    if seen := _above(done, METRICS["gap_pct"].of, GAP_LIMIT, language):
        yield say("up to {worst}% of an epoch in no part, in {count} of {total} runs", language, **seen)
    if seen := _above(done, METRICS["stopwatch_pct"].of, GAP_LIMIT, language):
        yield say("timing took up to {worst}% of an epoch, in {count} of {total} runs", language, **seen)
    if seen := _above(done, _ceiling_above_epoch, CEILING_LIMIT, language):
        yield say("ceiling above the epoch by up to {worst}%, in {count} of {total} runs", language, **seen)
    if seen := _above(done, _worst_share("others_cpu_s"), LOAD_LIMIT, language):
        yield say("others used up to {worst}% of the cores, in {count} of {total} runs", language, **seen)
    if seen := _above(done, _worst_share("stolen_cpu_s"), LOAD_LIMIT, language):
        yield say("the hypervisor kept up to {worst}% of the cores, in {count} of {total} runs", language, **seen)
    if silent := sorted({reason for record in done if (reason := _silence(record))}):
        count = sum(bool(_silence(record)) for record in done)
        told = say(
            "NVML told nothing, or nothing more, in {count} of {total} runs", language, count=count, total=len(done)
        )
        yield f"{told} ({'; '.join(silent)})"
    if throttled := [record for record in done if _throttling(record)]:
        why = ", ".join(sorted({reason for record in throttled for reason in _throttling(record)}))
        told = say("throttled in {count} of {total} runs", language, count=len(throttled), total=len(done))
        yield f"{told} ({why})"
    diverged = [r for r in done if any(not math.isfinite(epoch.train_loss) for epoch in r.epochs)]
    if diverged:
        yield say("loss not finite in {count} of {total} runs", language, count=len(diverged), total=len(done))


def _above(done: Sequence[Record], of: Of, limit: float, language: Language) -> dict[str, Any]:
    """The worst value and the number of runs above the limit; nothing if there are none."""
    values = [value for record in done if (value := of(record)) is not None and value > limit]
    if not values:
        return {}
    return {"worst": number(max(values), ".1f", language), "count": len(values), "total": len(done)}


def _ceiling_above_epoch(record: Record) -> float | None:
    """Percent by which what no loader can beat was beaten: something disturbed one of the two."""
    au = METRICS["au_pct"].of(record)
    return None if au is None else au - 100


def _worst_share(field: str) -> Of:
    """Percent of the core-seconds of the epoch that it took most of."""

    def of(record: Record) -> float | None:
        cores = record.environment.get("cores")
        if not isinstance(cores, int) or cores < 1:
            return None
        shares = [
            100 * seconds / (epoch.wall_s * cores)
            for epoch in record.epochs
            if (seconds := getattr(epoch, field)) is not None and epoch.wall_s > 0
        ]
        return max(shares, default=None)

    return of


def _silence(record: Record) -> str:
    """Why NVML told nothing of the device, or stopped; "" where it did tell."""
    seen = None if record.resources is None else record.resources.gpu
    return "" if seen is None else str(seen.get("trouble") or "")


def _throttling(record: Record) -> list[str]:
    """Why the device was slower than asked for, in at least one look."""
    seen = None if record.resources is None else record.resources.gpu
    throttled = None if seen is None else seen.get("throttled")
    return [str(reason) for reason in throttled] if isinstance(throttled, dict) else []
