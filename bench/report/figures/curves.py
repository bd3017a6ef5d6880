"""Panels with a curve or a point for each loader: what scaling, learning, break-even and size have in common."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.render.figurestyle import LEGEND, TEXT_WIDTH, a_figure
from bench.report.figures.numbers import plain, wrapped
from bench.report.figures.rows import CHARACTER, LINE, LINESPACING, Grid, title_of
from bench.report.figures.scene import Panel, Scene, in_order

HEIGHT = 1.75
"""Inches of a panel without its title."""
UNIT = 18
"""Characters in a line beside a vertical axis."""
HANDLE = 0.62
"""Inches of a line in a legend, with the space about it."""
MARGIN = 0.4
"""Inches that a vertical axis' numbers and label take."""
CURVE: dict[str, Any] = {"linewidth": 1.2, "markersize": 4.2, "markeredgewidth": 0.8}


def curve_panels(scene: Scene, grid: Grid, unit: str, legend: Sequence[str]) -> tuple[Figure, list[tuple[Panel, Axes]]]:
    """A figure with a panel for each dataset and cache, and room for a legend of these labels."""
    titles = [
        [title_of(scene, panel, TEXT_WIDTH / len(row) - MARGIN) if panel else "" for panel in row] for row in grid
    ]
    lines = sum(1 + max(title.count("\n") for title in row) for row in titles)
    figure = a_figure(len(grid) * HEIGHT + lines * LINE + LEGEND * (legend_lines(legend) + 1))
    places = figure.add_gridspec(len(grid), len(grid[0]))
    found = []
    for i, row in enumerate(grid):
        for j, panel in enumerate(row):
            if panel is not None:
                axes = figure.add_subplot(places[i, j])
                axes.set_title(titles[i][j], linespacing=LINESPACING)
                axes.set_ylabel(wrapped(unit, UNIT) if j == 0 else "")
                found.append((panel, axes))
    return figure, found


def legend_lines(labels: Sequence[str]) -> int:
    """How many lines a legend of these labels has."""
    return math.ceil(len(labels) / _columns(labels))


def loaders_legend(
    scene: Scene, figure: Figure, labels: Iterable[str], more: Sequence[Line2D] = (), joined: bool = True
) -> None:
    """One legend above all panels: the loaders in the report's order, then ``more``.

    Args:
        scene: whose looks are used.
        figure: which the legend is for.
        labels: of the loaders that are shown.
        more: further handles, with labels.
        joined: the loaders have lines and not markers alone.
    """
    handles = []
    for label in in_order(scene, labels):
        look = scene.looks[label]
        style = look.line if joined else {**look.dot, "linestyle": "none"}
        handles.append(Line2D([], [], **CURVE, **style, label=plain(label)))
    handles += more
    columns = _columns([str(handle.get_label()) for handle in handles])
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, columnspacing=1.4)


def _columns(labels: Sequence[str]) -> int:
    """As many as fit the text's width; Matplotlib fills them one after the other, the first ones with one more."""
    widths = [HANDLE + CHARACTER * len(label) for label in labels]
    for columns in range(len(labels), 1, -1):
        ends = [sum(len(labels[i::columns]) for i in range(column)) for column in range(columns + 1)]
        if sum(max(widths[i:j]) for i, j in itertools.pairwise(ends)) <= TEXT_WIDTH:
            return columns
    return 1
