"""Comparison tables: one for each machine and protocol, so that unlike records are never mixed in silence."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bench.config import RunConfig
from bench.records import Record


class Table(NamedTuple):
    """A table with what all its rows share.

    Attributes:
        title: machine and protocol.
        frame: one row a loader and dataset, numbers unrounded.
        notes: what a reader must know.
    """

    title: str
    frame: pd.DataFrame
    notes: list[str]


# How each column is shown to a person; a CSV keeps the raw number.
FORMATS = {
    "epoch s": "{:.3f}",
    "images/s": "{:,.0f}",
    "fetch %": "{:.1f}",
    "accuracy": "{:.4f}",
    "macro-F1": "{:.4f}",
    "prepare s": "{:.2f}",
    "store MB": "{:.1f}",
    "plain idiom images/s": "{:,.0f}",
    "ratio": "{:.2f}",
}


def tables(records: Iterable[Record]) -> list[Table]:
    """Training tables first, then those of loader rates."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(records, key=lambda record: record.started_at):
        kind: str = record.config.command
        groups.setdefault((kind, json.dumps(_shared(record), sort_keys=True)), []).append(record)
    made = []
    for kind, key in sorted(groups, key=lambda pair: (pair[0] != "run", pair[1])):
        members = groups[kind, key]
        make = _training if kind == "run" else _rates
        made.append(make(_title(members[0]), members))
    return made


def _shared(record: Record) -> dict[str, Any]:
    """What must be equal for two records to stand in one table."""
    machine = record.environment
    config = record.config.model_dump(mode="json", exclude={"loader", "options", "dataset", "limit", "seed", "repeat"})
    keys = ("cpu", "cores", "ram_bytes", "system", "kernel", "python", "packages", "device", "gpu", "threads")
    return {"config": config, "machine": {key: machine.get(key) for key in keys}}


def _title(record: Record) -> str:
    machine, config = record.environment, record.config
    device = machine["gpu"]["name"] if machine.get("gpu") else machine["cpu"]
    parts = [f"{device}, {machine['threads']} of {machine['cores']} cores, torch {machine['packages']['torch']}"]
    if isinstance(config, RunConfig):
        parts.append(f"{config.model}, {config.epochs} epochs")
    parts += [f"batch {config.batch_size}", f"{config.workers} workers"]
    if config.prefetch:
        parts.append(f"prefetch {config.prefetch}")
    if isinstance(config, RunConfig):
        parts.append(f"cache {config.cache}")
    return "; ".join(parts)


def _rows(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    rows: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        rows.setdefault((_dataset(record), _loader(record)), []).append(record)
    return rows


def _training(title: str, records: Sequence[Record]) -> Table:
    rows, notes = [], []
    for (dataset, loader), members in _rows(records).items():
        done = [r for r in members if r.status == "ok"]
        row: dict[str, Any] = {"dataset": dataset, "loader": loader, "runs": len(done)}
        if done:
            epochs = [e for r in done for e in r.epochs]
            row |= {
                "epoch s": statistics.fmean(e.wall_s for e in epochs),
                "images/s": sum(e.images for e in epochs) / sum(e.wall_s for e in epochs),
                "fetch %": 100 * sum(e.fetch_s for e in epochs) / sum(e.wall_s for e in epochs),
                "accuracy": statistics.fmean(r.epochs[-1].test_accuracy for r in done),
                "macro-F1": statistics.fmean(r.epochs[-1].test_macro_f1 for r in done),
                "digest": "/".join(sorted({r.digest.combined[:8] for r in done if r.digest})),
                **_store_cost(done),
            }
            notes += [f"{dataset}, {loader}: {flag}" for r in done for flag in r.flags]
        row["remark"] = _remark(members)
        rows.append(row)
    notes += _unequal(records)
    columns = ["dataset", "loader", "runs", *list(FORMATS)[:7], "digest", "remark"]
    return Table(title, pd.DataFrame(rows, columns=columns), notes)


def _rates(title: str, records: Sequence[Record]) -> Table:
    rows = []
    for (dataset, loader), members in _rows(records).items():
        measured = [r.rates for r in members if r.rates is not None]
        row: dict[str, Any] = {"dataset": dataset, "loader": loader, "runs": len(measured)}
        if measured:
            mine = [value for part in measured for value in part.loader]
            row["images/s"] = statistics.median(mine)
            pairs = [(a, b) for part in measured if part.raw for a, b in zip(part.loader, part.raw, strict=True)]
            if pairs:
                row["plain idiom images/s"] = statistics.median(b for _, b in pairs)
                row["ratio"] = statistics.median(a / b for a, b in pairs)
        row["remark"] = _remark(members)
        rows.append(row)
    columns = ["dataset", "loader", "runs", "images/s", "plain idiom images/s", "ratio", "remark"]
    return Table(f"Loader rates. {title}", pd.DataFrame(rows, columns=columns), [])


def _dataset(record: Record) -> str:
    name = record.config.dataset
    if record.dataset is not None:
        if record.dataset.synthetic:
            name += " (synthetic)"
        elif not record.dataset.official:
            name += " (not official)"
        if record.dataset.limit is not None or record.dataset.synthetic:
            name += f" {record.dataset.train:,}/{record.dataset.test:,}"
    elif record.config.limit is not None:
        name += f" limit {record.config.limit:,}"
    return name


def _loader(record: Record) -> str:
    return " ".join([record.loader.name, *(f"{k}={v}" for k, v in sorted(record.config.options.items()))])


def _store_cost(done: Sequence[Record]) -> dict[str, float]:
    stores = [r.store for r in done if r.store is not None]
    return {
        "prepare s": statistics.fmean(s.prepare_s for s in stores),
        "store MB": statistics.fmean(s.allocated_bytes / 1e6 for s in stores),
    }


def _remark(records: Sequence[Record]) -> str:
    return "; ".join(sorted({f"{r.status}: {r.error}" for r in records if r.status != "ok"}))


def _unequal(records: Iterable[Record]) -> list[str]:
    """Loaders that did not deliver the same samples cannot be compared, and the table must say so."""
    digests: dict[tuple[str, int], set[str]] = {}
    for record in records:
        if record.digest is not None:  # taken in the order that the seed gives
            digests.setdefault((_dataset(record), record.config.seed), set()).add(record.digest.combined)
    different = dict.fromkeys(dataset for (dataset, _), found in digests.items() if len(found) > 1)
    return [f"{dataset}: the loaders gave different samples; their rows do not compare" for dataset in different]


def cells(frame: pd.DataFrame) -> list[list[str]]:
    """The frame's values as a person reads them; nothing where nothing was measured."""
    return [[_cell(str(name), value) for name, value in row.items()] for row in frame.to_dict("records")]


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:  # NaN
        return ""
    return FORMATS[name].format(value) if name in FORMATS else str(value)
