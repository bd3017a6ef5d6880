"""The answer in one table: what each format feeds, and what it costs; from emulated accelerators and real training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence

from bench.environments import compared, describe
from bench.records import Record
from bench.render.language import Joined, Text, joined, message
from bench.render.table import Column, Row, Table, Value
from bench.report.groups import NO_MODEL, Cell, Group
from bench.report.metrics import METRICS, columns
from bench.report.tables import assemble, cells
from bench.report.tables.feed import busy, busy_column, speeds_of
from bench.report.tables.flags import UNVERIFIED, unverified
from bench.report.tables.main import SAMPLES

_FEED_COLD = dataclasses.replace(METRICS["feed_rate"].column, key="cold_feed_rate", heading=message("feed rate, cold"))
_WAITING = dataclasses.replace(METRICS["stall_pct"].column, heading=message("waiting in training"))


def summary(groups: Sequence[Group]) -> Iterator[Table]:
    """One table for each machine that has runs on emulated accelerators and real ones: a row a dataset and loader."""
    machines: dict[str, list[Group]] = {}
    for group in groups:
        machine = {name: value for name, value in compared(group.environment).items() if name not in ("device", "gpu")}
        machines.setdefault(json.dumps(machine, sort_keys=True, default=str), []).append(group)
    for own in machines.values():
        rows: dict[tuple[Text, str], list[tuple[Cell, list[Record]]]] = {}
        for group in own:
            for cell, records in group.cells.items():
                if cell.command == "run":
                    rows.setdefault((cell.dataset, cell.label), []).append((cell, records))
        models = {cell.model for members in rows.values() for cell, _ in members}
        if NO_MODEL in models and len(models) > 1:
            yield _table(own[0], rows)


def _table(group: Group, rows: dict[tuple[Text, str], list[tuple[Cell, list[Record]]]]) -> Table:
    every = [record for members in rows.values() for _, records in members for record in records]
    labels = {record.run_id: key[0] for key, members in rows.items() for _, own in members for record in own}
    curves = {tuple(speeds_of(record for _, own in members for record in own)) for members in rows.values()} - {()}
    curve = [(speed, busy_column(speed)) for speed in next(iter(curves))] if len(curves) == 1 else []
    shown: list[Column] = [
        assemble.DATASET, assemble.LOADER, *columns("feed_rate"), _FEED_COLD, *(column for _, column in curve),
        _WAITING, *columns("prepare_s", "store_bytes", "accuracy", "macro_f1"), SAMPLES, assemble.REMARK,
    ]  # fmt: skip
    made = []
    for (dataset, label), members in rows.items():

        def of(model: bool, cache: str, members: list[tuple[Cell, list[Record]]] = members) -> list[Record]:
            return [
                record
                for cell, records in members
                if (cell.model != NO_MODEL) == model and cell.cache == cache
                for record in records
                if record.status == "ok"
            ]

        warm, cold, trained = of(False, "warm"), of(False, "cold"), of(True, "warm") or of(True, "cold")
        records = [record for _, own in members for record in own]
        values = {
            "dataset": Value(text=dataset),
            "loader": Value(text=label),
            "feed_rate": _marked(warm),
            _FEED_COLD.key: _marked(cold),
            **{column.key: busy(warm, speed) for speed, column in curve},
            **cells.of_metrics([_WAITING, *columns("accuracy", "macro_f1")], trained),
            **cells.of_metrics(columns("store_bytes"), [*warm, *trained, *cold]),
            "prepare_s": cells.prepared([*warm, *trained, *cold]),
            "digest": _samples(records, [record for record in every if labels[record.run_id] == dataset]),
            "remark": Value(text=assemble.reasons(records)),
        }
        made.append(Row(values, cells.ids(records)))
    caption = message(
        "Left the emulated accelerators that each loader feeds, which compute nothing; then what a real training waits "
        "for data and learns; means over runs with their 95% intervals."
    )
    about = joined(dict.fromkeys(assemble.MODELS.get(str(c.model), str(c.model))
                                 for m in rows.values() for c, _ in m if c.model != NO_MODEL), ", ")  # fmt: skip
    title = Joined((message("What feeds what, and what it costs"), about), ": ")
    (machine,) = describe([group.environment])
    marked = any(row[key].mark for row in made for key in ("feed_rate", _FEED_COLD.key))
    notes = [Joined((UNVERIFIED, message("cache not verified")))] if marked else []
    return assemble.table(dataclasses.replace(group, title=machine), ("summary",), title, caption, shown, made, notes)


def _marked(records: Sequence[Record]) -> Value:
    mark = UNVERIFIED * bool(unverified(records))
    return dataclasses.replace(cells.over_runs(records, METRICS["feed_rate"]), mark=mark)


def _samples(own: Sequence[Record], same: Sequence[Record]) -> Value:
    """Whether all runs on a dataset, emulated and real, gave the same samples."""
    given = {(r.config.seed, r.digest.combined) for r in same if r.digest is not None}
    runs = cells.ids(record for record in own if record.digest is not None)
    if not runs:
        return Value()
    seeds = {seed for seed, _ in given}
    return Value(text=assemble.AGREE if len(given) == len(seeds) else assemble.DIFFER, runs=runs)
