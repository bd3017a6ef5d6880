"""Backpropagation shown graphically: the graph of net-1-2-2-1 with the values and gradients of one sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from bench.gradients.entry import Array
from bench.render.figurestyle import BLACK, BLUE, GREY, PALE, TEXT_WIDTH, WINE

HEIGHT = 3.87
TALL, WIDE = 0.5, 0.46  # inches of a node's height, and of the width of each of its quantities
LINE = 0.135  # inches from one line of text to the next
APART = 0.033  # inches of each of the two ways along an edge from its middle
PORT = 0.12  # inches from a node's middle line to where its edges begin and end, above or below
SMALL = 8.0  # points of all text

FORWARD, BACKWARD = BLUE, WINE  # the colours of values and of gradients


@dataclasses.dataclass(frozen=True)
class Node:
    """A box: the names of its quantities in a trace, their symbols, and its middle in inches."""

    names: tuple[str, ...]
    symbols: tuple[str, ...]
    x: float
    y: float

    @property
    def width(self) -> float:
        """Inches."""
        return WIDE * len(self.names)

    def port(self, side: int, other: Node) -> tuple[float, float]:
        """Where the edge to ``other`` leaves on the right (1) or left (-1): above or below, so that edges part."""
        up = np.sign(other.y - self.y) or np.sign(self.y - MIDDLE)
        return self.x + side * self.width / 2, self.y + float(up) * PORT


TOP, MIDDLE, BOTTOM = 2.94, 2.1, 1.26
X = Node(("x",), ("x",), 0.32, MIDDLE)
Z1 = Node(("z1", "a1"), ("z_1", "a_1"), 1.88, TOP)
Z2 = Node(("z2", "a2"), ("z_2", "a_2"), 1.88, BOTTOM)
Z3 = Node(("z3", "a3"), ("z_3", "a_3"), 3.76, TOP)
Z4 = Node(("z4", "a4"), ("z_4", "a_4"), 3.76, BOTTOM)
Y_HAT = Node(("y_hat",), (r"\hat{y}",), 5.19, MIDDLE)
LOSS = Node(("L",), ("L",), 5.99, MIDDLE)
TARGET = Node(("y",), ("y",), 5.99, BOTTOM)

UNITS = (Z1, Z2, Z3, Z4)
EDGES = (
    ("w1", X, Z1, 0.5),
    ("w2", X, Z2, 0.5),
    ("w3", Z1, Z3, 0.5),
    ("w4", Z1, Z4, 0.28),
    ("w5", Z2, Z3, 0.28),
    ("w6", Z2, Z4, 0.5),
    ("w7", Z3, Y_HAT, 0.5),
    ("w8", Z4, Y_HAT, 0.5),
)
"""Each weight, the nodes that it joins, and how far along its edge it is written."""
BIASES = (("b1", Z1, 1), ("b2", Z2, -1), ("b3", Z3, 1), ("b4", Z4, -1), ("b5", Y_HAT, 1))
"""Each bias, the node that it enters, and whether it stands above (1) or below (-1)."""


def graph(trace: Mapping[str, float]) -> Figure:
    """The graph of one sample; every number in it is one of its trace, where ``dL/dx`` is the gradient of ``x``."""
    figure = Figure(figsize=(TEXT_WIDTH, HEIGHT))
    axes = figure.add_axes((0, 0, 1, 1))  # its unit is the inch, so that boxes and text keep their distances
    axes.set_xlim(0, TEXT_WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.set_axis_off()
    for name, source, sink, along in EDGES:
        start, end = np.array(source.port(1, sink)), np.array(sink.port(-1, source))
        _both_ways(axes, start, end, passes=_slope(trace, sink) != 0)
        _parameter(axes, trace, name, *(start + along * (end - start)))
    for name, sink, side in BIASES:
        x, y = sink.x - (sink.width - WIDE) / 2, sink.y + side * TALL / 2
        _both_ways(axes, np.array([x, y + side * 0.33]), np.array([x, y]), passes=_slope(trace, sink) != 0)
        _parameter(axes, trace, name, x, y + side * 0.47)
    _both_ways(axes, np.array([Y_HAT.x + WIDE / 2, MIDDLE]), np.array([LOSS.x - WIDE / 2, MIDDLE]), passes=True)
    _arrow(axes, np.array([TARGET.x, TARGET.y + TALL / 2]), np.array([LOSS.x, LOSS.y - TALL / 2]))
    _text(axes, LOSS.x - 0.1, LOSS.y + TALL / 2 + 0.12, r"$L=(y-\hat{y})^2$", BLACK)
    for node in (X, *UNITS, Y_HAT, LOSS, TARGET):
        _node(axes, trace, node)
    for i, unit in enumerate(UNITS, start=1):
        above = 1 if unit.y > MIDDLE else -1
        _text(axes, unit.x + WIDE / 2, unit.y + above * (TALL / 2 + 0.09), f"$r_{i}={_slope(trace, unit)}$", BACKWARD)
    _key(axes)
    return figure


def shown(value: float) -> str:
    """Three significant digits, for math mode, and no negative zero."""
    return f"{value + 0.0:.3g}"


def _slope(trace: Mapping[str, float], node: Node) -> int:
    """Of the ReLU in a node, and 1 for the prediction, which has none."""
    return int(trace[node.names[0]] > 0) if node in UNITS else 1


def _text(axes: Axes, x: float, y: float, text: str, colour: str, align: str = "center") -> None:
    axes.text(x, y, text, color=colour, fontsize=SMALL, ha=align, va="center", zorder=5)


def _parameter(axes: Axes, trace: Mapping[str, float], name: str, x: float, y: float) -> None:
    """A weight or bias and its gradient, on a white ground that breaks the edge."""
    width, height = 0.58, 2 * LINE
    axes.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, color="white", linewidth=0, zorder=3))
    _text(axes, x, y + LINE / 2, f"${name[0]}_{name[1:]}={shown(trace[name])}$", FORWARD)
    _text(axes, x, y - LINE / 2, f"${shown(trace[f'dL/d{name}'])}$", BACKWARD)


def _node(axes: Axes, trace: Mapping[str, float], node: Node) -> None:
    left, bottom = node.x - node.width / 2, node.y - TALL / 2
    shape = FancyBboxPatch((left, bottom), node.width, TALL, boxstyle="round,pad=0,rounding_size=0.07")
    shape.set(facecolor="white", edgecolor=BLACK, linewidth=0.8, zorder=3)
    axes.add_patch(shape)
    for i, (name, symbol) in enumerate(zip(node.names, node.symbols, strict=True)):
        if i:
            axes.vlines(left + i * WIDE, bottom, bottom + TALL, colors=GREY, linewidths=0.5, linestyles=":", zorder=4)
        lines = [(f"${symbol}$", BLACK), (f"${shown(trace[name])}$", FORWARD)]
        if (gradient := f"dL/d{name}") in trace:
            lines.append((f"${shown(trace[gradient])}$", BACKWARD))
        for j, (line, colour) in enumerate(lines):
            _text(axes, left + (i + 0.5) * WIDE, node.y + LINE * ((len(lines) - 1) / 2 - j), line, colour)


def _both_ways(axes: Axes, start: Array, end: Array, *, passes: bool) -> None:
    """The value's way forward and the gradient's way back beside it, pale where it does not pass."""
    along = (end - start) / np.linalg.norm(end - start)
    across = APART * np.array([-along[1], along[0]])
    _arrow(axes, start + across, end + across)
    _arrow(axes, end - across, start - across, BACKWARD if passes else PALE, dashed=True)


def _arrow(axes: Axes, start: Array, end: Array, colour: str = FORWARD, *, dashed: bool = False) -> None:
    head = "-|>,head_length=2.6,head_width=1.3"
    arrow = FancyArrowPatch((start[0], start[1]), (end[0], end[1]), arrowstyle=head, mutation_scale=1)
    arrow.set(color=colour, linewidth=0.8, linestyle=(0, (3, 1.5)) if dashed else "-", zorder=2)
    axes.add_patch(arrow)


def _key(axes: Axes) -> None:
    backward = r"gradients, computed backward: $\partial L/\partial\,\cdot\,$ of what stands above"
    for x, y, colour, meaning in (
        (0.1, 0.31, FORWARD, "values, computed forward"),
        (0.1, 0.12, BACKWARD, backward),
        (4.1, 0.31, PALE, "no gradient passes, since $r_i=0$"),
    ):
        _arrow(axes, np.array([x, y]), np.array([x + 0.3, y]), colour, dashed=colour != FORWARD)
        _text(axes, x + 0.36, y, meaning, BLACK, "left")
    _text(axes, 4.46, 0.12, "$r_i$: slope of the ReLU at $z_i$", BLACK, "left")
