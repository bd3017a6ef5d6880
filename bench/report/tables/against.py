"""Two folders of records against each other: what became slower or faster beyond the noise."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.records import Record
from bench.render.language import number, say
from bench.render.table import Column, Language, Row, Table, Value
from bench.report.environments import apart
from bench.report.groups import Cell, Group
from bench.report.metrics import METRICS
from bench.report.tables.assemble import MODELS, Shown, column, first_cells, first_columns, name_of
from bench.report.tables.cells import finite, from_ratio, over_runs, text
from bench.report.tables.flags import flags
from bench.report.tables.part import digests, parts
from bench.report.tables.rates import data_path
from bench.stats.comparison import FAMILY_ALPHA, Comparison, Ratio, compare_all, unpaired_ratio

UNEQUAL = 2.0
"""Welch's test alarms too often where one set has more than so many times the other's runs."""
_UNSEEN = frozenset({"ceiling_steps", "rate_batches"})
"""Settings that change no epoch."""
_EPOCH, _RATE = Shown("epoch_s", ",.3f", spread="half"), Shown("loader_rate", ",.0f", spread="half")


class Side(NamedTuple):
    """A folder's name and its records, which count as of one environment."""

    name: str
    group: Group


class _Work(NamedTuple):
    """What both sides did: the cell that names it, and the runs that ended well and have the metric."""

    cell: Cell
    runs: tuple[list[Record], list[Record]]


_Pool = dict[Hashable, tuple[Cell, list[Record]]]


def against(a: Side, b: Side, language: Language) -> list[Table]:
    """A table of epoch times, one of the rates of `bench rate`, and one of the rates within training runs.

    Runs are held against each other if they did the same work: the same images, loader, options, model, cache state
    and settings. How many threads "one per core" means is the machine's affair, and no difference of work. Each table
    is one family of comparisons.

    Returns:
        Only tables that have a row: what both sides did.
    """
    kinds = (
        ("epochs", "run", _whole, _EPOCH),
        ("rates", "rate", data_path, _RATE),
        ("rates-runs", "run", data_path, _RATE),
    )
    made = []
    for kind, command, kept, shown in kinds:
        pools = [_pools(side, command, kept, shown.key) for side in (a, b)]
        made.append(_table(a, b, kind, shown, pools, language))
    return [table for table in made if table is not None]


def _whole(cell: Cell) -> Cell:
    return cell


def _pools(side: Side, command: str, kept: Callable[[Cell], Cell], metric: str) -> _Pool:
    """The side's runs of a command that have the metric, by the work they did."""
    pools: _Pool = {}
    for cell in side.group.cells:
        if cell.command == command:
            for record in side.group.done(cell):
                if METRICS[metric].of(record) is not None:
                    pools.setdefault(_work(kept(cell), record), (kept(cell), []))[1].append(record)
    return pools


def _work(cell: Cell, record: Record) -> Hashable:
    settings = [(name, value) for name, value in cell.settings if name != "threads" and name not in _UNSEEN]
    images = None if record.dataset is None else record.dataset.model_dump_json()
    return cell._replace(dataset="", settings=()), tuple(settings), record.config.threads, images


def _table(a: Side, b: Side, kind: str, shown: Shown, pools: Sequence[_Pool], language: Language) -> Table | None:
    works = [_Work(cell, (runs, pools[1][key][1])) for key, (cell, runs) in pools[0].items() if key in pools[1]]
    if not works:
        return None
    judged = compare_all({n: _ratio(work, shown) for n, work in enumerate(works)})
    told = [_flags(side, language) if shown is _EPOCH else {} for side in (a, b)]
    columns = [*_lead(works, shown, language), *_columns(shown, language)]
    rows = [_row(work, judged[n], shown, columns, told, language) for n, work in enumerate(works)]
    names = {"a": a.name, "b": b.name}
    title = say("{b} against {a}", language, **names)
    machines = dict.fromkeys(side.group.title for side in (a, b))
    return Table(
        key=f"compare-{kind}",
        kind="compare",
        title=f"{_title(kind, language)}: {title}",
        caption=say("A is {a}, B is {b}; means over runs with 95% intervals. A ratio above 1: B is slower.",
                    language, **names),
        label=f"tab:compare-{kind}",
        columns=columns,
        rows=rows,
        notes=[*_unequal(works, language), *_alone(a, b, pools, language), *_differences(a, b, language)],
        environment=" / ".join(machines),
        language=language,
    )  # fmt: skip


def _title(kind: str, language: Language) -> str:
    if kind == "epochs":
        return say("Epoch time", language)
    return say("Loader rate", language) if kind == "rates" else say("Loader rate within training runs", language)


def _lead(works: Sequence[_Work], shown: Shown, language: Language) -> list[Column]:
    named = [("model", say("model", language)), ("cache", say("cache", language))] if shown is _EPOCH else []
    return [
        *(Column(key, heading, kind="text") for key, heading in named),
        *first_columns([work.cell for work in works], language),
    ]


def _columns(shown: Shown, language: Language) -> Iterator[Column]:
    metric = column(shown, language)
    for side in "AB":
        runs = say("runs", language)
        yield Column(f"runs_{side.lower()}", f"{runs} {side}", definition="", format=".0f")
    for side in "AB":
        yield Column(
            f"{shown.key}_{side.lower()}",
            f"{metric.heading} {side}",
            metric.unit,
            metric.definition if side == "A" else "",
            format=shown.format,
            spread=shown.spread,
            better=metric.better,
        )
    yield Column(
        "ratio",
        say("time, B/A", language),
        definition=say("ratio of the two means, not paired, with its 95% interval by Fieller's method", language),
        spread="limits",
        better="lower",
    )
    yield Column("p", "p", "", say("of Welch's t test of the two means, Holm-corrected over this table", language),
                 format=".4f")  # fmt: skip
    yield Column(
        "detectable_pct",
        say("detectable", language),
        "%",
        say(
            "smallest slowdown that the comparison finds with a probability of 95%, given the spread observed", language
        ),
        format=".1f",
    )
    alpha = number(FAMILY_ALPHA, "g", language)
    told = say("what B is, where the corrected p is at most {alpha}", language, alpha=alpha)
    yield Column("verdict", say("verdict", language), kind="text", definition=told)
    yield Column(
        "samples",
        say("samples", language),
        kind="text",
        definition=say("whether both sides trained on the same bytes in the same order, by their sha256", language),
    )
    yield Column("flags", say("flags", language), kind="text")


def _row(
    work: _Work,
    comparison: Comparison,
    shown: Shown,
    columns: Sequence[Column],
    told: Sequence[Mapping[str, str]],
    language: Language,
) -> Row:
    cell, ids = work.cell, [record.run_id for runs in work.runs for record in runs]
    keys = {c.key for c in columns}
    settings = {name for name, _ in cell.settings} | {"dataset", "loader", "batch_size", "workers"}
    values = first_cells(cell, [c for c in columns if c.key in settings])
    if "model" in keys:
        values["model"] = text(MODELS.get(str(cell.model), str(cell.model)))
        values["cache"] = text(say(str(cell.cache), language))
    for side, runs in zip("ab", work.runs, strict=True):
        values[f"runs_{side}"] = Value(float(len(runs)), runs=tuple(record.run_id for record in runs))
        values[f"{shown.key}_{side}"] = over_runs(runs, METRICS[shown.key])
    detectable = finite(comparison.detectable)
    values |= {
        "ratio": from_ratio(comparison.ratio, ids),
        "p": Value(comparison.p, runs=tuple(ids)),
        "detectable_pct": Value(None if detectable is None else 100 * detectable, runs=tuple(ids)),
        "verdict": text(say(comparison.verdict, language), ids),
        "samples": _samples(work, language),
    }
    said = [_flags_of(runs, known) for runs, known in zip(work.runs, told, strict=True)]
    values["flags"] = text("; ".join(f"{name}: {flag}" for name, flag in zip("AB", said, strict=True) if flag))
    return Row(values, tuple(ids))


def _ratio(work: _Work, shown: Shown) -> Ratio:
    """B's time over A's: of their seconds, or the other way round of their images/s."""
    found = [[METRICS[shown.key].of(record) for record in runs] for runs in work.runs]
    a, b = ([value for value in values if value is not None and value > 0] for values in found)
    return unpaired_ratio(a, b) if shown is _RATE else unpaired_ratio(b, a)


def _samples(work: _Work, language: Language) -> Value:
    given = [{(r.config.seed, r.digest.combined) for r in runs if r.digest is not None} for runs in work.runs]
    seeds = {seed for seed, _ in given[0]} & {seed for seed, _ in given[1]}
    both = [{digest for seed, digest in side if seed in seeds} for side in given]
    if not seeds:
        return Value()
    runs = [record.run_id for runs in work.runs for record in runs if record.config.seed in seeds]
    return text(say("agree" if both[0] == both[1] else "differ", language), runs)


def _flags(side: Side, language: Language) -> dict[str, str]:
    """What is to be said against the cell of each training run, by the run."""
    given = digests(side.group)
    return {
        record.run_id: "; ".join(flags(part, cell, "epoch_s", given))
        for part in parts(side.group, "", language)
        if part.key.command == "run"
        for cell in part.cells
        for record in side.group.done(cell)
    }


def _flags_of(runs: Iterable[Record], known: Mapping[str, str]) -> str:
    return "; ".join(dict.fromkeys(flag for record in runs if (flag := known.get(record.run_id))))


def _unequal(works: Iterable[_Work], language: Language) -> list[str]:
    names = [name_of(w.cell) for w in works if max(map(len, w.runs)) > UNEQUAL * min(map(len, w.runs))]
    if not names:
        return []
    listed = "; ".join(dict.fromkeys(names))
    return [say("far more runs on one side than on the other, so that the test alarms too often: {names}", language,
                names=listed)]  # fmt: skip


def _alone(a: Side, b: Side, pools: Sequence[_Pool], language: Language) -> Iterator[str]:
    """What only one side did."""
    for side, mine, others in ((a, pools[0], pools[1]), (b, pools[1], pools[0])):
        names = [name_of(cell) for key, (cell, _) in mine.items() if key not in others]
        if names:
            listed = "; ".join(dict.fromkeys(names))
            yield say("only in {side}, or not the same work: {names}", language, side=side.name, names=listed)


def _differences(a: Side, b: Side, language: Language) -> Iterator[str]:
    """How the machines and the harness differ, and what is to be said of each side."""
    for name, ours, theirs in apart(a.group.environment, b.group.environment):
        yield say("{name}: {a} in A, {b} in B", language, name=name, a=ours, b=theirs)
    commits = [", ".join(_commits(side.group)) for side in (a, b)]
    if commits[0] != commits[1]:
        yield say("{name}: {a} in A, {b} in B", language, name="commit", a=commits[0], b=commits[1])
    for side in (a, b):
        notes = [*([] if side.group.mixed is None else [side.group.mixed]), *side.group.remarks]
        yield from (f"{side.name}: {say(words, language, **values)}" for words, values in notes)


def _commits(group: Group) -> dict[str, None]:
    states = (record.environment.get("git") for records in group.cells.values() for record in records)
    return dict.fromkeys(str(git.get("commit"))[:10] for git in states if isinstance(git, dict))
