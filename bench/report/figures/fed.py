"""Emulated accelerators: how busy each loader keeps those of several speeds."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from bench.render.figurestyle import GREY
from bench.render.language import message
from bench.report.figures.canvas import CURVE, Canvas
from bench.report.tables.feed import busy, speeds_of

MARK: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (4, 2)), "zorder": 1.5}


def busy_shares(canvas: Canvas) -> Figure:
    """A curve for each loader over the accelerators' speeds, of means over runs with their intervals."""
    scene = canvas.scene
    passed = sorted({100 * share for cell in scene.cells for share in scene.marks(cell)})
    label = canvas.say(message("busy enough for the feed rate"))
    marks = [Line2D([], [], **MARK, label=label)] if passed else []
    curved = (cell.label for cell in scene.cells if speeds_of(scene.group.done(cell)))
    figure, panels = canvas.curves(scene.panels, scene.ordered(curved), message("busy, %"), marks)
    figure.supxlabel(canvas.say(message("speed of the accelerator, images/s")), fontsize="medium")
    for panel, axes in panels:
        runs = {cell: scene.group.done(cell) for cell in panel.rows.values()}
        speeds = speeds_of(record for done in runs.values() for record in done)
        for cell, done in runs.items():
            look = scene.looks[cell.label]
            shares = [busy(done, speed) for speed in speeds]
            means = [math.nan if share.number is None else share.number for share in shares]
            axes.plot(speeds, means, **CURVE, **look.line, zorder=3)
            for at, share in zip(speeds, shares, strict=True):
                if share.low is not None and share.high is not None:
                    axes.vlines(at, share.low, share.high, color=look.colour, linewidth=0.9, zorder=2.5)
        for mark in passed:
            axes.axhline(mark, **MARK)
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator(speeds))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_ylim(0, 104)
    return figure
