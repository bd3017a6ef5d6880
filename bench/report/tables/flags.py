"""What is wrong with the runs of a cell, so that a reader trusts its numbers only as far as they deserve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench.records import Record
from bench.render.language import Message, Number, Text, message
from bench.report.groups import Cell
from bench.report.metrics import METRICS, Of
from bench.report.tables.assemble import because, reasons
from bench.report.tables.part import Part
from bench.report.values import part as part_of
from bench.stats.intervals import MIN_RUNS, SPREAD_LIMIT, relative_spread

UNVERIFIED, FLAGGED = "†", "‡"


def is_unverified(record: Record) -> bool:
    """Whether nothing shows that the page cache was in the state that was wished."""
    return record.config.command == "run" and (record.cache is None or record.cache.state == "unverified")


def reasons_unverified(done: Sequence[Record]) -> list[str]:
    """Why the state is not shown, each reason once; one is "" for a run that tells none."""
    caches = (record.cache for record in done if is_unverified(record))
    return sorted({"" if cache is None else cache.reason or "" for cache in caches})


def unverified(done: Sequence[Record]) -> Text:
    """How many runs, and why; "" if there are none."""
    count = sum(map(is_unverified, done))
    if not count:
        return ""
    told = message("cache not verified in {count} of {total} runs", count=count, total=len(done))
    return because(told, "; ".join(filter(None, reasons_unverified(done))))


def flags(part: Part, cell: Cell, metric: str = "epoch_s") -> Iterator[Text]:
    """Everything to be said against a cell, each in a few words; ``metric`` is the one whose spread counts."""
    done, every = part.done(cell), part.group.cells[cell]
    total, values = len(done), list(part.by_round(cell, metric).values())
    if done and len(values) < MIN_RUNS:
        yield message("fewer than {limit} runs", limit=MIN_RUNS)
    spread = relative_spread(values) if values else None
    if spread is not None and spread >= SPREAD_LIMIT:
        yield message("spread of {spread}%", spread=Number(100 * spread, ".1f"))
    if failed := [record for record in every if record.status == "failed"]:
        told = message("{count} of {total} runs failed", count=len(failed), total=len(every))
        yield because(told, reasons(failed))
    if told_unverified := unverified(done):
        yield told_unverified
    if cell in part.digests.differ:
        yield because(message("samples differ between loaders"), ", ".join(part.digests.differ[cell]))
    for text, of, limit in _LIMITS:
        above = [value for record in done if (value := of(record)) is not None and value > limit]
        if above:
            worst = Number(max(above), ".1f")
            yield Message(text.text, {"worst": worst, "count": len(above), "total": total})
    silent = [trouble for record in done if (trouble := part_of(record, "resources.gpu.trouble"))]
    if silent:
        told = message("NVML told nothing, or nothing more, in {count} of {total} runs", count=len(silent), total=total)
        yield because(told, "; ".join(sorted({str(trouble) for trouble in silent})))
    throttled = [why for record in done if (why := part_of(record, "resources.gpu.throttled"))]
    if throttled := [why for why in throttled if isinstance(why, dict)]:
        told = message("throttled in {count} of {total} runs", count=len(throttled), total=total)
        yield because(told, ", ".join(sorted({str(reason) for why in throttled for reason in why})))
    losses = ([epoch.train_loss for epoch in record.epochs] for record in done)
    if diverged := sum(any(loss is not None and not math.isfinite(loss) for loss in own) for own in losses):
        yield message("loss not finite in {count} of {total} runs", count=diverged, total=total)


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


_LIMITS: tuple[tuple[Message, Of, float], ...] = (
    (message("up to {worst}% of an epoch in no part, in {count} of {total} runs"), METRICS["gap_pct"].of, 1.0),
    (message("timing took up to {worst}% of an epoch, in {count} of {total} runs"), METRICS["stopwatch_pct"].of, 1.0),
    (message("ceiling above the epoch by up to {worst}%, in {count} of {total} runs"), _ceiling_above_epoch, 5.0),
    (message("others used up to {worst}% of the cores, in {count} of {total} runs"), _worst_share("others_cpu_s"), 5.0),
    (
        message("the hypervisor kept up to {worst}% of the cores, in {count} of {total} runs"),
        _worst_share("stolen_cpu_s"),
        5.0,
    ),
)
"""What is said of runs above a limit, of what value, and the limit in percent of the epoch or its core-seconds."""
