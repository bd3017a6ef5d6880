"""After how many epochs the time saved has paid for a store's preparation: cumulated time by loader."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.render.figurestyle import BLACK, LEGEND, TEXT_WIDTH, a_figure
from bench.render.language import message
from bench.report.breakeven import epochs_until, preparation
from bench.report.figures.canvas import CURVE, LINE, LINESPACING, MARGIN, UNIT, Canvas, label_of, legend_lines
from bench.report.figures.numbers import wrapped
from bench.report.figures.scene import Panel, Scene
from bench.report.values import computing_s, waiting_s

LEAST, NONE = 4, 10
"""Epochs that are shown at least, and where nothing crosses."""
MOST = 200  # a crossing after more epochs is not marked
BEYOND = 1.25  # how many times the epochs until the last crossing are shown
CROSSING: dict[str, Any] = {
    "marker": "o", "markersize": 6.5, "markerfacecolor": "none", "markeredgewidth": 1.0, "linestyle": "none",
    "clip_on": False, "zorder": 5,
}  # fmt: skip


class Cost(NamedTuple):
    """Seconds of a loader's preparation, which is 0 for the baseline, and of an epoch."""

    prepare_s: float
    epoch_s: float

    def after(self, epochs: float) -> float:
        """Seconds that so many epochs have taken, preparation included."""
        return self.prepare_s + epochs * self.epoch_s


def costs_of(scene: Scene, panel: Panel) -> dict[str, Cost]:
    """By label, the baseline first; empty where there is none, or no other loader to compare with it."""
    base = scene.base(panel)
    done = {cell: scene.group.done(cell) for cell in panel.rows.values()}
    # Seconds that an epoch waits for data, and that all loaders compute on average: as the tables compare epochs.
    waits = {cell: statistics.fmean(map(waiting_s, runs)) for cell, runs in done.items() if runs}
    computing = [computing_s(record) for runs in done.values() for record in runs]
    if base is None or base not in waits:
        return {}
    mean = statistics.fmean(computing)
    costs = {base.label: Cost(0.0, waits[base] + mean)}
    for cell, wait_s in waits.items():
        prepare = preparation(done[cell])
        if cell != base and prepare is not None:
            costs[cell.label] = Cost(prepare.mean, wait_s + mean)
    return costs if len(costs) > 1 and all(math.isfinite(cost.epoch_s) for cost in costs.values()) else {}


def breakeven(canvas: Canvas) -> Figure:
    """A row for each dataset and cache: the cumulated time, and its difference from the baseline's."""
    scene = canvas.scene
    panels = [(panel, costs) for panel in scene.panels if (costs := costs_of(scene, panel))]
    labels = scene.ordered(label for _, costs in panels for label in costs)
    circle = Line2D([], [], markeredgecolor=BLACK, **CROSSING, label=canvas.say(message("as much as the baseline")))
    figure = a_figure(len(panels) * (1.3 + LINE) + LEGEND * (2 + legend_lines([*labels, label_of(circle)])))
    grid = figure.subplots(len(panels), 2, squeeze=False)
    marked = False
    for (left, right), (panel, costs) in zip(grid, panels, strict=True):
        base, *_ = costs.values()
        paid = {label: epochs_until(cost.prepare_s, base.epoch_s - cost.epoch_s) for label, cost in costs.items()}
        crossings = {label: epochs for label, epochs in paid.items() if epochs is not None and epochs <= MOST}
        last = max(LEAST, math.ceil(BEYOND * max(crossings.values()))) if crossings else NONE
        _lines(scene, left, costs, Cost(0.0, 0.0), last)
        _lines(scene, right, costs, base, last)
        for label, epochs in crossings.items():
            colour = scene.looks[label].colour
            left.plot(epochs, base.after(epochs), markeredgecolor=colour, **CROSSING)
            right.plot(epochs, 0, markeredgecolor=colour, **CROSSING)
        marked |= bool(crossings)
        left.set_title(canvas.title(panel, TEXT_WIDTH / 2 - MARGIN), linespacing=LINESPACING)
        left.set_ylabel(wrapped(canvas.say(message("preparation and training, s")), UNIT))
        right.set_title(canvas.say(message("difference from the baseline")))
        left.set_ylim(bottom=0)
    figure.supxlabel(canvas.say(message("epochs")), fontsize="medium")
    figure.align_ylabels()
    canvas.loaders_legend(figure, labels, [circle] if marked else [])
    return figure


def _lines(scene: Scene, axes: Axes, costs: Mapping[str, Cost], less: Cost, last: int) -> None:
    """Straight lines, each with its marker at a place of its own."""
    for i, label in enumerate(scene.ordered(costs)):
        epochs = np.array([0, last * (i + 1) / (len(costs) + 1), last])
        seconds = [costs[label].after(n) - less.after(n) for n in epochs]
        axes.plot(epochs, seconds, **CURVE, **scene.looks[label].line, markevery=[1], zorder=3)
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
