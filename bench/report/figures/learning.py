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
from bench.render.language import message
from bench.report.figures.canvas import CURVE, Canvas, Variant, legend_lines
from bench.report.figures.scene import Scene

ROWS = {"train_loss": message("training loss"), "test_accuracy": message("test accuracy")}
Array: TypeAlias = NDArray[np.float64]
SAME: dict[str, Any] = {"linewidth": 1.2, "marker": ".", "markersize": 4}
RUN: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.45, "zorder": 2}


def variants(scene: Scene) -> list[Variant]:
    """A figure for each panel in which a run has several epochs."""
    made = []
    for panel in scene.panels:
        runs = [record for cell in panel.rows.values() for record in scene.group.done(cell)]
        if any(len(run.epochs) > 1 for run in runs):
            made.append(Variant(f"{runs[0].config.dataset} {panel.cache or ''}", scene.about(panel), panel=panel))
    return made


def learning(canvas: Canvas) -> Figure:
    """Loss above, accuracy below; over epochs left, over seconds right. Thin lines are runs, thick ones their means."""
    scene, panel = canvas.scene, canvas.variant.panel
    assert panel is not None
    done = {label: scene.group.done(cell) for label, cell in panel.rows.items()}
    runs = {label: done[label] for label in scene.ordered(done) if done[label]}
    figure = a_figure(2 * 1.6 + LEGEND * (1 + legend_lines(list(runs))))
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for (left, right), (field, name) in zip(grid, ROWS.items(), strict=True):
        means = [_mean(records, field) for records in runs.values()]
        if len(means) > 1 and all(np.array_equal(mean, means[0], equal_nan=True) for mean in means):
            left.plot(_epochs(next(iter(runs.values()))), means[0], color=BLACK, zorder=3, **SAME)
            same = canvas.say(message("the same for all loaders"))
            left.set_title(same, fontsize="small", style="italic", loc="right")
        else:
            _curves(scene, left, runs, field, _epochs)
        _curves(scene, right, runs, field, _seconds)
        left.set_ylabel(canvas.say(name))
        if field == "train_loss":  # an accuracy is a share: on a logarithmic axis its last points would look alike
            fit_scale(left, "y", [value for axes in (left, right) for line in axes.lines for value in line.get_ydata()])
        if left.get_yscale() == "linear":
            left.locator_params(axis="y", nbins=6)
    grid[1, 0].set_xlabel(canvas.say(message("epoch")))
    grid[1, 1].set_xlabel(canvas.say(message("training time, s")))
    grid[1, 0].xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    figure.align_ylabels()
    canvas.loaders_legend(figure, runs)
    return figure


def _curves(
    scene: Scene, axes: Axes, runs: Mapping[str, list[Record]], field: str, over: Callable[[list[Record]], Array]
) -> None:
    """Markers stand on different epochs for different loaders, as far as there are epochs: curves may coincide."""
    for i, (label, records) in enumerate(runs.items()):
        look = scene.looks[label]
        for record in records if len(records) > 1 else ():
            axes.plot(over([record]), _mean([record], field), color=look.colour, **RUN)
        x = over(records)
        apart = max(1, min(len(runs), len(x) // 3))
        axes.plot(x, _mean(records, field), **CURVE, **look.line, markevery=(i % apart, apart), zorder=3)


def _epochs(runs: list[Record]) -> Array:
    """Numbers of the epochs that all runs have, from 1."""
    return np.arange(1, _values(runs, "wall_s").shape[1] + 1, dtype=np.float64)


def _seconds(runs: list[Record]) -> Array:
    """Seconds of training, evaluation left out, up to the end of each epoch; the mean over the runs."""
    seconds: Array = _values(runs, "wall_s").cumsum(axis=1).mean(axis=0)
    return seconds


def _mean(runs: list[Record], field: str) -> Array:
    """A field of each epoch, the mean over the runs; NaN, and no point, where a run diverged."""
    values = _values(runs, field)
    means: Array = values.mean(axis=0)
    means[~np.isfinite(values).all(axis=0)] = np.nan
    return means


def _values(runs: list[Record], field: str) -> Array:
    """Of the epochs that all runs have, ``[runs, epochs]``."""
    shared = min(len(run.epochs) for run in runs)
    return np.array([[getattr(epoch, field) for epoch in run.epochs[:shared]] for run in runs], np.float64)
