"""Panels with a row for each loader: what the figures of stages, epoch times and rates have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.render.figurestyle import GREY
from bench.render.language import Message, Text, message
from bench.report.figures.canvas import CHARACTER, LINE, Canvas, Share
from bench.report.figures.numbers import plain, wrapped
from bench.report.figures.scene import Panel, Scene
from bench.report.groups import Cell
from bench.report.tables.assemble import STATUSES

GAP = 0.075  # inches between two rows
AROUND = 0.33  # inches of a panel that no row takes: ticks and margins
LABEL = 24  # characters in a line of a row's label


def row_panels(
    canvas: Canvas, unit: Text, handles: Sequence[Artist], columns: int, share: Share
) -> tuple[Figure, list[tuple[Panel, Axes]]]:
    """A figure with a panel for each dataset and cache; row ``i`` of each stands at ``y = i``, counted from above.

    The ``unit`` stands below all panels, the legend of these ``handles`` above them in so many ``columns``.
    """
    scene = canvas.scene
    labels = [wrapped(plain(scene.row(label)), LABEL) for label in scene.labels]
    height = AROUND + len(labels) * (GAP + LINE * (1 + max(label.count("\n") for label in labels)))
    beside = CHARACTER * max(len(line) for label in labels for line in label.split("\n"))
    figure, places = canvas.panels(scene.panels, height, math.ceil(len(handles) / columns), beside, share)
    for panel, axes, is_first in places:
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(np.arange(len(labels)), labels if is_first else [""] * len(labels), linespacing=0.95)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        for i, label in enumerate(scene.labels):
            if (reason := _why_absent(scene, panel, label)) is not None:
                style: dict[str, Any] = {"color": GREY, "fontsize": "small", "style": "italic", "va": "center"}
                text = axes.text(0.02, i, canvas.say(reason), **style, zorder=3)
                text.set(transform=axes.get_yaxis_transform(), bbox={"color": "white", "linewidth": 0, "pad": 0.6})
    figure.supxlabel(canvas.say(unit), fontsize="medium")
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, columnspacing=1.6)
    return figure, [(panel, axes) for panel, axes, _ in places]


def placed(scene: Scene, panel: Panel) -> list[tuple[int, Cell]]:
    """The panel's cells with the heights of their rows, from above."""
    return [(i, panel.rows[label]) for i, label in enumerate(scene.labels) if label in panel.rows]


def _why_absent(scene: Scene, panel: Panel, label: str) -> Message | None:
    if label not in panel.rows:
        return message("not run")
    statuses = {record.status for record in scene.group.cells[panel.rows[label]]}
    return None if "ok" in statuses else STATUSES["failed" if "failed" in statuses else "unavailable"]
