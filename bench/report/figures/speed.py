"""The speed of each loader: over worker processes or the size of a batch, and against the size of its store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from bench.render.figurestyle import GREY, fit_scale
from bench.render.language import Message, message
from bench.report.figures.canvas import CURVE, Canvas, Variant
from bench.report.figures.rates import CEILING, ceiling_rate
from bench.report.figures.scene import SCALED, Panel, Scene, panels_of, swept_settings
from bench.report.groups import Cell
from bench.report.tables.assemble import setting_name

PIXELS: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (1, 1.5)), "zorder": 1.5}
POINT: dict[str, Any] = {"markersize": 5.5, "linestyle": "none", "zorder": 3}
KB = 1000
_UNITS = {
    "feed_rate": message("feed rate, images/s"),
    "images_per_s": message("images/s"),
    "loader_rate": message("images/s without training"),
}


def variants(scene: Scene) -> list[Variant]:
    """A figure for each setting that some loader ran with several values of."""
    return [
        Variant(name, (setting_name(name),), setting=name)
        for name in SCALED
        if name in swept_settings(cell for cell in scene.along(name) if scene.values(cell, scene.speed))
    ]


def scaling(canvas: Canvas) -> Figure:
    """A curve for each loader, of means over the runs with their intervals."""
    scene, name = canvas.scene, canvas.variant.setting
    cells = [cell for cell in scene.along(name) if scene.values(cell, scene.speed)]
    labels = scene.ordered(cell.label for cell in cells)
    unit = _UNITS[scene.speed]
    has_ceiling = any(record.ceiling for cell in cells for record in scene.group.done(cell))
    ceiling = Line2D([], [], **CEILING, label=canvas.say(message("compute ceiling")))
    figure, panels = canvas.curves(panels_of(cells), labels, unit, [ceiling] if has_ceiling else [])
    figure.supxlabel(canvas.say(setting_name(name)), fontsize="medium")
    values = sorted({getattr(cell, name) for cell in cells})
    for panel, axes in panels:
        here = [cell for cell in cells if (cell.dataset, cell.cache) == (panel.dataset, panel.cache)]
        for label in panel.rows:
            _curve(scene, axes, name, [cell for cell in here if cell.label == label])
        _ceiling(scene, axes, name, here)
        _axis(axes, name, values)
    return figure


def _curve(scene: Scene, axes: Axes, name: str, cells: list[Cell]) -> None:
    look = scene.looks[cells[0].label]
    points = sorted((getattr(cell, name), mean) for cell in cells if (mean := scene.mean(cell, scene.speed)))
    axes.plot([at for at, _ in points], [mean.mean for _, mean in points], **CURVE, **look.line, zorder=3)
    for at, mean in points:
        if mean.low is not None and mean.high is not None and math.isfinite(mean.high):
            axes.vlines(at, mean.low, mean.high, color=look.colour, linewidth=0.9, zorder=2.5)


def _ceiling(scene: Scene, axes: Axes, name: str, cells: list[Cell]) -> None:
    """The speed of training whose data path costs nothing, over all loaders' runs at each value."""
    points = []
    for value in sorted({getattr(cell, name) for cell in cells}):
        rate = ceiling_rate(r for cell in cells if getattr(cell, name) == value for r in scene.group.done(cell))
        points += [] if rate is None else [(value, rate)]
    if points:
        axes.plot(*zip(*points, strict=True), **CEILING)


def _axis(axes: Axes, name: str, values: list[int]) -> None:
    """Every value is a tick; doubling is one step."""
    if name == "workers":
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=1)
    else:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.update_datalim([(value, 0.0) for value in values])
    axes.autoscale_view()
    axes.set_ylim(bottom=0)


def size(canvas: Canvas) -> Figure:
    """Against the size of the store."""
    pixels = Line2D([], [], **PIXELS, label=canvas.say(message("size of the bare pixels")))
    figure, panels = _against(canvas, "bytes_per_image", KB, message("store, kB per image"), [pixels])
    for panel, axes in panels:
        if (bare := _pixel_bytes(canvas.scene, panel)) is not None:
            axes.axvline(bare / KB, **PIXELS)
    return figure


def preparation(canvas: Canvas) -> Figure:
    """Against the time that preparing the store takes."""
    return _against(canvas, "prepare_s", 1, message("preparing the store, s"), [])[0]


def _against(
    canvas: Canvas, metric: str, unit: float, about: Message, more: Sequence[Line2D]
) -> tuple[Figure, list[tuple[Panel, Axes]]]:
    """A point for each loader, of means over the runs with their intervals; left and above is better."""
    scene = canvas.scene
    labels = scene.ordered(cell.label for cell in scene.cells if scene.mean(cell, metric))
    figure, panels = canvas.curves(scene.panels, labels, _UNITS[scene.speed], more, joined=False)
    figure.supxlabel(canvas.say(about), fontsize="medium")
    for panel, axes in panels:
        costs, speeds = [], []
        for cell in panel.rows.values():
            cost, speed = scene.mean(cell, metric), scene.mean(cell, scene.speed)
            if cost is None or speed is None:
                continue
            look = scene.looks[cell.label]
            axes.plot(cost.mean / unit, speed.mean, **POINT, **look.dot)
            if speed.low is not None and speed.high is not None and math.isfinite(speed.high):
                axes.vlines(cost.mean / unit, speed.low, speed.high, color=look.colour, linewidth=0.9, zorder=2.5)
            costs.append(cost.mean / unit)
            speeds.append(speed.mean)
        fit_scale(axes, "x", costs)
        fit_scale(axes, "y", speeds)
        axes.margins(0.12)
        # No axis is cut: a few percent would look like all.
        if axes.get_xscale() == "linear":
            axes.set_xlim(left=0)
        if axes.get_yscale() == "linear":
            axes.set_ylim(bottom=0)
    return figure, panels


def _pixel_bytes(scene: Scene, panel: Panel) -> int | None:
    """Bytes of an image's pixels, one a channel; None where no run knows its images, or they have many sizes."""
    runs = [record for cell in panel.rows.values() for record in scene.group.done(cell)]
    shapes = [record.dataset.shape for record in runs if record.dataset and record.dataset.shape]
    return shapes[0][0] * shapes[0][1] * shapes[0][2] if shapes else None
