"""Loss and accuracy over epochs, which a loader must not change, and over seconds, which it may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bench.records import Record
from bench.render.figurestyle import BLACK, LEGEND, a_figure, fit_scale
from bench.report.figures.curves import CURVE, legend_lines, loaders_legend
from bench.report.figures.scene import Panel, Scene, in_order

ROWS = {"train_loss": "training loss", "test_accuracy": "test accuracy"}
Over: TypeAlias = Callable[[list[Record]], NDArray[np.float64]]
SAME: dict[str, Any] = {"linewidth": 1.2, "marker": ".", "markersize": 4}
RUN: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.45, "zorder": 2}


def is_learning(scene: Scene, panel: Panel) -> bool:
    """Whether a run has several epochs."""
    return any(len(r.epochs) > 1 for cell in panel.rows.values() for r in scene.group.done(cell))


def learning(scene: Scene, panel: Panel) -> Figure:
    """Loss above, accuracy below; over epochs left, over seconds right. Thin lines are runs, thick ones their means."""
    runs = {cell.label: found for cell in panel.rows.values() if (found := scene.group.done(cell))}
    runs = {label: runs[label] for label in in_order(scene, runs)}
    figure = a_figure(2 * 1.6 + LEGEND * (1 + legend_lines(list(runs))))
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for (left, right), (field, name) in zip(grid, ROWS.items(), strict=True):
        curves = [mean_of(found, field) for found in runs.values()]
        if len(curves) > 1 and all(np.array_equal(curve, curves[0], equal_nan=True) for curve in curves):
            left.plot(epochs_of(next(iter(runs.values()))), curves[0], color=BLACK, zorder=3, **SAME)
            left.set_title(scene.say("the same for all loaders"), fontsize="small", style="italic", loc="right")
        else:
            _curves(scene, left, runs, field, epochs_of)
        _curves(scene, right, runs, field, seconds_of)
        left.set_ylabel(scene.say(name))
        if field == "train_loss":  # an accuracy is a share: on a logarithmic axis its last points would look alike
            fit_scale(left, "y", [value for axes in (left, right) for line in axes.lines for value in line.get_ydata()])
        if left.get_yscale() == "linear":
            left.locator_params(axis="y", nbins=6)
    grid[1, 0].set_xlabel(scene.say("epoch"))
    grid[1, 1].set_xlabel(scene.say("training time, s"))
    grid[1, 0].xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    figure.align_ylabels()
    loaders_legend(scene, figure, runs)
    return figure


def _curves(scene: Scene, axes: Axes, runs: Mapping[str, list[Record]], field: str, over: Over) -> None:
    """Markers stand on different epochs for different loaders, as far as there are epochs: curves may coincide."""
    for i, (label, found) in enumerate(runs.items()):
        look = scene.looks[label]
        for record in found if len(found) > 1 else ():
            axes.plot(over([record]), mean_of([record], field), color=look.colour, **RUN)
        x = over(found)
        apart = max(1, min(len(runs), len(x) // 3))
        axes.plot(x, mean_of(found, field), **CURVE, **look.line, markevery=(i % apart, apart), zorder=3)


def epochs_of(runs: list[Record]) -> NDArray[np.float64]:
    """Numbers of the epochs that all runs have, from 1."""
    return np.arange(1, _shared(runs) + 1, dtype=np.float64)


def seconds_of(runs: list[Record]) -> NDArray[np.float64]:
    """Seconds of training, evaluation left out, up to the end of each epoch; the mean over the runs."""
    seconds: NDArray[np.float64] = _values(runs, "wall_s").cumsum(axis=1).mean(axis=0)
    return seconds


def mean_of(runs: list[Record], field: str) -> NDArray[np.float64]:
    """A field of each epoch, the mean over the runs; NaN, and no point, where a run diverged."""
    values = _values(runs, field)
    means: NDArray[np.float64] = values.mean(axis=0)
    means[~np.isfinite(values).all(axis=0)] = np.nan
    return means


def _values(runs: list[Record], field: str) -> NDArray[np.float64]:
    """Of the epochs that all runs have, ``[runs, epochs]``."""
    return np.array([[getattr(epoch, field) for epoch in run.epochs[: _shared(runs)]] for run in runs], np.float64)


def _shared(runs: list[Record]) -> int:
    return min(len(run.epochs) for run in runs)
