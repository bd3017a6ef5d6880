"""Which records may share a table, and which are repetitions of one another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, get_args

from bench.config import CacheState, Model
from bench.records import Record
from bench.render.language import Note, number, say
from bench.render.table import Language
from bench.report.environments import COMPARED, compared, describe, differences

_NOT_SETTINGS = {
    *("command", "loader", "options", "dataset", "model", "cache", "batch_size", "workers"),
    *("limit", "seed", "repeat", "device", "threads", "source"),
}
_CACHES = ("warm", "cold", "as-is")
assert set(_CACHES) == set(get_args(CacheState))

Round: TypeAlias = int


class Cell(NamedTuple):
    """What repeated runs have in common: one row of a table.

    Attributes:
        command: "run" or "rate".
        model: network; None for a rate.
        cache: wished state of the page cache; None for a rate.
        dataset: as shown: with "(synthetic)" or "(not official)", and the counts where they are not the usual ones.
        loader: name of the loader.
        options: the options given, ``encoding=jpeg threads=2``; "" for none.
        batch_size, workers: as configured.
        settings: every other setting but seed and repetition, as pairs of name and JSON.
    """

    command: str
    model: str | None
    cache: str | None
    dataset: str
    loader: str
    options: str
    batch_size: int
    workers: int
    settings: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """The loader with its options."""
        return f"{self.loader} {self.options}".rstrip()

    def setting(self, name: str) -> str:
        """A setting as shown; "" where this command has no such setting."""
        if name in ("batch_size", "workers"):
            return str(getattr(self, name))
        found = dict(self.settings).get(name, "").strip('"')
        return "" if found == "null" else found


def varying(cells: Iterable[Cell]) -> list[str]:
    """Names of the settings that differ between these cells: batch size, workers and all in ``settings``."""
    cells = list(cells)
    names = dict.fromkeys(["batch_size", "workers", *(name for cell in cells for name, _ in cell.settings)])
    return [name for name in names if len({cell.setting(name) for cell in cells}) > 1]


@dataclasses.dataclass(frozen=True)
class Group:
    """Records of one environment, or of several that are mixed by wish.

    Attributes:
        number: from 1, in the order of the first record.
        title: the machine, and what tells it from other groups.
        environment: what ``environments.COMPARED`` names, of the first record.
        cells: all records by cell, each list in the order of the rounds; failed and unavailable runs are among them.
        mixed: a warning if the records are of several environments, else None.
        remarks: what else a reader must know of them all: commits, superseded records. Like ``mixed``, a text and what
            to fill in, for ``language.say``.
    """

    number: int
    title: str
    environment: dict[str, Any]
    cells: dict[Cell, list[Record]]
    mixed: Note | None
    remarks: list[Note]
    _rounds: dict[int, Round] = dataclasses.field(repr=False, default_factory=dict)

    @property
    def notes(self) -> list[Note]:
        """The warning, if there is one, and the remarks."""
        return [*([] if self.mixed is None else [self.mixed]), *self.remarks]

    def done(self, cell: Cell) -> list[Record]:
        """The cell's runs that ended well."""
        return [record for record in self.cells.get(cell, ()) if record.status == "ok"]

    def round_of(self, record: Record) -> Round:
        """Number of the round: runs of one environment, seed and repetition share it, and nothing else does."""
        return self._rounds[id(record)]

    def by_round(self, cell: Cell, of: Callable[[Record], float | None]) -> dict[Round, float]:
        """The value of each run that ended well and has one, by round."""
        found = ((self.round_of(record), of(record)) for record in self.done(cell))
        return {number: value for number, value in found if value is not None}


def groups(records: Iterable[Record], mix: bool = False, language: Language = "en") -> list[Group]:
    """Sort records into groups of one environment each, and those into cells.

    Args:
        records: in any order.
        mix: put all environments into one group, whose notes say how they differ.
        language: of titles and of what datasets are called.
    """
    by_environment: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.started_at, r.run_id)):
        by_environment.setdefault("" if mix else _environment_key(record), []).append(record)
    parts = list(by_environment.values())
    titles = describe([_environment(part[0]) for part in parts], language)
    return [_group(n, title, part, language) for n, (title, part) in enumerate(zip(titles, parts, strict=True), 1)]


def _group(place: int, title: str, records: Sequence[Record], language: Language) -> Group:
    labels = _dataset_labels(records, language)
    latest: dict[tuple[Cell, tuple[str, int, int]], Record] = {}
    for record in records:  # by time: a later one of the same run takes the place of an earlier, but for a failure
        key = (_cell(record, labels), _round_key(record))
        if key not in latest or record.status == "ok" or latest[key].status != "ok":
            latest[key] = record
    sizes = {labels[_dataset_key(r)]: 0 if r.dataset is None else r.dataset.train for r in records}
    cells: dict[Cell, list[Record]] = {}
    for cell, round_key in sorted(latest, key=lambda pair: (_order(pair[0], sizes), pair[1])):
        cells.setdefault(cell, []).append(latest[cell, round_key])
    numbers = {key: number for number, key in enumerate(sorted({key for _, key in latest}))}
    rounds = {id(record): numbers[key] for (_, key), record in latest.items()}
    mixed = differences([compared(record.environment) for record in records])
    remarks = [*_commits(records), *([] if mixed else _memory(records))]
    if lost := len(records) - len(latest):
        remarks.append(("{count} records are superseded by another record of the same run", {"count": lost}))
    return Group(place, title, _environment(records[0]), cells, mixed, remarks, rounds)


def _environment(record: Record) -> dict[str, Any]:
    return {key: record.environment.get(key) for key in COMPARED}


def _environment_key(record: Record) -> str:
    return json.dumps(compared(record.environment), sort_keys=True, default=str)


def _round_key(record: Record) -> tuple[str, int, int]:
    return _environment_key(record), record.config.repeat, record.config.seed


def _commits(records: Iterable[Record]) -> list[Note]:
    states = [git for r in records if isinstance(git := r.environment.get("git"), dict)]
    commits = dict.fromkeys(str(git.get("commit"))[:10] for git in states)
    notes: list[Note] = []
    if len(commits) > 1:
        notes.append(("these records were made by {count} commits: {list}", _listed(commits)))
    changed = dict.fromkeys(str(git.get("commit"))[:10] for git in states if git.get("clean") is False)
    if changed:
        notes.append(("the tree had changes that were not committed, at {list}", _listed(changed)))
    return notes


def _memory(records: Iterable[Record]) -> list[Note]:
    sizes = {round(ram / 1e9) for r in records if isinstance(ram := r.environment.get("ram_bytes"), int | float)}
    listed = ", ".join(map(str, sorted(sizes)))
    return [("the machine's RAM was not always the same: {list} GB", {"list": listed})] if len(sizes) > 1 else []


def _listed(items: dict[str, None]) -> dict[str, Any]:
    return {"count": len(items), "list": ", ".join(items)}


DatasetKey: TypeAlias = tuple[str, int | None, str | None]


def _dataset_key(record: Record) -> DatasetKey:
    seen = None if record.dataset is None else record.dataset.model_dump_json()
    return record.config.dataset, record.config.limit, seen


def _dataset_labels(records: Iterable[Record], language: Language) -> dict[DatasetKey, str]:
    """What each dataset is called: the same name never stands for two sets of images."""
    named: dict[str, dict[DatasetKey, None]] = {}
    for record in records:
        named.setdefault(_dataset(record, language), {})[_dataset_key(record)] = None
    labels: dict[DatasetKey, str] = {}
    for name, keys in named.items():
        seen = [key for key in keys if key[2] is not None]
        for key in keys:
            labels[key] = name if len(seen) < 2 or key[2] is None else f"{name} {_short_hash(key[2])}"
    for key in [key for key in labels if key[2] is None]:  # a run that never saw its images belongs to those that did
        known = {label for other, label in labels.items() if other[:2] == key[:2] and other[2] is not None}
        if len(known) == 1:
            (labels[key],) = known
    return labels


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _dataset(record: Record, language: Language) -> str:
    name = record.config.dataset
    if record.dataset is None:
        limit = record.config.limit
        return name if limit is None else say("{name} limit {limit}", language, name=name, limit=f"{limit}")
    if record.dataset.synthetic:
        name = say("{name} (synthetic)", language, name=name)
    elif not record.dataset.official and not name.startswith("folder:"):  # nobody's own folder is
        name = say("{name} (not official)", language, name=name)
    if record.dataset.resize is not None:
        name = say("{name}, short side {side}", language, name=name, side=record.dataset.resize)
    if record.dataset.limit is not None or record.dataset.synthetic:
        name += f" {number(record.dataset.train, ',', language)}/{number(record.dataset.test, ',', language)}"
    return name


def _cell(record: Record, labels: dict[DatasetKey, str]) -> Cell:
    config = record.config
    rest = config.model_dump(mode="json", exclude=_NOT_SETTINGS)
    rest["threads"] = record.environment.get("threads")  # what PyTorch made of the setting
    return Cell(
        command=config.command,
        model=getattr(config, "model", None),
        cache=getattr(config, "cache", None),
        dataset=labels[_dataset_key(record)],
        loader=record.loader.name,
        options=" ".join(f"{name}={value}" for name, value in sorted(config.options.items())),
        batch_size=config.batch_size,
        workers=config.workers,
        settings=tuple((name, json.dumps(value, sort_keys=True)) for name, value in rest.items()),
    )


def _order(cell: Cell, sizes: dict[str, int]) -> tuple[Any, ...]:
    models, caches = (*get_args(Model), None), (*_CACHES, None)
    places = (cell.command != "run", models.index(cell.model), caches.index(cell.cache))
    return *places, sizes[cell.dataset], cell.dataset, cell.loader, cell.options, cell[6:]
