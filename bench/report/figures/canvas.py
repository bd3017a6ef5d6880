"""A figure in the making: panels in a grid with their titles, a legend of the loaders, and texts in one language."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.render.figurestyle import LEGEND, TEXT_WIDTH, a_figure
from bench.render.language import Language, Text, translated
from bench.report.figures.numbers import plain, wrapped
from bench.report.figures.scene import Panel, Scene

LINE = 0.145  # inches of a line of text
LINESPACING = 1.05
CHARACTER = 0.06  # inches of a character at the size of a title, on average, and a little more
HANDLE = 0.62  # inches of a line in a legend, with the space about it
MARGIN = 0.4  # inches that a vertical axis' numbers and label take
UNIT = 18  # characters in a line beside a vertical axis
CURVE: dict[str, Any] = {"linewidth": 1.2, "markersize": 4.2, "markeredgewidth": 0.8}
Share: TypeAlias = Literal["none", "dataset", "all"]


class Variant(NamedTuple):
    """One of the figures that a kind has of a scene: what tells it from the others in its file's name and its title."""

    ending: str = ""
    about: Sequence[Text] = ()
    setting: str = ""  # along which it runs
    panel: Panel | None = None  # the only one that it shows; None where it shows all
    more: Text = ""  # a sentence for its caption


class Canvas(NamedTuple):
    """What is drawn, and the language of all its text."""

    scene: Scene
    variant: Variant
    language: Language

    def say(self, text: Text) -> str:
        """A text in the figure's language."""
        return translated(text, self.language)

    def title(self, panel: Panel | None, width: float) -> str:
        """Dataset and cache, in as many lines as ``width`` inches ask for."""
        if panel is None:
            return ""
        words, room = [plain(self.say(text)) for text in self.scene.about(panel)], int(width / CHARACTER)
        line = ", ".join(words)
        return line if len(line) <= room else ",\n".join(wrapped(word, room) for word in words)

    def panels(
        self, panels: Sequence[Panel], height: float, legend: int, beside: float = 0.0, share: Share | None = None
    ) -> tuple[Figure, list[tuple[Panel, Axes, bool]]]:
        """A figure with a panel for each dataset and cache, each with whether it is the first of its line.

        ``height`` is a panel's in inches, without its title, ``legend`` the legend's in lines, and ``beside`` what
        labels of rows take at the left, in inches. ``share`` tells which panels of rows have one horizontal scale.
        """
        grid = _grid(panels)
        width = (TEXT_WIDTH - beside) / len(grid[0]) - (MARGIN if share is None else 0.0)
        titles = [[self.title(panel, width) for panel in line] for line in grid]
        heights = [height + LINE * (1 + max(title.count("\n") for title in line)) for line in titles]
        figure = a_figure(sum(heights) + LEGEND * (legend + 1))
        cells = figure.add_gridspec(len(grid), len(grid[0]), height_ratios=None if share is None else heights)
        places: list[tuple[Panel, Axes, bool]] = []
        for i, j in np.ndindex(len(grid), len(grid[0])):
            if (panel := grid[i][j]) is not None:
                shares = {"all": places, "dataset": [place for place in places if place[0].dataset == panel.dataset]}
                alike = [axes for _, axes, _ in shares.get(share or "", ())]
                axes = figure.add_subplot(cells[i, j], sharex=alike[0] if alike else None)
                axes.set_title(titles[i][j], linespacing=LINESPACING)
                places.append((panel, axes, not any(grid[i][:j])))
        return figure, places

    def curves(
        self, panels: Sequence[Panel], labels: Sequence[str], unit: Text, more: Sequence[Line2D], joined: bool = True
    ) -> tuple[Figure, list[tuple[Panel, Axes]]]:
        """Panels with a curve or a point for each loader, and a legend above them: see `loaders_legend`."""
        figure, places = self.panels(panels, 1.75, legend_lines([*labels, *map(label_of, more)]))
        for _, axes, is_first in places:
            axes.set_ylabel(wrapped(self.say(unit), UNIT) if is_first else "")
        self.loaders_legend(figure, labels, more, joined)
        return figure, [(panel, axes) for panel, axes, _ in places]

    def loaders_legend(
        self, figure: Figure, labels: Iterable[str], more: Sequence[Line2D] = (), joined: bool = True
    ) -> None:
        """One legend above all panels: the loaders in the report's order, with lines if ``joined``, and ``more``."""
        handles = []
        for label in self.scene.ordered(labels):
            look = self.scene.looks[label]
            style = look.line if joined else {**look.dot, "linestyle": "none"}
            handles.append(Line2D([], [], **CURVE, **style, label=plain(label)))
        handles += more
        columns = _columns(list(map(label_of, handles)))
        figure.legend(handles=handles, loc="outside upper center", ncols=columns, columnspacing=1.4)


def label_of(handle: Line2D) -> str:
    """What a legend calls it."""
    return str(handle.get_label())


def legend_lines(labels: Sequence[str]) -> int:
    """How many lines a legend of these labels has."""
    return math.ceil(len(labels) / _columns(labels))


def _columns(labels: Sequence[str]) -> int:
    """As many as fit the text's width; Matplotlib fills them one after the other, the first ones with one more."""
    widths = [HANDLE + CHARACTER * len(label) for label in labels]
    for columns in range(len(labels), 1, -1):
        ends = [sum(len(labels[i::columns]) for i in range(column)) for column in range(columns + 1)]
        if sum(max(widths[i:j]) for i, j in itertools.pairwise(ends)) <= TEXT_WIDTH:
            return columns
    return 1


def _grid(panels: Sequence[Panel]) -> list[list[Panel | None]]:
    """Datasets below one another, states of the cache side by side; with one state, up to three datasets are."""
    datasets = list(dict.fromkeys(panel.dataset for panel in panels))
    caches = list(dict.fromkeys(panel.cache for panel in panels))
    if len(caches) == 1:
        columns = len(panels) if len(panels) <= 3 else 2
        padded = [*panels, *[None] * (-len(panels) % columns)]
        return [list(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    by_place = {(panel.dataset, panel.cache): panel for panel in panels}
    return [[by_place.get((dataset, cache)) for cache in caches] for dataset in datasets]
