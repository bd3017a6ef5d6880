"""How long an epoch takes with each loader: every run, the mean and its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.render.figurestyle import BLACK, GREY
from bench.render.language import message
from bench.report.figures.canvas import Canvas
from bench.report.figures.rows import placed, row_panels
from bench.report.figures.scene import Panel, Scene

RUN: dict[str, Any] = {
    "marker": "o", "linestyle": "none", "markersize": 2.6, "markerfacecolor": "none", "markeredgewidth": 0.6,
}  # fmt: skip
MEAN: dict[str, Any] = {"marker": "|", "markersize": 9, "markeredgewidth": 1.5}
BASE: dict[str, Any] = {"color": GREY, "linewidth": 0.7, "linestyle": (0, (4, 2))}
ARROW = 0.018  # where the middle of an arrow stands inside the axes, in widths of these
BEYOND = 0.4  # how far beyond the runs intervals are shown, in widths of the range of all runs
MARGIN = 0.06  # how far beyond all that is shown an axis goes, in such widths
SINGLE = 0.05  # the same for runs that are all equal, in parts of their value
APART = 0.27  # heights of the runs of a row, above and below its middle, in rows


def times(canvas: Canvas) -> Figure:
    """A row for each loader, with the runs one above the other in the order of the rounds."""
    scene = canvas.scene
    handles = [
        Line2D([], [], color=BLACK, label=canvas.say(message("run")), **RUN),
        Line2D([], [], color=BLACK, linewidth=1.5, label=canvas.say(message("mean with 95% interval")), **MEAN),
        Line2D([], [], label=canvas.say(message("mean of the baseline")), **BASE),
    ]
    figure, panels = row_panels(canvas, message("time of an epoch, s"), handles, columns=3, share="none")
    for panel, axes in panels:
        low, high = limits(scene, panel)
        for i, cell in placed(scene, panel):
            runs, mean = scene.values(cell, "epoch_s"), scene.mean(cell, "epoch_s")
            if mean is None:
                continue
            colour = scene.looks[cell.label].colour
            heights = i + (np.linspace(-APART, APART, len(runs)) if len(runs) > 1 else np.zeros(1))
            axes.plot(runs, heights, color=colour, zorder=3, **RUN)
            if mean.low is not None and mean.high is not None:
                axes.plot(mean.mean, i, color=colour, zorder=4, **MEAN)
                axes.hlines(i, max(low, mean.low), min(high, mean.high), color=colour, linewidth=1.5, zorder=4)
                inside = ARROW * (high - low)
                for end, arrow, cut in ((low + inside, "<", mean.low < low), (high - inside, ">", mean.high > high)):
                    if cut:
                        axes.plot(end, i, color=colour, marker=arrow, markersize=4.5, zorder=4)
        base = scene.base(panel)
        if base is not None and (mean := scene.mean(base, "epoch_s")):
            axes.axvline(mean.mean, zorder=1, **BASE)
        axes.set_xlim(low, high)
    return figure


def limits(scene: Scene, panel: Panel) -> tuple[float, float]:
    """What is shown: all runs, and of the intervals so much that they do not make these small.

    An interval of two or three runs may be ten times as wide as they are apart. It is cut, which an arrow tells.
    """
    cells = [cell for _, cell in placed(scene, panel)]
    runs = [value for cell in cells for value in scene.values(cell, "epoch_s")]
    means = [mean for cell in cells if (mean := scene.mean(cell, "epoch_s"))]
    ends = [end for mean in means for end in (mean.low, mean.high) if end is not None]
    low, high = min(runs, default=0.0), max(runs, default=1.0)
    around = BEYOND * (high - low) or SINGLE * high or 1.0
    margin = MARGIN * (high - low) or SINGLE * high or 1.0
    return max(low - around, min([low, *ends]) - margin), min(high + around, max([high, *ends]) + margin)
