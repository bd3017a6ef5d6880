"""What all tables share: what things are called, their first columns, captions and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.config import RateConfig, RunConfig
from bench.records import Record
from bench.render.language import Joined, Text, joined, message
from bench.render.table import Column, Row, Table, Value
from bench.report.groups import NO_MODEL, Cell, Group, telling_apart, varying
from bench.report.tables.cells import ids, of_metrics
from bench.report.tables.part import Part

MODELS: dict[str, Text] = {
    NO_MODEL: message("emulated accelerator"),
    "convnet": "ConvNet",
    "resnet18": "ResNet-18",
    "densenet121": "DenseNet-121",
    "resnet9": "ResNet-9",
}
SETTINGS = {
    "batch_size": message("batch size"),
    "workers": message("workers"),
    "epochs": message("epochs"),
    "image_size": message("image size"),
    "threads": message("threads"),
    "prefetch": message("prefetch"),
    "start_method": message("start method"),
    "lr": message("learning rate"),
    "momentum": message("momentum"),
    "weight_decay": message("weight decay"),
    "ceiling_steps": message("ceiling steps"),
    "rate_batches": message("rate batches"),
    "channels_last": message("channels last"),
    "amp": message("mixed precision"),
    "deterministic": message("deterministic"),
    "label_smoothing": message("label smoothing"),
    "compile": message("compiled"),
    "cuda_graphs": message("CUDA graphs"),
    "in_flight": message("batches in flight"),
    "accelerator": message("accelerator"),
    "wait": message("waiting"),
    "busy": message("busy share asked for"),
    "speeds": message("further speeds"),
    "feed_slices": message("slices of the search"),
    "slice_batches": message("batches a slice"),
    "batches": message("batches"),
    "repeats": message("repetitions"),
}
"""What each setting is called; its name in a configuration stands for one that is not here."""
UNSEEN = frozenset({"ceiling_steps", "rate_batches", "speeds", "feed_slices", "slice_batches"})
"""Settings that change no epoch."""
_ALWAYS = ("epochs", "batch_size", "workers", "threads")
_OPTIMISER = message("SGD with Nesterov momentum on a one-cycle schedule")
CACHES = {"warm": message("warm cache"), "cold": message("cold cache"), "as-is": message("cache as it is")}
STATES = {"warm": message("warm"), "cold": message("cold"), "as-is": message("as-is")}
STATUSES = {"failed": message("failed"), "unavailable": message("unavailable")}
BASELINE, AGREE, DIFFER = message("baseline"), message("agree"), message("differ")
VERDICTS = {
    "slower": message("slower"),
    "faster": message("faster"),
    "no difference found": message("no difference found"),
    "too few runs": message("too few runs"),
}

DATASET = Column("dataset", message("dataset"), kind="text")
LOADER = Column("loader", message("loader"), kind="text")
MODEL = Column("model", message("model"), kind="text")
CACHE = Column("cache", message("cache"), kind="text")
RUNS = Column("runs", message("runs"), format=".0f", definition=message("runs that ended well"))
P = Column("p", "p", format=".4f")
DETECTABLE = Column("detectable_pct", message("detectable"), "%", format=".1f", definition=message(
    "smallest slowdown that the comparison finds with a probability of 95%, given the spread observed"))  # fmt: skip
VERDICT = Column("verdict", message("verdict"), kind="text")
REMARK = Column("remark", message("remark"), kind="text")
FLAGS = Column("flags", message("flags"), kind="text")


def setting_name(name: str) -> Text:
    """What a setting is called."""
    return SETTINGS.get(name, name)


def first_columns(names: Iterable[str], with_model: bool = False) -> list[Column]:
    """Model and cache in a table of several, dataset, loader, and these settings."""
    settings = (Column(name, setting_name(name), kind="text") for name in names)
    return [*((MODEL, CACHE) if with_model else ()), DATASET, LOADER, *settings]


def first_cells(cell: Cell, columns: Iterable[Column]) -> dict[str, Value]:
    """The values of ``first_columns``."""
    known: dict[str, Text] = {"dataset": cell.dataset, "loader": cell.label}
    if cell.model is not None and cell.cache is not None:
        known |= {"model": MODELS.get(cell.model, cell.model), "cache": STATES[cell.cache]}
    return {c.key: Value(text=known[c.key] if c.key in known else cell.setting(c.key)) for c in columns}


def part_table(
    part: Part,
    kind: str,
    title: Text,
    caption: Text,
    columns: Sequence[Column],
    own: Callable[[Cell], Mapping[str, Value]] = lambda _: {},
    notes: Sequence[Text] = (),
    cells: Sequence[Cell] | None = None,
    number: int = 1,
) -> Table | None:
    """A table with a row a cell, or None if there is no row. Title and caption are without model, cache and machine.

    ``columns`` come after the first ones; those of metrics are filled from the cell's runs. ``own`` gives further
    values of a cell, which go before those of the metrics. Without ``cells``, those that have any metric are shown.
    A part's second table of a kind has the ``number`` 2.
    """
    candidates = [cell for cell in part.cells if part.done(cell)] if cells is None else cells
    values = {cell: of_metrics(columns, part.done(cell)) for cell in candidates}
    if cells is None:
        values = {cell: own for cell, own in values.items() if any(not value.is_empty for value in own.values())}
    if not values:
        return None
    first = first_columns(telling_apart(candidates))
    rows = [row(part, cell, {**first_cells(cell, first), **metrics, **own(cell)}) for cell, metrics in values.items()]
    of = part.key.model, part.key.cache
    title, caption = Joined((title, short(part)), ": "), Joined((caption, protocol(cells or part.cells, *of)))
    key = (kind, *of, str(number) if number > 1 else None)
    return table(part.group, key, title, caption, [*first, *columns], rows, notes)


def row(part: Part, cell: Cell, values: Mapping[str, Value]) -> Row:
    """A row that stands for all runs of a cell."""
    return Row(values, ids(part.group.cells[cell]), baseline=part.baseline_of(cell) == cell)


def table(
    group: Group,
    key: Sequence[str | None],
    title: Text,
    caption: Text,
    columns: Sequence[Column],
    rows: Sequence[Row],
    notes: Sequence[Text] = (),
) -> Table:
    """A table with the machine in its caption, and a warning if there are several; ``key`` begins with its kind."""
    name = group.prefix + "-".join(part for part in key if part)
    return Table(
        key=name,
        kind=str(key[0]),
        title=title,
        caption=Joined((caption, Joined((group.title, "."), ""))),
        label=f"tab:{name}",
        columns=columns,
        rows=rows,
        notes=[*notes, *([] if group.mixed is None else [group.mixed])],
        environment=group.title,
        group=group.number,
    )


def short(part: Part) -> Text:
    """Model and cache, or what the part is otherwise."""
    return joined(_model_and_cache(part.key.model, part.key.cache), ", ") or message("bench rate")


def protocol(cells: Sequence[Cell], model: str | None = None, cache: str | None = None) -> Joined:
    """In one sentence how the cells were run: model, cache, and settings that matter or are not the usual.

    A setting that no column has is given by dataset where these differ in it.
    """
    apart, differ = telling_apart(cells), varying(cells)
    trains = model not in (None, NO_MODEL)
    always = (*_ALWAYS, "lr") if trains else _ALWAYS
    names = [*always, *(name for name, _ in cells[0].settings if name not in always)]
    words = [*_model_and_cache(model, cache), *([_OPTIMISER] if trains else [])]
    for name in names:
        value = cells[0].setting(name)
        if name in apart or name == "speeds":
            continue
        if name in differ:
            if name not in UNSEEN:
                words.append(Joined((setting_name(name), _by_dataset(cells, name))))
        elif value and (name in always or value != _usual(cells[0].command, name)):
            words.append(Joined((setting_name(name), value)))
    return Joined(tuple(words), ", ", is_sentence=True)


def _by_dataset(cells: Sequence[Cell], name: str) -> Text:
    """``64 (imagenette-320), 128 (cifar10; digits)``."""
    datasets: dict[str, dict[Text, None]] = {}
    for cell in cells:
        if value := cell.setting(name):
            datasets.setdefault(value, {})[cell.dataset] = None
    return joined((because(value, joined(own, "; ")) for value, own in datasets.items()), ", ")


def _model_and_cache(model: str | None, cache: str | None) -> list[Text]:
    named: list[Text] = [] if model is None else [MODELS.get(model, model)]
    return named if cache is None else [*named, CACHES[cache]]


def _usual(command: str, name: str) -> str:
    """A setting's default, as `Cell.setting` shows it."""
    field = (RunConfig if command == "run" else RateConfig).model_fields.get(name)
    default: Any = None if field is None else field.default
    return str(default).lower() if isinstance(default, bool) else str(default)


def reasons(records: Iterable[Record]) -> Text:
    """Why runs gave nothing: ``failed: lost; unavailable: no CUDA device``."""
    told = {(record.status, record.error or "") for record in records if record.status != "ok"}
    return joined((Joined((STATUSES[status], error), ": ") for status, error in sorted(told)), "; ")


def because(text: Text, reason: Text) -> Text:
    """``text (reason)``, or the text alone."""
    return Joined((text, Joined(("(", reason, ")"), ""))) if reason else text
