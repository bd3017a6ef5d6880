"""Training parity: the loss of every model trained by NumPy beside that by PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from bench.figurestyle import panels, scientific, shared_legend
from bench.gradients.entry import Array
from bench.gradients.figures.looks import OURS, THEIRS
from bench.gradients.parity import Parity

COLUMNS = 3
MARKERS = 11
"""How many points of PyTorch's curve are marked, at most."""
STEPS: tuple[tuple[float, tuple[int, ...]], ...] = ((10.0, ()), (25.0, (1, 2, 5)), (100.0, (1, 3)))
"""Up to which span, as a factor, an axis is linear, has these ticks in each decade, or these; beyond, decades alone."""
TICKS = 4
"""Powers of ten on an axis, at most."""
PLAIN = (0.001, 10_000.0)
"""Numbers between are written out, not as powers of ten."""


def curves(parities: Sequence[Parity]) -> Figure:
    """A panel for each training; above it stands how far the parameters parted at worst.

    Raises:
        ValueError: there are no trainings.
    """
    figure, grid = panels(len(parities), COLUMNS, height=1.38)
    for axes, parity in zip(grid, parities, strict=True):
        _curve(axes, parity)
    figure.supxlabel("epoch", fontsize="medium")
    figure.supylabel("mean loss", fontsize="medium")
    grid[0].plot([], [], linestyle="none", label=r"$\Delta$: relative distance of any parameter after any step")
    shared_legend(figure, grid, columns=3)
    return figure


def marked(epochs: int) -> Array:
    """Which of so many epochs are marked, counted from 1: evenly on a logarithmic axis, the first and the last too."""
    return np.unique(np.geomspace(1, epochs, MARKERS).round().astype(int))


def _curve(axes: Axes, parity: Parity) -> None:
    epochs = np.arange(1, len(parity.losses) + 1)
    few = marked(len(epochs))
    axes.plot(epochs, parity.losses, **OURS)
    axes.plot(few, np.asarray(parity.torch_losses)[few - 1], **THEIRS)
    _scale(axes, "x", epochs)
    _scale(axes, "y", np.asarray(parity.losses))
    axes.set_title(parity.trainable.entry.id, pad=15)
    distance = rf"$\Delta\leq{scientific(parity.worst)}$"
    axes.annotate(distance, (0.5, 1), (0, 3), "axes fraction", "offset points", ha="center", va="bottom", fontsize=8)


def _scale(axes: Axes, name: Literal["x", "y"], values: Array) -> None:
    """Logarithmic where that shows more, with ticks that leave room for their labels."""
    axis = {"x": axes.xaxis, "y": axes.yaxis}[name]
    finite = [float(value) for value in values if np.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    if not (low > 0 and high > STEPS[0][0] * low):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=name == "x"))
        return
    axes.set(**{f"{name}scale": "log"})
    axis.set_minor_locator(NullLocator())
    few = next((subs for span, subs in STEPS if high <= span * low), None)
    axis.set_major_locator(_decades(low, high) if few is None else LogLocator(subs=few))
    if low > PLAIN[0] and high < PLAIN[1]:
        axis.set_major_formatter("{x:g}")


def _decades(low: float, high: float) -> FixedLocator:
    """Ticks at every power of ten between, or every second, fifth ... where that would be more than ``TICKS``."""
    exponents = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    stride = next((n for n in (1, 2, 5, 10, 20, 50) if len(exponents) <= n * TICKS), 100)
    return FixedLocator(10.0 ** exponents[exponents % stride == 0])
