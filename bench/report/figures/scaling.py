"""How the speed of each loader grows with worker processes or with the size of a batch."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from bench.records import Record
from bench.render.figurestyle import GREY
from bench.render.language import Text
from bench.report.figures.curves import CURVE, curve_panels, loaders_legend
from bench.report.figures.rates import ceiling_rate
from bench.report.figures.rows import grid_of
from bench.report.figures.scene import Scene, panels_of
from bench.report.groups import Cell

CEILING: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 2}


def is_scaled(scene: Scene, name: str) -> bool:
    """Whether some loader ran with several values of the setting."""
    metric = speed(scene)
    by_label: dict[tuple[Text, str | None, str], set[int]] = {}
    for cell in scene.along(name):
        if scene.values(cell, metric):
            by_label.setdefault((cell.dataset, cell.cache, cell.label), set()).add(getattr(cell, name))
    return any(len(values) > 1 for values in by_label.values())


def speed(scene: Scene) -> str:
    """The metric that is shown."""
    return "images_per_s" if scene.command == "run" else "loader_rate"


def scaling(scene: Scene, name: str) -> Figure:
    """A curve for each loader, of means over the runs with their intervals.

    Args:
        scene: what is shown.
        name: "workers" or "batch_size".
    """
    cells = [cell for cell in scene.along(name) if scene.values(cell, speed(scene))]
    panels = panels_of(cells)
    labels = list(dict.fromkeys(cell.label for cell in cells))
    ceiling = scene.say("compute ceiling")
    unit = scene.say("images/s" if scene.command == "run" else "images/s without training")
    figure, placed = curve_panels(scene, grid_of(panels), unit, [*labels, ceiling])
    values = sorted({getattr(cell, name) for cell in cells})
    has_ceiling = False
    for panel, axes in placed:
        here = [cell for cell in cells if (cell.dataset, cell.cache) == (panel.dataset, panel.cache)]
        for label in panel.rows:
            _curve(scene, axes, name, [cell for cell in here if cell.label == label])
        has_ceiling |= _ceiling(scene, axes, name, here)
        _axis(axes, name, values)
        axes.update_datalim([(value, 0.0) for value in values])
        axes.autoscale_view()
        axes.set_ylim(bottom=0)
    figure.supxlabel(scene.setting_name(name), fontsize="medium")
    more = [Line2D([], [], **CEILING, label=ceiling)] if has_ceiling else []
    loaders_legend(scene, figure, labels, more)
    return figure


def _curve(scene: Scene, axes: Axes, name: str, cells: list[Cell]) -> None:
    look = scene.look(cells[0])
    points = sorted((getattr(cell, name), mean) for cell in cells if (mean := scene.mean(cell, speed(scene))))
    x, y = [at for at, _ in points], [mean.mean for _, mean in points]
    axes.plot(x, y, **CURVE, **look.line, zorder=3)
    for at, mean in points:
        if mean.low is not None and mean.high is not None and math.isfinite(mean.high):
            axes.vlines(at, mean.low, mean.high, color=look.colour, linewidth=0.9, zorder=2.5)


def _ceiling(scene: Scene, axes: Axes, name: str, cells: list[Cell]) -> bool:
    """The speed of training whose data path costs nothing, over all loaders' runs at each value."""
    found: dict[int, list[Record]] = {}
    for cell in cells:
        found.setdefault(getattr(cell, name), []).extend(scene.group.done(cell))
    points = sorted((at, rate) for at, records in found.items() if (rate := ceiling_rate(records)) is not None)
    if points:
        axes.plot(*zip(*points, strict=True), **CEILING)
    return bool(points)


def _axis(axes: Axes, name: str, values: list[int]) -> None:
    """Every value is a tick; doubling is one step."""
    if name == "workers":
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=1)
    else:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_major_formatter("{x:g}")
