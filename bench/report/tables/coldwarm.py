"""Cold against warm: what reading from storage costs, and what the data path costs when it need not read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from bench.render.language import Joined, Number, Text, message
from bench.render.table import Column, Row, Table, Value
from bench.report.groups import Cell, Group, varying
from bench.report.metrics import METRICS, columns
from bench.report.tables import assemble, cells

_FORMAT = ",.3f"
_ASIDE = assemble.UNSEEN | {"epochs"}
"""Settings in which a cold run may differ from the warm one that it is held against: they change no epoch."""
_BOTH = columns("epoch_s", "total_s", "read_bytes")
SIDES = {
    "warm": _BOTH,
    "cold": [*(dataclasses.replace(column, format=_FORMAT) for column in columns("open_s", "first_batch_s")), *_BOTH],
}
STALLS = (
    Column("prep_stall_s", message("prep stall"), "s",
           message("warm epoch less ceiling, clipped at 0; \"< resolution (half its 95% interval's width)\" where "
                   "that holds 0"),
           format=_FORMAT, spread="half", better="lower"),
    Column("fetch_stall_s", message("fetch stall"), "s",
           message("cold total less warm total, clipped at 0; \"< resolution (half its 95% interval's width)\" where "
                   "that holds 0"),
           format=_FORMAT, spread="half", better="lower"),
)  # fmt: skip
COLUMNS = [
    dataclasses.replace(one, key=f"{side}_{one.key}", heading=Joined((one.heading, assemble.STATES[side]), ", "))
    for side, metrics in SIDES.items()
    for one in metrics
]


class Pair(NamedTuple):
    """The same work with a warm and with a cold cache, as far as there is either."""

    warm: Cell | None
    cold: Cell | None

    @property
    def cells(self) -> list[Cell]:
        """Those that there are."""
        return [cell for cell in self if cell is not None]

    def setting(self, name: str) -> str:
        """Of both sides: ``2``, or ``2 / 1`` where warm and cold differ."""
        return " / ".join(dict.fromkeys(cell.setting(name) for cell in self.cells))


def cold_against_warm(group: Group) -> list[Table]:
    """A table for each model that has cold runs."""
    done = [cell for cell in group.cells if cell.command == "run" and any(run.epochs for run in group.done(cell))]
    models = dict.fromkeys(str(cell.model) for cell in done if cell.cache == "cold")
    return [_table(group, model, _pairs([c for c in done if c.model == model])) for model in models]


def _pairs(done: Sequence[Cell]) -> list[Pair]:
    sides: dict[str, dict[Cell, list[Cell | None]]] = {"warm": {}, "cold": {}}
    for cell in done:
        if cell.cache in sides:
            sides[cell.cache].setdefault(cell.without(_ASIDE)._replace(cache=None), []).append(cell)
    warm, cold = sides.values()
    works = dict.fromkeys([*warm, *cold])
    return [Pair(w, c) for work in works for w in warm.get(work, [None]) for c in cold.get(work, [None])]


def _table(group: Group, model: str, pairs: Sequence[Pair]) -> Table:
    members = [cell for pair in pairs for cell in pair.cells]
    shown = [name for name in varying(members) if name not in assemble.UNSEEN]
    names = [name for name in shown if len({pair.setting(name) for pair in pairs}) > 1]
    rows = []
    notes: list[Text] = []
    for pair in pairs:
        lead = assemble.first_cells(pair.cells[0], (assemble.DATASET, assemble.LOADER))
        lead |= {name: Value(text=pair.setting(name)) for name in names}
        sides = {
            f"{side}_{key}": value
            for (side, metrics), cell in zip(SIDES.items(), pair, strict=True)
            if cell is not None
            for key, value in cells.of_metrics(metrics, group.done(cell)).items()
        }
        stalls, told = _stalls(group, pair)
        rows.append(Row({**lead, **sides, **stalls}, cells.ids(r for cell in pair.cells for r in group.cells[cell])))
        notes += told
    title = Joined((message("Cold against warm"), assemble.MODELS.get(model, model)), ": ")
    about = message("Means over runs with 95% intervals; stalls are paired by round.")
    caption = Joined((about, assemble.protocol(members, model)))
    columns = [*assemble.first_columns(names), *COLUMNS, *STALLS]
    return assemble.table(group, ("cold-warm", model), title, caption, columns, rows, notes)


def _stalls(group: Group, pair: Pair) -> tuple[dict[str, Value], list[Text]]:
    """Both stalls, and notes on those that were clipped."""
    prep = fetch = Value()
    if pair.warm is not None:
        prep = cells.over_runs(group.done(pair.warm), METRICS["over_ceiling_s"])
    if pair.warm is not None and pair.cold is not None:
        of = METRICS["total_s"].of
        apart = cells.difference(group.by_round(pair.cold, of), group.by_round(pair.warm, of))
        runs = cells.ids(r for cell in pair.cells for r in group.done(cell) if of(r) is not None)
        fetch = Value() if apart is None else cells.from_interval(apart, runs)
    values: dict[str, Value] = {}
    notes: list[Text] = []
    for stall, value in zip(STALLS, (prep, fetch), strict=True):
        values[stall.key] = cells.above_resolution(value, _FORMAT)
        if value.number is not None and value.number < 0 and not values[stall.key].text:
            values[stall.key] = dataclasses.replace(value, number=0.0, mark=cells.CLIPPED)
            before, name = Number(value.number, _FORMAT), pair.cells[0].name
            told = message("{stall} clipped at 0, from {value} s: {name}", stall=stall.heading, value=before, name=name)
            notes.append(Joined((cells.CLIPPED, told)))
    return values, notes
