"""Where the time of an epoch goes: the stages of each loader, stacked, with the compute ceiling, by both clocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.render.figurestyle import BLACK, shared_legend
from bench.report.figures.rows import placed, row_panels
from bench.report.figures.scene import Panel, Scene

STAGES = {"fetch": "#882255", "transfer": "#D58CA6", "compute": "#BFD3E0", "other": "#F4F4F4"}
"""The host's exclusive intervals and their shades, from what the loader costs to what it does not: dark to light."""
METRICS = tuple(f"{stage}_s" for stage in STAGES)
DEVICE = {"device copy": "#E0B040", "device compute": "#7FA8C4", "device idle": "#FFFFFF"}
"""The same for the intervals of a CUDA device's own clock."""
DEVICE_METRICS = tuple(f"{stage.replace(' ', '_')}_s" for stage in DEVICE)
CEILING = "compute ceiling"
THICKNESS = 0.68
HALF = 0.34
"""Thickness and distance of the two bars of a row, the host's above the device's, where there are two."""
EDGE = "#555555"


def has_device(scene: Scene) -> bool:
    """Whether a device kept a clock of its own."""
    return scene.has(*DEVICE_METRICS)


def stages(scene: Scene) -> Figure:
    """A bar for each loader, and one below it by the device's clock; their parts are means over the runs."""
    both = has_device(scene)
    figure, panels = row_panels(scene, legend=2 if both else 1)
    for panel, axes in panels:
        if both:
            _bars(scene, panel, axes, STAGES, METRICS, -HALF / 2, HALF)
            _bars(scene, panel, axes, DEVICE, DEVICE_METRICS, HALF / 2, HALF)
        else:
            _bars(scene, panel, axes, STAGES, METRICS, 0.0, THICKNESS)
        _ceiling(scene, panel, axes)
    for _, axes in panels:  # the limits of those that share theirs are known only now
        axes.use_sticky_edges = False
        axes.set_xlim(left=0)
    figure.supxlabel(scene.say("time of an epoch, s"), fontsize="medium")
    order = [scene.say(word) for word in (*STAGES, CEILING, *DEVICE)]
    shared_legend(figure, [axes for _, axes in panels], columns=4 if both else 5, order=order)
    return figure


def _bars(
    scene: Scene,
    panel: Panel,
    axes: Axes,
    shades: Mapping[str, str],
    metrics: Sequence[str],
    below: float,
    thickness: float,
) -> None:
    """Stack the means of the metrics, in each row so far below its middle."""
    means = [(i, [scene.mean(cell, metric) for metric in metrics]) for i, cell in placed(scene, panel)]
    rows = [i + below for i, parts in means if None not in parts]
    left = np.zeros(len(rows))
    for k, (stage, shade) in enumerate(shades.items()):
        width = np.array([part.mean for _, parts in means if None not in parts and (part := parts[k]) is not None])
        label = scene.say(stage)
        axes.barh(rows, width, thickness, left=left, color=shade, edgecolor=EDGE, linewidth=0.4, label=label)
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
        axes.plot(x, y, color=BLACK, linewidth=1.2, zorder=4, label=scene.say(CEILING))
