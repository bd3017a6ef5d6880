"""Where the time of an epoch goes: the stages of each loader, stacked, with the compute ceiling, by both clocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.render.figurestyle import BLACK
from bench.render.language import Message, message
from bench.report.figures.canvas import Canvas
from bench.report.figures.rows import placed, row_panels
from bench.report.figures.scene import Panel, Scene

STAGES = {
    "fetch_s": (message("fetch"), "#882255"),
    "transfer_s": (message("transfer"), "#D58CA6"),
    "compute_s": (message("compute"), "#BFD3E0"),
    "other_s": (message("other"), "#F4F4F4"),
}
"""The host's exclusive intervals with their shades, from what the loader costs to what it does not: dark to light."""
DEVICE = {
    "device_copy_s": (message("device copy"), "#E0B040"),
    "device_compute_s": (message("device compute"), "#7FA8C4"),
    "device_idle_s": (message("device idle"), "#FFFFFF"),
}
"""The same for the intervals of a CUDA device's own clock."""
THICKNESS, HALF = 0.68, 0.34
"""Heights of a bar that is alone in its row, and of two, the host's above the device's."""
BAR: dict[str, Any] = {"edgecolor": "#555555", "linewidth": 0.4}
CEILING: dict[str, Any] = {"color": BLACK, "linewidth": 1.2, "zorder": 4}


def stages(canvas: Canvas) -> Figure:
    """A bar for each loader, and one below it by the device's clock; their parts are means over the runs."""
    scene, both = canvas.scene, canvas.scene.has(*DEVICE)
    handles = [Patch(facecolor=shade, label=canvas.say(name), **BAR) for name, shade in STAGES.values()]
    ceiling = [Line2D([], [], label=canvas.say(message("compute ceiling")), **CEILING)]
    device = [Patch(facecolor=shade, label=canvas.say(name), **BAR) for name, shade in DEVICE.values()]
    shown = [*handles, *(ceiling if scene.has("ceiling_s") else []), *(device if both else [])]
    unit = message("time of an epoch, s")
    figure, panels = row_panels(canvas, unit, shown, columns=4 if both else 5, share="dataset")
    for panel, axes in panels:
        _bars(scene, panel, axes, STAGES, *((-HALF / 2, HALF) if both else (0.0, THICKNESS)))
        if both:
            _bars(scene, panel, axes, DEVICE, HALF / 2, HALF)
        _ceiling(scene, panel, axes)
    for _, axes in panels:  # the limits of those that share theirs are known only now
        axes.use_sticky_edges = False
        axes.set_xlim(left=0)
    return figure


def _bars(
    scene: Scene, panel: Panel, axes: Axes, parts: Mapping[str, tuple[Message, str]], below: float, thickness: float
) -> None:
    """Stack the means of the parts, in each row so far below its middle."""
    means = {i: [scene.mean(cell, metric) for metric in parts] for i, cell in placed(scene, panel)}
    known = {i + below: [mean.mean for mean in row if mean is not None] for i, row in means.items() if None not in row}
    left = np.zeros(len(known))
    for k, (metric, (_, shade)) in enumerate(parts.items()):
        width = np.array([row[k] for row in known.values()])
        axes.barh(list(known), width, thickness, left=left, color=shade, label=metric, **BAR)
        left = left + width


def _ceiling(scene: Scene, panel: Panel, axes: Axes) -> None:
    """One line through all rows, which steps to each loader's own ceiling."""
    x = np.full(2 * len(scene.labels), np.nan)
    for i, cell in placed(scene, panel):
        if ceiling := scene.mean(cell, "ceiling_s"):
            x[2 * i : 2 * i + 2] = ceiling.mean
    if np.isfinite(x).any():
        y = np.repeat(np.arange(len(scene.labels)), 2) + np.tile([-0.5, 0.5], len(scene.labels))
        axes.plot(x, y, color="white", linewidth=2.6, zorder=3)
        axes.plot(x, y, **CEILING)
