"""Which records may share a table, and which are repetitions of one another."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, get_args

import pandas as pd

from bench.config import EMULATED, CacheState, Model, RunConfig
from bench.environments import describe, differences, key_of, machine_of, part
from bench.records import Record
from bench.render.language import Joined, Message, Number, Text, message, translated

_NOT_SETTINGS = {
    *("command", "loader", "options", "dataset", "model", "cache", "batch_size", "workers"),
    *("limit", "seed", "repeat", "device", "threads", "source"),
}
_CACHES = ("warm", "cold", "as-is")
assert set(_CACHES) == set(get_args(CacheState))

NO_MODEL = "emulated"
"""In place of a model where an emulated accelerator computes nothing."""

Round: TypeAlias = int
DatasetKey: TypeAlias = tuple[str, int | None, str | None]


class Cell(NamedTuple):
    """What repeated runs have in common: one row of a table."""

    command: str  # "run" or "rate"; a rate has neither model nor cache
    model: str | None
    cache: str | None  # wished state of the page cache
    dataset: Text  # as shown: with "(synthetic)" or "(not official)", and the counts where they are not the usual ones
    loader: str
    options: str  # those given, ``encoding=jpeg threads=2``
    batch_size: int
    workers: int
    settings: tuple[tuple[str, str], ...]  # every other setting but seed and repetition, as pairs of name and JSON

    @property
    def label(self) -> str:
        """The loader with its options."""
        return f"{self.loader} {self.options}".rstrip()

    @property
    def name(self) -> Text:
        """Dataset and label, for a note."""
        return Joined((self.dataset, self.label), ", ")

    @property
    def task(self) -> Cell:
        """The cell without its loader."""
        return self._replace(loader="", options="")

    def setting(self, name: str) -> str:
        """A setting as shown; "" where this command has no such setting."""
        if name in ("batch_size", "workers"):
            return str(getattr(self, name))
        value = dict(self.settings).get(name, "").strip('"')
        return "" if value == "null" else value

    def without(self, names: Iterable[str]) -> Cell:
        """The cell without some of its settings."""
        return self._replace(settings=tuple(pair for pair in self.settings if pair[0] not in names))


def varying(cells: Iterable[Cell]) -> list[str]:
    """Names of the settings that differ between these cells: batch size, workers and all in ``settings``."""
    cells = list(cells)
    names = dict.fromkeys(["batch_size", "workers", *(name for cell in cells for name, _ in cell.settings)])
    return [name for name in names if len({cell.setting(name) for cell in cells}) > 1]


def telling_apart(cells: Iterable[Cell]) -> list[str]:
    """Those that differ between cells of one dataset, model and cache; any others follow from these."""
    cells, alike = list(cells), dict[Any, list[Cell]]()
    for cell in cells:
        alike.setdefault(cell[:4], []).append(cell)
    within = {name for same in alike.values() for name in varying(same)}
    return [name for name in varying(cells) if name in within]


@dataclasses.dataclass(frozen=True)
class Group:
    """Records of one environment, or of several that are mixed by wish.

    ``runs`` are all records by cell and round, failed and unavailable runs among them. Runs of one environment, seed
    and repetition share a round, and nothing else does.
    """

    number: int  # from 1, in the order of the first record
    prefix: str  # of names of tables and figures, which those of real and of emulated devices have apart anyway
    title: Text  # the machine, and what tells it from other groups
    environment: dict[str, Any]  # ``environments.machine_of`` the first record
    runs: dict[Cell, dict[Round, Record]]
    mixed: Message | None  # a warning if the records are of several environments
    remarks: list[Message]  # what else a reader must know of them all: commits, superseded records

    @functools.cached_property
    def cells(self) -> dict[Cell, list[Record]]:
        """The records of each cell in the order of the rounds."""
        return {cell: list(runs.values()) for cell, runs in self.runs.items()}

    @property
    def notes(self) -> list[Message]:
        """The warning, if there is one, and the remarks."""
        return [*([] if self.mixed is None else [self.mixed]), *self.remarks]

    def done(self, cell: Cell) -> list[Record]:
        """The cell's runs that ended well."""
        return [record for record in self.cells.get(cell, ()) if record.status == "ok"]

    def by_round(self, cell: Cell, of: Callable[[Record], float | None]) -> dict[Round, float]:
        """The value of each run that ended well and has one, by round."""
        values = ((number, of(r)) for number, r in self.runs.get(cell, {}).items() if r.status == "ok")
        return {number: value for number, value in values if value is not None}


def groups(records: Iterable[Record], mix: bool = False) -> list[Group]:
    """Sort records into groups of one environment each, or by ``mix`` into one group of all, and those into cells."""
    ordered = sorted(records, key=lambda r: (r.started_at, r.run_id))
    members: dict[str, list[Record]] = {}
    for record in ordered:
        members.setdefault("" if mix else key_of(record.environment), []).append(record)
    machines = [machine_of(own[0].environment) for own in members.values()]
    made, kinds = [], Counter[bool]()
    for number, own in enumerate(zip(describe(machines), machines, members.values(), strict=True), 1):
        kind = own[1].get("device") == "emulated"
        kinds[kind] += 1
        made.append(_group(number, f"{kinds[kind]}-" if kinds[kind] > 1 else "", *own))
    return made


def _group(number: int, prefix: str, title: Text, environment: dict[str, Any], records: Sequence[Record]) -> Group:
    """A group of records that are ordered by time."""
    labels = _dataset_labels(records)
    table = pd.DataFrame(
        [(_cell(r, labels), key_of(r.environment), r.config.repeat, r.config.seed, r.status == "ok") for r in records],
        columns=["cell", "environment", "repeat", "seed", "ok"],
    )
    table["round"] = table.groupby(["environment", "repeat", "seed"]).ngroup()
    # Of the records of one run the latest counts, and one of a failure only where there is no other.
    latest = table.sort_values("ok", kind="stable").drop_duplicates(["cell", "round"], keep="last").sort_values("round")
    sizes = {labels[_dataset_key(r)]: 0 if r.dataset is None else r.dataset.train for r in records}
    runs: dict[Cell, dict[Round, Record]] = {cell: {} for cell in sorted(set(table["cell"]), key=_order(sizes))}
    for place, cell, round_ in zip(latest.index, latest["cell"], latest["round"], strict=True):
        runs[cell][round_] = records[place]
    mixed = differences([record.environment for record in records])
    remarks = [*_remarks(records, len(records) - len(latest), is_mixed=mixed is not None)]
    return Group(number, prefix, title, environment, runs, mixed, remarks)


def commits(records: Iterable[Record]) -> dict[str, bool]:
    """The commits of the harness that made the records, and whether a tree of each had changes."""
    made_by: dict[str, bool] = {}
    for git in filter(None, (part(record.environment, "git") for record in records)):
        commit = str(git.get("commit"))[:10]
        made_by[commit] = made_by.get(commit, False) or git.get("clean") is False
    return made_by


def _remarks(records: Sequence[Record], superseded: int, is_mixed: bool) -> Iterator[Message]:
    made_by = commits(records)
    if len(made_by) > 1:
        listed = ", ".join(made_by)
        yield message("these records were made by {count} commits: {list}", count=len(made_by), list=listed)
    if any(made_by.values()):
        listed = ", ".join(commit for commit, changed in made_by.items() if changed)
        yield message("the tree had changes that were not committed, at {list}", list=listed)
    sizes = {round(ram / 1e9) for r in records if isinstance(ram := r.environment.get("ram_bytes"), int | float)}
    if len(sizes) > 1 and not is_mixed:
        listed = ", ".join(map(str, sorted(sizes)))
        yield message("the machine's RAM was not always the same: {list} GB", list=listed)
    if superseded:
        yield message("{count} records are superseded by another record of the same run", count=superseded)


def _dataset_key(record: Record) -> DatasetKey:
    seen = None if record.dataset is None else record.dataset.model_dump_json()
    return record.config.dataset, record.config.limit, seen


def _dataset_labels(records: Iterable[Record]) -> dict[DatasetKey, Text]:
    """What each dataset is called: the same name never stands for two sets of images."""
    named: dict[Text, dict[DatasetKey, None]] = {}
    for record in records:
        named.setdefault(_dataset(record), {})[_dataset_key(record)] = None
    labels: dict[DatasetKey, Text] = {}
    for name, keys in named.items():
        seen = [key for key in keys if key[2] is not None]
        labels |= dict.fromkeys(keys, name)
        if len(seen) > 1:
            labels |= {key: Joined((name, hashlib.sha256(str(key[2]).encode()).hexdigest()[:8])) for key in seen}
    for key in [key for key in labels if key[2] is None]:  # a run that never saw its images belongs to those that did
        known = {label for other, label in labels.items() if other[:2] == key[:2] and other[2] is not None}
        if len(known) == 1:
            (labels[key],) = known
    return labels


def _dataset(record: Record) -> Text:
    name: Text = record.config.dataset
    if record.dataset is None:
        limit = record.config.limit
        return name if limit is None else message("{name} limit {limit}", name=name, limit=limit)
    if record.dataset.synthetic:
        name = message("{name} (synthetic)", name=name)
    elif not record.dataset.official and not record.config.dataset.startswith("folder:"):  # nobody's own folder is
        name = message("{name} (not official)", name=name)
    if record.dataset.resize is not None:
        name = message("{name}, short side {side}", name=name, side=record.dataset.resize)
    if record.dataset.limit is not None or record.dataset.synthetic:
        counts = Joined((Number(record.dataset.train, ","), Number(record.dataset.test, ",")), "/")
        name = Joined((name, counts))
    return name


def _cell(record: Record, labels: dict[DatasetKey, Text]) -> Cell:
    config = record.config
    rest = config.model_dump(mode="json", exclude=_NOT_SETTINGS)
    if isinstance(config, RunConfig):
        emulated = config.accelerator
        rest = {name: value for name, value in rest.items() if emulated or name not in EMULATED}
        if emulated:
            rest["accelerator"] = emulated.name
    rest["threads"] = record.environment.get("threads")  # what PyTorch made of the setting
    return Cell(
        command=config.command,
        model=NO_MODEL if config.device == "emulated" else getattr(config, "model", None),
        cache=getattr(config, "cache", None),
        dataset=labels[_dataset_key(record)],
        loader=record.loader.name,
        options=" ".join(f"{name}={value}" for name, value in sorted(config.options.items())),
        batch_size=config.batch_size,
        workers=config.workers,
        settings=tuple((name, json.dumps(value, sort_keys=True)) for name, value in rest.items()),
    )


def _order(sizes: dict[Text, int]) -> Callable[[Cell], tuple[Any, ...]]:
    models, caches = (NO_MODEL, *get_args(Model), None), (*_CACHES, None)

    def place(cell: Cell) -> tuple[Any, ...]:
        places = (cell.command != "run", models.index(cell.model), caches.index(cell.cache), sizes[cell.dataset])
        return *places, translated(cell.dataset, "en"), cell.loader, cell.options, cell[6:]

    return place
