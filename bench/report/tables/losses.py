"""How far apart the training losses of loaders are that did the same work: on some devices they need not be equal."""

from __future__ import annotations

from bench.render.language import Message, Number, message
from bench.report.groups import Cell, Round
from bench.report.metrics import METRICS
from bench.report.tables.part import Part


def loss_notes(part: Part) -> list[Message]:
    """A note for each task whose loaders' losses may differ, being not deterministic, or do though they should not.

    Compared are the last losses of one round, of runs that were given the same samples, by their sha256.
    """
    losses: dict[tuple[Cell, Round, str], list[float]] = {}
    for cell in part.cells:
        for number, record in part.group.runs[cell].items():
            loss = METRICS["train_loss"].of(record)
            if loss is not None and record.digest is not None:
                losses.setdefault((cell.task._replace(workers=0), number, record.digest.combined), []).append(loss)
    worst: dict[Cell, float] = {}
    for (task, _, _), same in losses.items():
        if len(same) > 1:
            worst[task] = max(worst.get(task, 0.0), _spread(same))
    random = message(
        "not deterministic: between loaders the last training loss of one round differs by up to {worst}%: {task}"
    )
    strange = message(
        "deterministic, and yet between loaders the last training loss of one round differs by up to {worst}%: {task}"
    )
    texts = {task: random if task.setting("deterministic") == "false" else strange for task in worst}
    return [
        Message(texts[task].text, {"worst": Number(spread, ".2g"), "task": task.dataset})
        for task, spread in worst.items()
        if spread or texts[task] is random
    ]


def _spread(losses: list[float]) -> float:
    """Percent of the mean."""
    mean = sum(losses) / len(losses)
    return 100 * (max(losses) - min(losses)) / abs(mean) if mean else 0.0
