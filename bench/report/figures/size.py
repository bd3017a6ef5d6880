"""What speed costs in space: bytes of the store per image against images/s."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.render.figurestyle import GREY, fit_scale
from bench.render.language import message
from bench.report.figures.canvas import Canvas
from bench.report.figures.scene import Panel, Scene

PIXELS: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (1, 1.5)), "zorder": 1.5}
POINT: dict[str, Any] = {"markersize": 5.5, "linestyle": "none", "zorder": 3}
KB = 1000


def size(canvas: Canvas) -> Figure:
    """A point for each loader, of means over the runs; left and above is better."""
    scene = canvas.scene
    labels = scene.ordered(cell.label for cell in scene.cells if scene.mean(cell, "bytes_per_image"))
    pixels = Line2D([], [], **PIXELS, label=canvas.say(message("size of the bare pixels")))
    figure, panels = canvas.curves(scene.panels, labels, message("images/s"), [pixels], joined=False)
    figure.supxlabel(canvas.say(message("store, kB per image")), fontsize="medium")
    for panel, axes in panels:
        shown = []
        for cell in panel.rows.values():
            space, speed = scene.mean(cell, "bytes_per_image"), scene.mean(cell, "images_per_s")
            if space is not None and speed is not None:
                axes.plot(space.mean / KB, speed.mean, **POINT, **scene.looks[cell.label].dot)
                shown.append(space.mean / KB)
        if (bare := _pixel_bytes(scene, panel)) is not None:
            axes.axvline(bare / KB, **PIXELS)
        fit_scale(axes, "x", shown)
        fit_scale(axes, "y", [])
        axes.locator_params(axis="y", nbins=6)
        axes.margins(0.12)
        if axes.get_xscale() == "linear":
            axes.set_xlim(left=0)
    return figure


def _pixel_bytes(scene: Scene, panel: Panel) -> int | None:
    """Bytes of an image's pixels, one a channel; None where no run knows its images, or they have many sizes."""
    runs = [record for cell in panel.rows.values() for record in scene.group.done(cell)]
    shapes = [record.dataset.shape for record in runs if record.dataset and record.dataset.shape]
    return shapes[0][0] * shapes[0][1] * shapes[0][2] if shapes else None
