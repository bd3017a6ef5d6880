"""Panels with a row for each loader: what the figures of stages, epoch times and rates have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.render.figurestyle import GREY, LEGEND, TEXT_WIDTH, a_figure
from bench.report.figures.numbers import plain, wrapped
from bench.report.figures.scene import Panel, Scene
from bench.report.groups import Cell

LINESPACING = 1.05
LINE = 0.145
"""Inches of a line of text."""
GAP = 0.075
"""Inches between two rows."""
AROUND = 0.33
"""Inches of a panel that no row takes: ticks and margins."""
LABEL = 24
"""Characters in a line of a row's label."""
CHARACTER = 0.06
"""Inches of one at the size of a title, on average, and a little more."""

Grid: TypeAlias = list[list[Panel | None]]
Share: TypeAlias = Literal["none", "dataset", "all"]


def grid_of(panels: Sequence[Panel]) -> Grid:
    """Datasets below one another, states of the cache side by side; with one state, up to three datasets are."""
    datasets = list(dict.fromkeys(panel.dataset for panel in panels))
    caches = list(dict.fromkeys(panel.cache for panel in panels))
    if len(caches) == 1:
        columns = len(panels) if len(panels) <= 3 else 2
        padded = [*panels, *[None] * (-len(panels) % columns)]
        return [list(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    by_place = {(panel.dataset, panel.cache): panel for panel in panels}
    return [[by_place.get((dataset, cache)) for cache in caches] for dataset in datasets]


def title_of(scene: Scene, panel: Panel, width: float) -> str:
    """Dataset and cache, in as many lines as ``width`` inches ask for."""
    words, room = [plain(word) for word in scene.words_of(panel)], int(width / CHARACTER)
    together = ", ".join(words)
    return together if len(together) <= room else ",\n".join(wrapped(word, room) for word in words)


def row_panels(scene: Scene, legend: int, share: Share = "dataset") -> tuple[Figure, list[tuple[Panel, Axes]]]:
    """A figure with a panel for each dataset and cache, in which each loader has a row, at the same height in all.

    Args:
        scene: what is shown.
        legend: lines of the legend.
        share: which panels have the same horizontal scale.

    Returns:
        The figure, and its panels with their axes; row ``i`` of each stands at ``y = i``, counted from above.
    """
    labels = [wrapped(plain(scene.row(label)), LABEL) for label in scene.labels]
    grid = grid_of(scene.panels)
    row = GAP + LINE * (1 + max(label.count("\n") for label in labels))
    width = (TEXT_WIDTH - CHARACTER * max(map(len, "\n".join(labels).split("\n")))) / len(grid[0])
    titles = [[title_of(scene, panel, width) if panel else "" for panel in line] for line in grid]
    heights = [AROUND + len(labels) * row + LINE * (1 + max(t.count("\n") for t in line)) for line in titles]
    figure = a_figure(sum(heights) + LEGEND * (legend + 1))
    places = figure.add_gridspec(len(grid), len(grid[0]), height_ratios=heights)
    found: list[tuple[Panel, Axes]] = []
    for i, line in enumerate(grid):
        first = True
        for j, panel in enumerate(line):
            if panel is None:
                continue
            alike = [
                axes for other, axes in found if share == "all" or (share, panel.dataset) == ("dataset", other.dataset)
            ]
            axes = figure.add_subplot(places[i, j], sharex=alike[0] if alike else None)
            axes.set_title(titles[i][j], linespacing=LINESPACING)
            _rows(axes, labels, named=first)
            _absent(scene, panel, axes)
            found.append((panel, axes))
            first = False
    return figure, found


def placed(scene: Scene, panel: Panel) -> list[tuple[int, Cell]]:
    """The panel's cells with the heights of their rows, from above."""
    return [(i, panel.rows[label]) for i, label in enumerate(scene.labels) if label in panel.rows]


def _rows(axes: Axes, labels: Sequence[str], *, named: bool) -> None:
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(np.arange(len(labels)), labels if named else [""] * len(labels), linespacing=0.95)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _absent(scene: Scene, panel: Panel, axes: Axes) -> None:
    """A row without a run says why."""
    for i, label in enumerate(scene.labels):
        cell = panel.rows.get(label)
        if cell is not None and scene.group.done(cell):
            continue
        states = [] if cell is None else [record.status for record in scene.group.cells[cell]]
        word = scene.say("not run" if not states else "failed" if "failed" in states else "unavailable")
        text = axes.text(0.02, i, word, color=GREY, fontsize="small", style="italic", va="center", zorder=3)
        text.set(transform=axes.get_yaxis_transform(), bbox={"color": "white", "linewidth": 0, "pad": 0.6})
