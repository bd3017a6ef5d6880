"""How far apart the training losses of loaders are that did the same work: on some devices they need not be equal."""

from __future__ import annotations

import math

from bench.records import Record
from bench.render.language import number, say
from bench.report.groups import Cell, Round
from bench.report.tables.part import Part

_Same = tuple[Cell, Round, str]
"""What all loaders train on alike, the round, and the samples that were given, by their sha256."""


def loss_notes(part: Part) -> list[str]:
    """A note for each task whose loaders' losses may differ, being not deterministic, or do though they should not."""
    found: dict[_Same, list[float]] = {}
    for cell in part.cells:
        task = cell._replace(loader="", options="", workers=0)
        for record in part.done(cell):
            if (loss := _last_loss(record)) is not None and record.digest is not None:
                same = task, part.group.round_of(record), record.digest.combined
                found.setdefault(same, []).append(loss)
    worst: dict[Cell, float] = {}
    for (task, _, _), losses in found.items():
        if len(losses) > 1:
            worst[task] = max(worst.get(task, 0.0), _spread(losses))
    return [line for task, spread in worst.items() if (line := _line(part, task, spread))]


def _last_loss(record: Record) -> float | None:
    loss = record.epochs[-1].train_loss if record.epochs else None
    return loss if loss is not None and math.isfinite(loss) else None


def _spread(losses: list[float]) -> float:
    """Percent of the mean."""
    mean = sum(losses) / len(losses)
    return 100 * (max(losses) - min(losses)) / abs(mean) if mean else 0.0


def _line(part: Part, task: Cell, spread: float) -> str:
    language = part.language
    told = {"worst": number(spread, ".2g", language), "task": task.dataset}
    if task.setting("deterministic") == "false":
        return say(
            "not deterministic: between loaders the last training loss of one round differs by up to {worst}%: {task}",
            language,
            **told,
        )
    if not spread:
        return ""
    return say(
        "deterministic, and yet between loaders the last training loss of one round differs by up to {worst}%: {task}",
        language,
        **told,
    )
