"""Which accelerators each loader feeds: its feed rate, and the busy share of emulated ones of several speeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from bench.config import RunConfig
from bench.records import FeedSlice, Record
from bench.render.language import Joined, Number, Text, joined, message
from bench.render.table import Column, Table, Value
from bench.report.groups import Cell
from bench.report.metrics import METRICS, columns
from bench.report.tables import assemble, cells
from bench.report.tables.flags import UNVERIFIED, unverified
from bench.report.tables.main import SAMPLES, samples_notes, samples_of, unverified_notes
from bench.report.tables.part import Part
from bench.stats.comparison import FAMILY_ALPHA
from bench.stats.intervals import positive_interval

RATIO = Column("ratio", message("ratio"), spread="limits", better="higher", definition=message(
    "fed at most over the baseline's, paired by round; the interval belongs to the verdict"))  # fmt: skip
VERDICT = dataclasses.replace(assemble.VERDICT, definition=message(
    "of the paired t test of what is fed at most, Holm-corrected over all of this state of the cache at {alpha}",
    alpha=Number(FAMILY_ALPHA, "g")))  # fmt: skip
_BUSY = message("images computed with over what the accelerator could have, in slices of an epoch without their start")


def feed(part: Part) -> Iterator[Table | None]:
    """Every cell of a part on emulated accelerators, those without a run included, with the reason.

    Datasets whose curves are of other speeds stand in tables of their own.
    """
    alike: dict[tuple[float, ...], list[Cell]] = {}
    for dataset in dict.fromkeys(cell.dataset for cell in part.cells):
        own = [cell for cell in part.cells if cell.dataset == dataset]
        alike.setdefault(tuple(speeds_of(record for cell in own for record in part.done(cell))), []).extend(own)
    for number, (speeds, same) in enumerate(alike.items(), 1):
        title: Text = message("Feed rate")
        if len(alike) > 1:
            title = joined((title, *dict.fromkeys(cell.dataset for cell in same)), ", ")
        yield _table(part, title, same, speeds, number)


def _table(part: Part, title: Text, own_cells: Sequence[Cell], speeds: Sequence[float], number: int) -> Table | None:
    caption = message(
        "The fastest accelerator that each loader keeps busy, and the busy share of others, means over runs with 95% "
        "intervals. Nothing is computed: an emulated accelerator takes its time for each batch."
    )
    curve = [busy_column(speed) for speed in speeds]
    compared = part.compared("free_rate")

    def own(cell: Cell) -> dict[str, Value]:
        done = part.done(cell)
        shares = {column.key: busy(done, speed) for column, speed in zip(curve, speeds, strict=True)}
        mark = UNVERIFIED * bool(unverified(done))
        return {
            "runs": cells.counted(done),
            "feed_rate": dataclasses.replace(cells.over_runs(done, METRICS["feed_rate"]), mark=mark),
            **shares,
            "prepare_s": cells.prepared(done),
            **_judged(part, cell),
            "digest": samples_of(part, cell),
            "remark": Value(text=assemble.reasons(part.group.cells[cell])),
        }

    def _judged(part: Part, cell: Cell) -> dict[str, Value]:
        if part.baseline_of(cell) == cell:
            return {"verdict": Value(text=assemble.BASELINE)}
        comparison = compared.get(cell)
        if comparison is None or not part.done(cell):
            return {}
        base = part.baseline_of(cell)
        runs = cells.ids([*part.done(cell), *(part.done(base) if base is not None else ())])
        inverse = comparison.ratio  # of seconds an image
        limits = (None if not limit else 1 / limit for limit in (inverse.ratio, inverse.high, inverse.low))
        mean, low, high = map(cells.finite, limits)
        return {
            "ratio": Value(mean, low, high, runs=runs),
            "verdict": Value(text=assemble.VERDICTS[comparison.verdict], runs=runs),
        }

    shown = (assemble.RUNS, *columns("feed_rate", "free_rate"), RATIO, VERDICT, *columns("au_pct"), *curve,
             *columns("stall_s", "prepare_s", "store_bytes"), SAMPLES, assemble.REMARK)  # fmt: skip
    notes = list(_notes(dataclasses.replace(part, cells=list(own_cells))))
    return assemble.part_table(part, "feed", title, caption, shown, own, notes, own_cells, number)


def _curve(record: Record) -> list[FeedSlice]:
    return [] if record.feed is None else record.feed.curve


def speeds_of(records: Iterable[Record]) -> list[float]:
    """The speeds of the runs' curves."""
    return sorted({each.images_per_s for record in records for each in _curve(record)})


def busy_column(speed: float) -> Column:
    """The column of the busy share at a speed."""
    name = message("busy at {speed}", speed=Number(speed, ",.0f"))
    return Column(f"busy_{speed:.0f}", name, "%", _BUSY, format=".1f", better="higher")


def busy(done: Iterable[Record], speed: float) -> Value:
    """The busy share of an accelerator of that speed, over the runs that have a slice with it."""
    shares = {
        record.run_id: 100 * each.images / each.wall_s / speed
        for record in done
        for each in _curve(record)
        if each.images_per_s == speed
    }
    if not shares:
        return Value()
    return cells.from_interval(positive_interval(list(shares.values())), tuple(shares))


def _notes(part: Part) -> Iterator[Text]:
    yield from unverified_notes(part)
    marks: dict[float, list[Text]] = {}
    for cell in part.cells:
        for record in part.done(cell):
            if isinstance(record.config, RunConfig) and METRICS["feed_rate"].of(record) is not None:
                marks.setdefault(record.config.busy, []).append(cell.name)
    for share, names in marks.items():
        told: Text = message("feed rate: busy for {share}%", share=Number(100 * share, "g"))
        yield told if len(marks) == 1 else Joined((told, joined(list(dict.fromkeys(names)), "; ")), ": ")
    yield from samples_notes(part)
    yield from part.group.remarks
