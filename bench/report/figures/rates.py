"""How fast each loader is without training, beside its format's plain idiom and what training asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.records import Record
from bench.render.figurestyle import BLACK, GREY, PALE, fit_scale
from bench.render.language import message
from bench.report.figures.canvas import Canvas
from bench.report.figures.numbers import written
from bench.report.figures.rows import placed, row_panels
from bench.report.groups import Cell

RATE: dict[str, Any] = {"marker": "o", "markersize": 5.5, "linestyle": "none", "zorder": 4}
LIMIT: dict[str, Any] = {
    "marker": "|", "markersize": 10, "markeredgewidth": 1.6, "linestyle": "none", "color": BLACK, "zorder": 3,
}  # fmt: skip
CEILING: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 2}
RIGHT = 1.015  # where the ratios stand, in widths of the axes


def rates(canvas: Canvas) -> Figure:
    """A row for each loader: its rate, its plain idiom's, and at the right the efficiency; means over the runs."""
    scene = canvas.scene
    handles = [
        Line2D([], [], color=BLACK, label=canvas.say(message("loader")), **RATE),
        Line2D([], [], label=canvas.say(message("its plain idiom")), **LIMIT),
        Line2D([], [], label=canvas.say(message("asked for by the compute ceiling")), **CEILING),
    ]
    figure, panels = row_panels(canvas, message("images/s without training"), handles, columns=3, share="all")
    shown: list[float] = []
    for panel, axes in panels:
        shown += [rate for i, cell in placed(scene, panel) for rate in _row(canvas, axes, i, cell)]
        asked = ceiling_rate(record for cell in panel.rows.values() for record in scene.group.done(cell))
        if asked is not None:
            axes.axvline(asked, **CEILING)
            shown.append(asked)
        ratio = canvas.say(message("ratio"))
        axes.text(RIGHT, 1.0, ratio, transform=axes.transAxes, fontsize="small", style="italic", va="bottom")
    for _, axes in panels:
        fit_scale(axes, "x", shown, log=True)
        axes.margins(x=0.08)
    return figure


def ceiling_rate(records: Iterable[Record]) -> float | None:
    """Images/s of training in all these runs together, had their data path cost nothing; None where none can tell."""
    runs = [r for r in records if r.dataset is not None and r.ceiling is not None and r.ceiling.epoch_s > 0]
    seconds = sum(r.ceiling.epoch_s for r in runs if r.ceiling)
    return sum(r.dataset.train for r in runs if r.dataset) / seconds if runs else None


def _row(canvas: Canvas, axes: Axes, i: int, cell: Cell) -> list[float]:
    """Draw a loader's row and return the rates in it."""
    scene = canvas.scene
    rate, raw, efficiency = (scene.mean(cell, metric) for metric in ("loader_rate", "raw_rate", "efficiency"))
    if rate is None:
        return []
    if raw is not None:
        axes.plot([rate.mean, raw.mean], [i, i], color=PALE, linewidth=2, zorder=2.5)
        axes.plot(raw.mean, i, **LIMIT)
    if efficiency is not None:
        text = written(efficiency.mean, 2, canvas.language)
        axes.text(RIGHT, i, text, transform=axes.get_yaxis_transform(), va="center", fontsize="small")
    colour = scene.looks[cell.label].colour
    axes.plot(rate.mean, i, color=colour, **RATE)
    if rate.low is not None and rate.high is not None and rate.low > 0 and math.isfinite(rate.high):
        axes.hlines(i, rate.low, rate.high, color=colour, linewidth=1.2, zorder=3.5)
    return [rate.mean] if raw is None else [rate.mean, raw.mean]
