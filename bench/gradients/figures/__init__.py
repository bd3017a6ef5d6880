"""The figures of the gradient audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.gradients.figures.arm import arm
from bench.gradients.figures.curves import curves
from bench.gradients.figures.entries import activations, losses
from bench.gradients.figures.graph import graph
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
    """Draw every figure; without trainings, there is none of them.

    The same outcome gives the same bytes. Matplotlib's settings are the user's own again afterwards.
    """
    with thesis():
        made = [
            ("activations", "Activations", "The activations and their derivatives.", activations()),
            ("losses", "Losses", "The losses and their derivatives by the prediction.", losses()),
            *(
                [("parity", "Trainings", "The loss of every model, by NumPy and by PyTorch.", curves(outcome.parities))]
                if outcome.parities
                else []
            ),
            ("robot-arm", "Robot arm", "Its way to a target, by the corrected gradients and by the written.", arm()),
            ("backpropagation", "Backpropagation", "One sample through net-1-2-2-1 and back.", graph(trace(SAMPLE))),
        ]
        return [Drawn(*about, {suffix: drawn(figure, suffix) for suffix in FORMATS}) for *about, figure in made]
