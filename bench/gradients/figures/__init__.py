"""The figures of the gradient audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.gradients.figures import arm, curves, entries, graph
from bench.gradients.models.net_1221 import SAMPLE, trace
from bench.render.figurestyle import FORMATS, drawn, thesis

if TYPE_CHECKING:
    from bench.gradients.outcome import Outcome


class Drawn(NamedTuple):
    """A figure with the content of its files by their endings: PDF for print and PNG for the screen."""

    name: str
    title: str
    caption: str
    files: dict[str, bytes]


def figures(outcome: Outcome) -> list[Drawn]:
    """Draw every figure, that of the trainings if there are any; the same outcome gives the same bytes."""
    with thesis():
        made = [
            ("activations", "Activations", "The activations and their derivatives.", entries.activations()),
            ("losses", "Losses", "The losses and their derivatives by the prediction.", entries.losses()),
            ("robot-arm", "Robot arm", "Its way to a target, by the corrected and the written gradients.", arm.arm()),
            ("backpropagation", "Backpropagation", "A sample through a small network.", graph.graph(trace(SAMPLE))),
        ]
        if outcome.parities:
            trainings = curves.curves(outcome.parities)
            made.insert(2, ("parity", "Trainings", "The loss of every model, by NumPy and by PyTorch.", trainings))
        return [
            Drawn(name, title, caption, {suffix: drawn(figure, suffix) for suffix in FORMATS})
            for name, title, caption, figure in made
        ]
