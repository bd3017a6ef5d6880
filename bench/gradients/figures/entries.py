"""The activations and losses of the catalogue and their derivatives, by hand and by autograd."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.gradients.catalogue import ENTRIES
from bench.gradients.entry import Array, Arrays, Entry, Gradients, Verdict, Written
from bench.gradients.referees import autograd
from bench.render.figurestyle import BLACK, BLUE, GREEN, GREY, VERMILLION, WINE, panels, shared_legend

POINTS = 241
MARKERS = 13
BESIDE = 1e-9  # how far beside a kink the limits from both sides are taken

Look = dict[str, Any]  # what ``axes.plot`` takes
OURS: Look = {"label": "NumPy, by hand", "color": BLUE, "linestyle": "-", "linewidth": 1.3, "zorder": 3}
WRONG: Look = {**OURS, "label": "as written, wrong", "color": VERMILLION, "linestyle": (0, (4, 1.6)), "zorder": 2.5}
WRONG_TOO: Look = {**OURS, "label": "as written, also wrong", "color": WINE, "linestyle": (0, (1, 1.2)), "zorder": 3.2}
"""A second such form beside the first."""
OPEN: Look = {"linestyle": "none", "marker": "o", "markersize": 3.4, "markerfacecolor": "none", "markeredgewidth": 0.7}
"""So that the line beneath is seen."""
THEIRS: Look = {**OPEN, "label": "PyTorch, autograd", "color": BLACK, "zorder": 4}
_DIAMOND: Look = {**OPEN, "marker": "D", "markersize": 7, "markeredgewidth": 1.1}
CONVENTION: Look = {**_DIAMOND, "label": "as written, another convention", "color": GREEN, "zorder": 5}
"""A value that a form takes at a kink, and PyTorch does not."""
DOT: Look = {"linestyle": "none", "marker": "o", "markersize": 3.6, "markeredgewidth": 0.9, "zorder": 3.5}
TAKEN, LIMIT = "value at a kink", "limit at a kink"
ORDER = (*(look["label"] for look in (OURS, THEIRS, WRONG, WRONG_TOO, CONVENTION)), TAKEN, LIMIT)
"""Of the labels in the legend."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """An entry as a function of one number, the first element of ``entry.wrt[0]``, and its inputs for a value of it."""

    entry: Entry
    title: str
    inputs: Callable[[float], Arrays]
    low: float
    high: float
    kinks: tuple[float, ...] = ()


def by_hand(curve: Curve, x: Array, form: Written | None = None) -> tuple[Array, Array]:
    """The function and its derivative at every point of ``x`` [n], as corrected or in a written form."""
    forward = form.forward if form and form.forward else curve.entry.forward
    gradient = form.gradient if form else curve.entry.corrected
    with np.errstate(invalid="ignore"):  # a written form may have 0/0 at a kink, where nothing is drawn then
        return _at(curve, x, lambda inputs, g: (forward(inputs), gradient(inputs, g)))


def by_autograd(curve: Curve, x: Array) -> tuple[Array, Array]:
    """The function and its derivative by PyTorch at every point of ``x`` [n]."""
    return _at(curve, x, lambda inputs, g: autograd(curve.entry, inputs, g, torch.device("cpu")))


def _at(curve: Curve, x: Array, of: Callable[[Arrays, Array], tuple[Array, Gradients]]) -> tuple[Array, Array]:
    """Value and derivative by the number, at every point of ``x`` [n]."""
    points = []
    for inputs in map(curve.inputs, x.tolist()):
        value, gradients = of(inputs, np.ones_like(curve.entry.forward(inputs)))
        points.append((np.ravel(value)[0], np.ravel(gradients[curve.entry.wrt[0]])[0]))
    values, slopes = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return values, slopes


def functions(curves: Sequence[Curve], x: str, rows: tuple[str, str]) -> Figure:
    """A column for each curve: the function above, its derivative below; ``x`` and ``rows`` label the axes."""
    figure, grid = panels(2 * len(curves), len(curves), height=1.6, legend=2)
    above, below = grid[: len(curves)], grid[len(curves) :]
    for curve, top, bottom in zip(curves, above, below, strict=True):
        _curve(top, bottom, curve)
        top.set_title(curve.title)
        bottom.set_xlabel(x)
    for axes in grid:
        axes.margins(y=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    above[0].set_ylabel(rows[0])
    below[0].set_ylabel(rows[1])
    figure.align_ylabels()
    shared_legend(figure, grid, columns=3, order=ORDER)
    return figure


def _curve(above: Axes, below: Axes, curve: Curve) -> None:
    x, marked = (np.linspace(curve.low, curve.high, n) for n in (POINTS, MARKERS))
    values, slopes = by_autograd(curve, marked)
    below.axhline(0, color=GREY, linewidth=0.5, zorder=1)
    above.plot(x, by_hand(curve, x)[0], **OURS)
    _slope(below, curve, None, OURS)
    above.plot(marked, values, **THEIRS)
    below.plot(marked, slopes, **THEIRS)
    wrong = [form for form in curve.entry.written if form.expected is Verdict.WRONG]
    for form, look in zip(wrong, (WRONG, WRONG_TOO)[: len(wrong)], strict=True):
        if form.forward is not None:
            above.plot(x, by_hand(curve, x, form)[0], **look)
        _slope(below, curve, form, look)
    for form in curve.entry.written:
        if form.expected is Verdict.CONVENTION:
            kinks = np.array(curve.kinks)
            below.plot(kinks, by_hand(curve, kinks, form)[1], **CONVENTION)


def _slope(axes: Axes, curve: Curve, form: Written | None, look: Look) -> None:
    """A derivative, with a filled dot for the value taken at a kink and open ones for the limits that are not."""
    ends = (curve.low, *curve.kinks, curve.high)
    for i, (low, high) in enumerate(itertools.pairwise(ends)):
        piece = np.linspace(low + BESIDE * (i > 0), high - BESIDE * (i < len(curve.kinks)), POINTS)
        axes.plot(piece, by_hand(curve, piece, form)[1], **look)
    for kink in curve.kinks:
        taken, *limits = by_hand(curve, np.array([kink, kink - BESIDE, kink + BESIDE]), form)[1]
        if np.allclose(limits, taken):
            continue  # this form has no kink here
        dot = {"color": look["color"], "markeredgecolor": look["color"], **DOT}
        axes.plot([kink] * 2, limits, **{**dot, "markerfacecolor": "white", "label": LIMIT})
        axes.plot(kink, taken, **{**dot, "label": TAKEN})


SLOPE = 0.1  # of the leaky ReLU's negative side
TARGET = 1.0
DELTA = 1.0  # where Huber's loss becomes linear


def _x(x: float) -> Arrays:
    return {"x": np.array([[x]]), "slope": np.array(SLOPE)}


def _prediction(prediction: float) -> Arrays:
    return {"prediction": np.array([prediction]), "target": np.array([TARGET]), "delta": np.array(DELTA)}


def _of_two(prediction: float) -> Arrays:
    """Two samples, the second on its target: a 1/N that is missing shows."""
    return {"prediction": np.array([prediction, TARGET]), "target": np.array([TARGET, TARGET])}


_BY_ID = {entry.id: entry for entry in ENTRIES}

ACTIVATIONS = (
    Curve(_BY_ID["sigmoid"], "sigmoid", _x, -6.0, 6.0),
    Curve(_BY_ID["tanh"], "tanh", _x, -3.0, 3.0),
    Curve(_BY_ID["relu"], "ReLU", _x, -3.0, 3.0, kinks=(0.0,)),
    Curve(_BY_ID["leaky-relu"], rf"leaky ReLU, $\alpha={SLOPE}$", _x, -3.0, 3.0, kinks=(0.0,)),
)
LOSSES = (
    Curve(_BY_ID["mse"], "squared error, $N=2$", _of_two, -2.0, 4.0),
    Curve(_BY_ID["mae"], "absolute error, $N=2$", _of_two, -2.0, 4.0, kinks=(TARGET,)),
    Curve(_BY_ID["huber"], rf"Huber, $\delta={DELTA:g}$", _prediction, -2.0, 4.0),
    Curve(_BY_ID["binary-cross-entropy"], "binary cross-entropy", _prediction, 0.05, 0.95),
)


def activations() -> Figure:
    """Sigmoid, tanh, ReLU and leaky ReLU with their derivatives."""
    return functions(ACTIVATIONS, "$x$", ("$f(x)$", r"$\mathrm{d}f/\mathrm{d}x$"))


def losses() -> Figure:
    """Mean squared and absolute error, Huber's loss and binary cross-entropy with their derivatives."""
    x = rf"$\hat{{y}}$, for $y={TARGET:g}$"
    return functions(LOSSES, x, ("$L$", r"$\partial L/\partial\hat{y}$"))
