"""Training parity: the loss of every model trained by NumPy beside that by PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from bench.gradients.entry import Array
from bench.gradients.figures.entries import OURS, THEIRS
from bench.gradients.parity import Parity
from bench.render.figurestyle import fit_scale, panels, scientific, shared_legend

COLUMNS = 3
MARKERS = 11  # how many points of PyTorch's curve are marked, at most


def curves(parities: Sequence[Parity]) -> Figure:
    """A panel for each training, of which there must be one; above it stands how far the parameters parted at worst."""
    figure, grid = panels(len(parities), COLUMNS, height=1.38)
    for axes, parity in zip(grid, parities, strict=True):
        epochs = np.arange(1, len(parity.losses) + 1)
        few = marked(len(epochs))
        axes.plot(epochs, parity.losses, **OURS)
        axes.plot(few, np.asarray(parity.torch_losses)[few - 1], **THEIRS)
        fit_scale(axes, "x", epochs, whole=True)
        fit_scale(axes, "y", parity.losses)
        axes.set_title(parity.trainable.entry.id, pad=15)
        worst = rf"$\Delta\leq{scientific(parity.worst)}$"
        axes.annotate(worst, (0.5, 1), (0, 3), "axes fraction", "offset points", ha="center", va="bottom", fontsize=8)
    figure.supxlabel("epoch", fontsize="medium")
    figure.supylabel("mean loss", fontsize="medium")
    grid[0].plot([], [], linestyle="none", label=r"$\Delta$: relative distance of any parameter after any step")
    shared_legend(figure, grid, columns=3)
    return figure


def marked(epochs: int) -> Array:
    """Which of so many epochs are marked, counted from 1: evenly on a logarithmic axis, the first and the last too."""
    return np.unique(np.geomspace(1, epochs, MARKERS).round().astype(int))
