"""Cold against warm: what reading from storage costs, and what the data path costs when it need not read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.render.language import number, say
from bench.render.table import Column, Language, Row, Table, Value
from bench.report.groups import Cell, Group, varying
from bench.report.metrics import METRICS
from bench.report.tables import cells
from bench.report.tables.assemble import MODELS, Shown, column, finished, name_of, protocol, setting_name, slug

_FORMAT = ",.3f"
_UNSEEN = frozenset({"ceiling_steps", "rate_batches"})
_ASIDE = _UNSEEN | {"epochs"}
"""Settings in which a cold run may differ from the warm one that it is held against: they change no epoch."""
_SIDES = {
    "warm": (
        Shown("epoch_s", _FORMAT, spread="half"),
        Shown("total_s", _FORMAT, spread="half"),
        Shown("read_bytes", ",.1f", "MB", 1e-6),
    ),
    "cold": (
        Shown("open_s", _FORMAT),
        Shown("first_batch_s", _FORMAT),
        Shown("epoch_s", _FORMAT, spread="half"),
        Shown("total_s", _FORMAT, spread="half"),
        Shown("read_bytes", ",.1f", "MB", 1e-6),
    ),
}


class Pair(NamedTuple):
    """The same work with a warm and with a cold cache, as far as there is either."""

    warm: Cell | None
    cold: Cell | None

    @property
    def named(self) -> Cell:
        """The side that gives the row its name."""
        cell = self.warm or self.cold
        assert cell is not None
        return cell

    def setting(self, name: str) -> str:
        """Of both sides: ``2``, or ``2 / 1`` where warm and cold differ."""
        return " / ".join(dict.fromkeys(cell.setting(name) for cell in (self.warm, self.cold) if cell is not None))


def cold_against_warm(group: Group, language: Language) -> list[Table]:
    """A table for each model that has cold runs."""
    done = [cell for cell in group.cells if cell.command == "run" and group.done(cell)]
    models = dict.fromkeys(cell.model for cell in done if cell.cache == "cold")
    return [_table(group, language, str(model), _pairs([c for c in done if c.model == model])) for model in models]


def _pairs(done: Sequence[Cell]) -> list[Pair]:
    warm: dict[Cell, list[Cell | None]] = {}
    cold: dict[Cell, list[Cell | None]] = {}
    for cell in done:
        side = {"warm": warm, "cold": cold}.get(str(cell.cache))
        if side is not None:
            side.setdefault(_work(cell), []).append(cell)
    works = dict.fromkeys([*warm, *cold])
    return [Pair(w, c) for work in works for w in warm.get(work, [None]) for c in cold.get(work, [None])]


def _work(cell: Cell) -> Cell:
    """What both sides have in common."""
    return cell._replace(cache=None, settings=tuple(pair for pair in cell.settings if pair[0] not in _ASIDE))


def _table(group: Group, language: Language, model: str, pairs: Sequence[Pair]) -> Table:
    members = [cell for pair in pairs for cell in pair if cell is not None]
    shown = [name for name in varying(members) if name not in _UNSEEN]
    names = [name for name in shown if len({pair.setting(name) for pair in pairs}) > 1]
    first = [
        Column("dataset", say("dataset", language), kind="text"),
        Column("loader", say("loader", language), kind="text"),
        *(Column(name, setting_name(name, language), kind="text") for name in names),
    ]
    rows, notes = [], []
    for pair in pairs:
        found, told = _stalls(group, pair, language)
        known = {"dataset": pair.named.dataset, "loader": pair.named.label}
        lead = {c.key: cells.text(known[c.key] if c.key in known else pair.setting(c.key)) for c in first}
        runs = [record.run_id for cell in pair if cell is not None for record in group.cells[cell]]
        rows.append(Row({**lead, **_sides(group, pair), **found}, tuple(runs)))
        notes += told
    caption = say("Means over runs with 95% intervals; stalls are paired by round.", language)
    return finished(
        group,
        language,
        slug(group, "cold-warm", model),
        "cold-warm",
        f"{say('Cold against warm', language)}: {MODELS.get(model, model)}",
        f"{caption} {protocol(members, language, model)}",
        [*first, *_columns(language)],
        rows,
        notes,
    )


def _columns(language: Language) -> Iterator[Column]:
    for side, metrics in _SIDES.items():
        for shown in metrics:
            one = column(shown, language)
            heading = f"{one.heading}, {say(side, language)}"
            yield dataclasses.replace(one, key=f"{side}_{one.key}", heading=heading)
    yield Column(
        "prep_stall_s",
        say("prep stall", language),
        say("s", language),
        say('warm epoch less ceiling, clipped at 0; "< resolution" where its 95% interval holds 0', language),
        format=_FORMAT,
        spread="half",
        better="lower",
    )
    yield Column(
        "fetch_stall_s",
        say("fetch stall", language),
        say("s", language),
        say('cold total less warm total, clipped at 0; "< resolution" where its 95% interval holds 0', language),
        format=_FORMAT,
        spread="half",
        better="lower",
    )


def _sides(group: Group, pair: Pair) -> dict[str, Value]:
    return {
        f"{side}_{shown.key}": cells.over_runs(group.done(cell), METRICS[shown.key])
        for side, cell in (("warm", pair.warm), ("cold", pair.cold))
        if cell is not None
        for shown in _SIDES[side]
    }


def _stalls(group: Group, pair: Pair, language: Language) -> tuple[dict[str, Value], list[str]]:
    """Both stalls, and notes on those that were clipped."""
    prep = fetch = Value()
    if pair.warm is not None:
        prep = cells.over_runs(group.done(pair.warm), METRICS["over_ceiling_s"])
    if pair.warm is not None and pair.cold is not None:
        of = METRICS["total_s"].of
        apart = cells.difference(group.by_round(pair.cold, of), group.by_round(pair.warm, of))
        fetch = Value() if apart is None else cells.from_interval(apart, _runs(group, pair))
    found, notes = {}, []
    names = {"prep_stall_s": say("prep stall", language), "fetch_stall_s": say("fetch stall", language)}
    for (key, name), value in zip(names.items(), (prep, fetch), strict=True):
        shown = cells.above_resolution(value, _FORMAT, language)
        found[key] = cells.clipped(shown) if not shown.text else shown
        if found[key].mark and value.number is not None:
            before = number(value.number, _FORMAT, language)
            filled = {"stall": name, "value": before, "name": name_of(pair.named)}
            notes.append(f"{cells.CLIPPED} {say('{stall} clipped at 0, from {value} s: {name}', language, **filled)}")
    return found, notes


def _runs(group: Group, pair: Pair) -> list[str]:
    """Ids of the runs behind a difference."""
    of = METRICS["total_s"].of
    return [r.run_id for cell in pair if cell is not None for r in group.done(cell) if of(r) is not None]
