"""How fast each loader is without training, beside its format's plain idiom and what training asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.records import Record
from bench.render.figurestyle import BLACK, GREY, PALE, fit_scale
from bench.report.figures.numbers import written
from bench.report.figures.rows import placed, row_panels
from bench.report.figures.scene import Panel, Scene
from bench.report.groups import Cell

RATE: dict[str, Any] = {"marker": "o", "markersize": 5.5, "linestyle": "none", "zorder": 4}
LIMIT: dict[str, Any] = {
    "marker": "|",
    "markersize": 10,
    "markeredgewidth": 1.6,
    "linestyle": "none",
    "color": BLACK,
    "zorder": 3,
}
NEEDED: dict[str, Any] = {"color": GREY, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 2}


def rates(scene: Scene) -> Figure:
    """A row for each loader: its rate, its plain idiom's, and at the right the efficiency; means over the runs."""
    figure, panels = row_panels(scene, legend=1, share="all")
    shown: list[float] = []
    for panel, axes in panels:
        shown += [rate for i, cell in placed(scene, panel) for rate in _row(scene, axes, i, cell)]
        if (needed := needed_rate(scene, panel)) is not None:
            axes.axvline(needed, **NEEDED)
            shown.append(needed)
        axes.text(
            1.015, 1.0, scene.say("ratio"), transform=axes.transAxes, fontsize="small", style="italic", va="bottom"
        )
    for _, axes in panels:
        fit_scale(axes, "x", shown, log=True)
        axes.margins(x=0.08)
    figure.supxlabel(scene.say("images/s without training"), fontsize="medium")
    handles = [
        Line2D([], [], **{**RATE, "color": BLACK}, label=scene.say("loader")),
        Line2D([], [], **LIMIT, label=scene.say("its plain idiom")),
        Line2D([], [], **NEEDED, label=scene.say("asked for by the compute ceiling")),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, columnspacing=1.6)
    return figure


def needed_rate(scene: Scene, panel: Panel) -> float | None:
    """Images/s of training whose data path costs nothing, over all runs of the panel."""
    return ceiling_rate(record for cell in panel.rows.values() for record in scene.group.done(cell))


def ceiling_rate(records: Iterable[Record]) -> float | None:
    """Images of an epoch over its ceiling, in all these runs together, had their data path cost nothing."""
    found = [(r.dataset.train, r.ceiling.epoch_s) for r in records if r.dataset and r.ceiling and r.ceiling.epoch_s > 0]
    images, seconds = (sum(side) for side in zip(*found, strict=True)) if found else (0.0, 0.0)
    return images / seconds if seconds else None


def _row(scene: Scene, axes: Axes, i: int, cell: Cell) -> list[float]:
    rate, raw, efficiency = (scene.mean(cell, metric) for metric in ("loader_rate", "raw_rate", "efficiency"))
    if rate is None:
        return []
    if raw is not None:
        axes.plot([rate.mean, raw.mean], [i, i], color=PALE, linewidth=2, zorder=2.5)
        axes.plot(raw.mean, i, **LIMIT)
    if efficiency is not None:
        text = written(efficiency.mean, ".2f", scene.language)
        axes.text(1.015, i, text, transform=axes.get_yaxis_transform(), va="center", fontsize="small")
    axes.plot(rate.mean, i, color=scene.look(cell).colour, **RATE)
    return [rate.mean] if raw is None else [rate.mean, raw.mean]
