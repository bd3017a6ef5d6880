"""The figures of the gradient audit, each as PDF for print and PNG for the screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from bench.gradients.figures import activations, arm, curves, graph, losses
from bench.gradients.models.net_1221 import SAMPLE, trace
from bench.render.figurestyle import save, thesis

if TYPE_CHECKING:
    from bench.gradients.outcome import Outcome

__all__ = ["draw"]


def draw(folder: Path, outcome: Outcome) -> list[Path]:
    """Draw every figure into a folder that exists.

    The same outcome gives the same bytes. Matplotlib's settings are the user's own again afterwards.

    Args:
        folder: where to.
        outcome: what the audit found; without trainings, there is no figure of them.

    Returns:
        The files, in the order of the figures.
    """
    paths = []
    with thesis():
        for name, figure in _figures(outcome):
            paths += save(figure, folder, name)
    return paths


def _figures(outcome: Outcome) -> Iterator[tuple[str, Figure]]:
    yield "activations", activations.activations()
    yield "losses", losses.losses()
    if outcome.parities:
        yield "parity", curves.curves(outcome.parities)
    yield "robot-arm", arm.arm()
    yield "backpropagation", graph.graph(trace(SAMPLE))
