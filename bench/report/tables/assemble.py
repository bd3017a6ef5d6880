"""What all tables share: their first columns, their captions, and columns made from metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.config import RateConfig, RunConfig
from bench.records import Record
from bench.render.language import say
from bench.render.table import Column, Language, Row, Spread, Table, Value
from bench.report.groups import Cell, Group, varying
from bench.report.metrics import METRICS
from bench.report.tables.cells import over_runs, text
from bench.report.tables.part import Part

MODELS = {"convnet": "ConvNet", "resnet18": "ResNet-18", "densenet121": "DenseNet-121", "resnet9": "ResNet-9"}
SETTINGS = {
    "batch_size": "batch size",
    "workers": "workers",
    "epochs": "epochs",
    "image_size": "image size",
    "threads": "threads",
    "prefetch": "prefetch",
    "start_method": "start method",
    "lr": "learning rate",
    "momentum": "momentum",
    "weight_decay": "weight decay",
    "ceiling_steps": "ceiling steps",
    "rate_batches": "rate batches",
    "channels_last": "channels last",
    "amp": "mixed precision",
    "deterministic": "deterministic",
    "label_smoothing": "label smoothing",
    "compile": "compiled",
    "cuda_graphs": "CUDA graphs",
    "in_flight": "batches in flight",
    "batches": "batches",
    "repeats": "repetitions",
}
"""What each setting is called; its name in a configuration stands for one that is not here."""
_ALWAYS = ("epochs", "batch_size", "workers", "threads")
_CACHES = {"warm": "warm cache", "cold": "cold cache", "as-is": "cache as it is"}


class Shown(NamedTuple):
    """How a metric is shown: the unit on the page, and the factor from the raw one."""

    key: str
    format: str
    unit: str = ""
    scale: float = 1.0
    spread: Spread = ""
    optional: bool = False


def column(shown: Shown, language: Language) -> Column:
    """A column of a metric."""
    metric = METRICS[shown.key]
    unit = shown.unit or metric.unit
    return Column(
        key=shown.key,
        heading=say(metric.name, language),
        unit=say(unit, language) if unit else "",
        definition=say(metric.definition, language),
        format=shown.format,
        scale=shown.scale,
        spread=shown.spread,
        better=metric.better,
        optional=shown.optional,
    )


def setting_name(name: str, language: Language) -> str:
    """What a setting is called."""
    return say(SETTINGS[name], language) if name in SETTINGS else name


def first_columns(cells: Iterable[Cell], language: Language) -> list[Column]:
    """Dataset, loader, and the settings in which the cells differ."""
    named = [("dataset", say("dataset", language)), ("loader", say("loader", language))]
    named += [(name, setting_name(name, language)) for name in varying(cells)]
    return [Column(key, heading, kind="text") for key, heading in named]


def first_cells(cell: Cell, columns: Sequence[Column]) -> dict[str, Value]:
    """The values of ``first_columns``."""
    known = {"dataset": cell.dataset, "loader": cell.label}
    return {c.key: text(known[c.key] if c.key in known else cell.setting(c.key)) for c in columns}


def metric_table(
    part: Part,
    kind: str,
    title: str,
    caption: str,
    metrics: Sequence[Shown],
    more: Sequence[Column] = (),
    of_more: Callable[[Cell], dict[str, Value]] = lambda _: {},
    notes: Sequence[str] = (),
) -> Table | None:
    """A row a cell, a column a metric, and more columns with what a function gives for them.

    Returns:
        None if no run has any of the metrics.
    """
    cells = [cell for cell in part.cells if part.done(cell)]
    first = first_columns(cells, part.language)
    rows = []
    for cell in cells:
        found = {shown.key: over_runs(part.done(cell), METRICS[shown.key]) for shown in metrics}
        if any(not value.is_empty for value in found.values()):
            rows.append(row(part, cell, {**first_cells(cell, first), **found, **of_more(cell)}))
    columns = [*first, *(column(shown, part.language) for shown in metrics), *more]
    return table(part, kind, title, caption, columns, rows, notes) if rows else None


def row(part: Part, cell: Cell, cells: Mapping[str, Value]) -> Row:
    """A row that stands for all runs of a cell."""
    runs = tuple(record.run_id for record in part.group.cells[cell])
    return Row(dict(cells), runs, baseline=part.baseline_of(cell) == cell)


def table(
    part: Part,
    kind: str,
    title: str,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    notes: Sequence[str],
) -> Table:
    """A table of a part; title and caption are in the table's language, without model, cache and machine."""
    key = slug(part.group, kind, part.key.model, part.key.cache)
    what = protocol(part.cells, part.language, part.key.model, part.key.cache)
    named = f"{title}: {short(part)}"
    return finished(part.group, part.language, key, kind, named, f"{caption} {what}", columns, rows, notes)


def finished(
    group: Group,
    language: Language,
    key: str,
    kind: str,
    title: str,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    notes: Sequence[str],
) -> Table:
    """A table with the machine in its caption, and a warning if there are several."""
    mixed = [] if group.mixed is None else [say(group.mixed[0], language, **group.mixed[1])]
    return Table(
        key=key,
        kind=kind,
        title=title,
        caption=f"{caption} {group.title}.",
        label=f"tab:{key}",
        columns=columns,
        rows=rows,
        notes=[*notes, *mixed],
        environment=group.title,
        language=language,
    )


def slug(group: Group, *parts: str | None) -> str:
    """A table's key: the first group's has no number."""
    return "-".join(part for part in (str(group.number) if group.number > 1 else None, *parts) if part)


def short(part: Part) -> str:
    """Model and cache, or what the part is otherwise."""
    if part.key.command == "rate":
        return say("bench rate", part.language)
    return ", ".join(_model_and_cache(part.key.model, part.key.cache, part.language))


def protocol(cells: Sequence[Cell], language: Language, model: str | None = None, cache: str | None = None) -> str:
    """In one sentence what the cells have in common: model, cache, and settings that matter or are not the usual."""
    differ = varying(cells)
    names = [*_ALWAYS, *(name for name, _ in cells[0].settings if name not in _ALWAYS)]
    parts = _model_and_cache(model, cache, language)
    for name in names:
        value = cells[0].setting(name)
        if value and name not in differ and (name in _ALWAYS or value != _usual(cells[0].command, name)):
            parts.append(f"{setting_name(name, language)} {value}")
    sentence = ", ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _model_and_cache(model: str | None, cache: str | None, language: Language) -> list[str]:
    named = [] if model is None else [MODELS.get(model, model)]
    return named if cache is None else [*named, say(_CACHES[cache], language)]


def _usual(command: str, name: str) -> str:
    """A setting's default, as `Cell.setting` shows it."""
    field = (RunConfig if command == "run" else RateConfig).model_fields.get(name)
    default: Any = None if field is None else field.default
    return str(default).lower() if isinstance(default, bool) else str(default)


def group_notes(group: Group, language: Language) -> list[str]:
    """What a reader must know of all records of a group, beside that they are mixed."""
    return [say(words, language, **values) for words, values in group.remarks]


def name_of(cell: Cell) -> str:
    """A cell in a note."""
    return f"{cell.dataset}, {cell.label}"


def reasons(records: Iterable[Record], language: Language) -> str:
    """Why runs gave nothing: ``failed: lost; unavailable: no CUDA device``."""
    found = {(record.status, record.error or "") for record in records if record.status != "ok"}
    return "; ".join(f"{say(status, language)}: {error}" for status, error in sorted(found))
