"""After how many epochs the time saved has paid for a store's preparation: cumulated time by loader."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.render.figurestyle import BLACK, LEGEND, TEXT_WIDTH, a_figure
from bench.report.breakeven import epochs_until, preparation
from bench.report.figures.curves import CURVE, MARGIN, UNIT, legend_lines, loaders_legend
from bench.report.figures.numbers import wrapped
from bench.report.figures.rows import LINE, LINESPACING, title_of
from bench.report.figures.scene import Panel, Scene, in_order

LEAST, NONE = 4, 10
"""Epochs that are shown at least, and where nothing crosses."""
MOST = 200
"""A crossing after more epochs is not marked."""
BEYOND = 1.25
"""How many times the epochs until the last crossing are shown."""
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
    mean = None if base is None else scene.mean(base, "epoch_s")
    if base is None or mean is None:
        return {}
    costs = {base.label: Cost(0.0, mean.mean)}
    for cell in panel.rows.values():
        prepare, epoch = preparation(scene.group.done(cell)), scene.mean(cell, "epoch_s")
        if cell != base and prepare is not None and epoch is not None:
            costs[cell.label] = Cost(prepare.mean, epoch.mean)
    return costs if len(costs) > 1 else {}


def crossings_of(costs: Mapping[str, Cost]) -> dict[str, float]:
    """Epochs until each loader has cost no more than the baseline, where that happens within ``MOST``."""
    base, *_ = costs.values()
    found = {label: epochs_until(cost.prepare_s, base.epoch_s - cost.epoch_s) for label, cost in costs.items()}
    return {label: epochs for label, epochs in found.items() if epochs is not None and epochs <= MOST}


def last_epoch(crossings: Iterable[float]) -> int:
    """Up to where lines are drawn that cross the baseline there."""
    found = list(crossings)
    return max(LEAST, math.ceil(BEYOND * max(found))) if found else NONE


def breakeven(scene: Scene) -> Figure:
    """A row for each dataset and cache: the cumulated time, and its difference from the baseline's."""
    panels = [(panel, costs) for panel in scene.panels if (costs := costs_of(scene, panel))]
    labels = in_order(scene, (label for _, costs in panels for label in costs))
    mark = scene.say("as much as the baseline")
    figure = a_figure(len(panels) * (1.3 + LINE) + LEGEND * (2 + legend_lines([*labels, mark])))
    grid = figure.subplots(len(panels), 2, squeeze=False)
    marked = False
    for (left, right), (panel, costs) in zip(grid, panels, strict=True):
        crossings = crossings_of(costs)
        last = last_epoch(crossings.values())
        base, *_ = costs.values()
        _lines(scene, left, costs, Cost(0.0, 0.0), last)
        _lines(scene, right, costs, base, last)
        for label, epochs in crossings.items():
            colour = scene.looks[label].colour
            left.plot(epochs, base.after(epochs), markeredgecolor=colour, **CROSSING)
            right.plot(epochs, 0, markeredgecolor=colour, **CROSSING)
        marked |= bool(crossings)
        left.set_title(title_of(scene, panel, TEXT_WIDTH / 2 - MARGIN), linespacing=LINESPACING)
        left.set_ylabel(wrapped(scene.say("preparation and training, s"), UNIT))
        right.set_title(scene.say("difference from the baseline"))
        left.set_ylim(bottom=0)
    figure.supxlabel(scene.say("epochs"), fontsize="medium")
    figure.align_ylabels()
    circle = Line2D([], [], markeredgecolor=BLACK, **CROSSING, label=mark)
    loaders_legend(scene, figure, labels, [circle] if marked else [])
    return figure


def _lines(scene: Scene, axes: Axes, costs: Mapping[str, Cost], less: Cost, last: int) -> None:
    """Straight lines, each with its marker at a place of its own."""
    for i, label in enumerate(in_order(scene, costs)):
        epochs = np.array([0, last * (i + 1) / (len(costs) + 1), last])
        seconds = [costs[label].after(n) - less.after(n) for n in epochs]
        axes.plot(epochs, seconds, **CURVE, **scene.looks[label].line, markevery=[1], zorder=3)
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
