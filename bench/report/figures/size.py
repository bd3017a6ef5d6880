"""What speed costs in space: bytes of the store per image against images/s."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.render.figurestyle import GREY, fit_scale
from bench.report.figures.curves import curve_panels, loaders_legend
from bench.report.figures.rows import grid_of
from bench.report.figures.scene import Panel, Scene, in_order

PIXELS: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (1, 1.5)), "zorder": 1.5}
POINT: dict[str, Any] = {"markersize": 5.5, "linestyle": "none", "zorder": 3}
KB = 1000


def size(scene: Scene) -> Figure:
    """A point for each loader, of means over the runs; left and above is better."""
    labels = in_order(scene, (cell.label for cell in scene.cells if scene.mean(cell, "bytes_per_image")))
    pixels = scene.say("size of the bare pixels")
    figure, panels = curve_panels(scene, grid_of(scene.panels), scene.say("images/s"), [*labels, pixels])
    for panel, axes in panels:
        shown = []
        for cell in panel.rows.values():
            space, speed = scene.mean(cell, "bytes_per_image"), scene.mean(cell, "images_per_s")
            if space is None or speed is None:
                continue
            look = scene.look(cell)
            axes.plot(space.mean / KB, speed.mean, **POINT, **look.dot)
            shown.append(space.mean / KB)
        if (bare := pixel_bytes(scene, panel)) is not None:
            axes.axvline(bare / KB, **PIXELS)
        fit_scale(axes, "x", shown)
        fit_scale(axes, "y", [])
        axes.locator_params(axis="y", nbins=6)
        axes.margins(0.12)
        if axes.get_xscale() == "linear":
            axes.set_xlim(left=0)
    figure.supxlabel(scene.say("store, kB per image"), fontsize="medium")
    loaders_legend(scene, figure, labels, [Line2D([], [], **PIXELS, label=pixels)], joined=False)
    return figure


def pixel_bytes(scene: Scene, panel: Panel) -> int | None:
    """Bytes of an image's pixels, one a channel; None where no run knows its images."""
    shapes = [r.dataset.shape for cell in panel.rows.values() for r in scene.group.done(cell) if r.dataset]
    known = [shape for shape in shapes if shape is not None]
    return known[0][0] * known[0][1] * known[0][2] if known else None
