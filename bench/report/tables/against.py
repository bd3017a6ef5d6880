"""Two folders of records against each other: what became slower or faster beyond the noise."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.environments import apart
from bench.records import Record
from bench.render.language import Joined, Number, Text, joined, message
from bench.render.table import Column, Row, Table, Value
from bench.report.groups import Cell, Group, commits, varying
from bench.report.metrics import METRICS, columns
from bench.report.tables import assemble, cells
from bench.report.tables.flags import flags
from bench.report.tables.part import parts
from bench.report.tables.rates import TITLES, data_path
from bench.stats.comparison import FAMILY_ALPHA, Comparison, Ratio, compare_all, unpaired_ratio

UNEQUAL = 2.0
"""Welch's test alarms too often where one set has more than so many times the other's runs."""


class Side(NamedTuple):
    """A folder's name and its records, which count as of one environment."""

    name: str
    group: Group


class _Kind(NamedTuple):
    """What is compared: the runs of a command by a metric, each cell cut to the part that the metric depends on."""

    name: str
    title: Text
    command: str
    metric: Column

    def kept(self, cell: Cell) -> Cell:
        return cell if self.metric is _EPOCH else data_path(cell)


class _Work(NamedTuple):
    """What both sides did: the cell that names it, and the runs that ended well and have the metric."""

    cell: Cell
    runs: tuple[list[Record], list[Record]]


_EPOCH, _RATE = columns("epoch_s", "loader_rate")
_KINDS = (
    _Kind("epochs", message("Epoch time"), "run", _EPOCH),
    _Kind("rates", TITLES["rate"], "rate", _RATE),
    _Kind("rates-runs", TITLES["run"], "run", _RATE),
)
_JUDGED = (
    Column("ratio", message("time, B/A"), spread="limits", better="lower",
           definition=message("ratio of the two means, not paired, with its 95% interval by Fieller's method")),
    dataclasses.replace(
        assemble.P, definition=message("of Welch's t test of the two means, Holm-corrected over this table")),
    assemble.DETECTABLE,
    dataclasses.replace(assemble.VERDICT, definition=message(
        "what B is, where the corrected p is at most {alpha}", alpha=Number(FAMILY_ALPHA, "g"))),
    Column("samples", message("samples"), kind="text",
           definition=message("whether both sides trained on the same bytes in the same order, by their sha256")),
    assemble.FLAGS,
)  # fmt: skip


def against(a: Side, b: Side) -> list[Table]:
    """A table of epoch times, one of the rates of `bench rate`, and one of the rates within training runs.

    Runs are held against each other if they did the same work: the same images, loader, options, model, cache state
    and settings. How many threads "one per core" means is the machine's affair, and no difference of work. Each table
    is one family of comparisons, and has a row at least.
    """
    tables = (_table(kind, a, b) for kind in _KINDS)
    return [table for table in tables if table is not None]


def _works(kind: _Kind, sides: Sequence[Side]) -> list[_Work]:
    """All work that a run with the metric did, on either side."""
    works: dict[Hashable, _Work] = {}
    for place, side in enumerate(sides):
        for cell in side.group.cells:
            kept = kind.kept(cell).without(assemble.UNSEEN | {"threads"})._replace(dataset="")
            for record in side.group.done(cell) if cell.command == kind.command else ():
                if METRICS[kind.metric.key].of(record) is not None:
                    images = None if record.dataset is None else record.dataset.model_dump_json()
                    key = kept, record.config.threads, images
                    works.setdefault(key, _Work(kind.kept(cell), ([], []))).runs[place].append(record)
    return list(works.values())


def _table(kind: _Kind, a: Side, b: Side) -> Table | None:
    every = _works(kind, (a, b))
    works = [work for work in every if all(work.runs)]
    if not works:
        return None
    judged = compare_all({place: _ratio(kind, work) for place, work in enumerate(works)})
    is_epoch = kind.metric is _EPOCH
    told = [_flags(side) if is_epoch else {} for side in (a, b)]
    lead = assemble.first_columns(varying(work.cell for work in works), with_model=is_epoch)
    names = {"a": a.name, "b": b.name}
    caption = message("A is {a}, B is {b}; means over runs with 95% intervals. A ratio above 1: B is slower.", **names)
    return Table(
        key=f"compare-{kind.name}",
        kind="compare",
        title=Joined((kind.title, message("{b} against {a}", **names)), ": "),
        caption=caption,
        label=f"tab:compare-{kind.name}",
        columns=[*lead, *_sides(kind.metric), *_JUDGED],
        rows=[_row(kind, work, judged[place], lead, told) for place, work in enumerate(works)],
        notes=[*_about_runs(a, b, every), *_differences(a, b)],
        environment=joined(dict.fromkeys(side.group.title for side in (a, b)), " / "),
    )


def _sides(metric: Column) -> Iterator[Column]:
    for side in "AB":
        yield Column(f"runs_{side.lower()}", Joined((message("runs"), side)), format=".0f")
    for side in "AB":
        definition = metric.definition if side == "A" else ""
        key, heading = f"{metric.key}_{side.lower()}", Joined((metric.heading, side))
        yield dataclasses.replace(metric, key=key, heading=heading, definition=definition)


def _row(
    kind: _Kind, work: _Work, comparison: Comparison, lead: Sequence[Column], told: Sequence[Mapping[str, Text]]
) -> Row:
    runs = cells.ids(record for side in work.runs for record in side)
    values = assemble.first_cells(work.cell, lead)
    for name, side in zip("ab", work.runs, strict=True):
        values[f"runs_{name}"] = cells.counted(side)
        values[f"{kind.metric.key}_{name}"] = cells.over_runs(side, METRICS[kind.metric.key])
    values |= {
        "ratio": cells.from_ratio(comparison.ratio, runs),
        "p": Value(comparison.p, runs=runs),
        "detectable_pct": cells.detectable_pct(comparison, runs),
        "verdict": Value(text=assemble.VERDICTS[comparison.verdict], runs=runs),
        "samples": _samples(work),
        "flags": Value(text=joined(_said(work, told), "; ")),
    }
    return Row(values, runs)


def _ratio(kind: _Kind, work: _Work) -> Ratio:
    """B's time over A's: of their seconds, or the other way round of their images/s."""
    of = METRICS[kind.metric.key].of
    a, b = ([value for record in runs if (value := of(record)) is not None and value > 0] for runs in work.runs)
    return unpaired_ratio(a, b) if kind.metric is _RATE else unpaired_ratio(b, a)


def _samples(work: _Work) -> Value:
    """Whether both sides were given the same, for the seeds that both had."""
    given = [{(r.config.seed, r.digest.combined) for r in runs if r.digest is not None} for runs in work.runs]
    seeds = {seed for seed, _ in given[0]} & {seed for seed, _ in given[1]}
    a, b = ({digest for seed, digest in side if seed in seeds} for side in given)
    if not seeds:
        return Value()
    return Value(
        text=assemble.AGREE if a == b else assemble.DIFFER,
        runs=cells.ids(record for runs in work.runs for record in runs if record.config.seed in seeds),
    )


def _flags(side: Side) -> dict[str, Text]:
    """What is to be said against the cell of each training run, by the run."""
    return {
        record.run_id: joined(flags(part, cell), "; ")
        for part in parts(side.group, "")
        if part.key.command == "run"
        for cell in part.cells
        for record in side.group.done(cell)
    }


def _said(work: _Work, told: Sequence[Mapping[str, Text]]) -> Iterator[Text]:
    """The flags of each side's runs."""
    for name, runs, known in zip("AB", work.runs, told, strict=True):
        if said := joined(dict.fromkeys(known.get(record.run_id, "") for record in runs), "; "):
            yield Joined((name, said), ": ")


def _about_runs(a: Side, b: Side, works: Sequence[_Work]) -> Iterator[Text]:
    """What one side did far more often, and what only one side did."""
    unequal = [w.cell.name for w in works if 0 < UNEQUAL * min(map(len, w.runs)) < max(map(len, w.runs))]
    if names := joined(dict.fromkeys(unequal), "; "):
        yield message(
            "far more runs on one side than on the other, so that the test alarms too often: {names}", names=names
        )
    for place, side in enumerate((a, b)):
        if names := joined(dict.fromkeys(work.cell.name for work in works if not work.runs[1 - place]), "; "):
            yield message("only in {side}, or not the same work: {names}", side=side.name, names=names)


def _differences(a: Side, b: Side) -> Iterator[Text]:
    """How the machines and the harness differ, and what is to be said of each side."""
    different = apart(a.group.environment, b.group.environment)
    ours, theirs = (", ".join(commits(itertools.chain(*side.group.cells.values()))) for side in (a, b))
    for name, left, right in [*different, *([("commit", ours, theirs)] if ours != theirs else [])]:
        yield message("{name}: {a} in A, {b} in B", name=name, a=str(left), b=str(right))
    for side in (a, b):
        yield from (Joined((side.name, note), ": ") for note in side.group.notes)
