"""The robot arm on its way to a target: by the corrected gradients, and by the written ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from bench.gradients.models.robot_arm import START
from bench.gradients.models.robot_arm_motion import Form, Trajectory, simulate
from bench.render.figurestyle import BLACK, BLUE, GREY, VERMILLION, WINE, a_figure

STEPS = 200
RATE = 0.02
TARGETS = {"within reach": np.array([-3.0, 2.5]), "out of reach": np.array([-3.0, 4.5])}
"""Two targets for an arm of five segments of length 1."""
SHOWN = (0, 3, 6, 10, 16, 25, STEPS)  # the iterations whose arms are drawn, the later the darker

FORMS: dict[Form, dict[str, Any]] = {
    Form.ABSOLUTE: {"color": BLUE, "linestyle": "-", "linewidth": 1.4},
    Form.LOOP: {"color": VERMILLION, "linestyle": (0, (4, 1.6)), "linewidth": 1.4},
    Form.FACTOR: {"color": WINE, "linestyle": (0, (1, 1.2)), "linewidth": 1.4},
    Form.STALE: {"color": GREY, "linestyle": (0, (5, 1.2, 1, 1.2)), "linewidth": 1.1},
}
"""The forms whose distances are drawn; the arms of the first two are."""

TIP: dict[str, Any] = {"color": BLACK, "linewidth": 0.7, "zorder": 4}
BASE: dict[str, Any] = {"color": BLACK, "marker": "s", "markersize": 3.5, "linestyle": "none", "zorder": 5}
_CROSS: dict[str, Any] = {"marker": "X", "markersize": 6.5, "markeredgecolor": "white", "markeredgewidth": 0.7}
GOAL: dict[str, Any] = {**BASE, **_CROSS, "zorder": 6}
REACH: dict[str, Any] = {"color": GREY, "linewidth": 0.7, "linestyle": (0, (1, 1.5))}


def arm() -> Figure:
    """A row for each target: the arms by the corrected gradients, those by the written ones, and the distances."""
    figure = a_figure(3.75)
    grid = figure.add_gridspec(2, 3, width_ratios=(1, 1, 1.05))
    for row, (name, target) in enumerate(TARGETS.items()):
        runs = {form: simulate(form, START, target, STEPS, RATE) for form in FORMS}
        for column, form in enumerate((Form.ABSOLUTE, Form.LOOP)):
            axes = figure.add_subplot(grid[row, column])
            _arms(axes, runs[form])
            axes.set_title(form.value if row == 0 else "")
            axes.set_ylabel(f"target {name}" if column == 0 else "")
        axes = figure.add_subplot(grid[row, 2])
        for form, run in runs.items():
            axes.plot(run.distances, label=form.value, **FORMS[form])
        axes.axhline(max(0.0, float(np.linalg.norm(target)) - reach(run)), **REACH)
        axes.set_xlim(0, STEPS)
        axes.set_ylim(bottom=0)
        axes.set_title("distance of the tip from the target" if row == 0 else "")
        axes.set_xlabel("iteration" if row == 1 else "")
    handles = [Line2D([], [], label=form.value, **look) for form, look in FORMS.items()]
    for label, look in (("target", GOAL), ("path of the tip", TIP), ("base", BASE), ("limit of reach", REACH)):
        handles.append(Line2D([], [], label=label, **look))
    figure.legend(handles=handles, loc="outside upper center", ncols=4, columnspacing=1.2)
    return figure


def reach(trajectory: Trajectory) -> float:
    """How far the stretched arm gets: the sum of its segments' lengths."""
    return float(np.linalg.norm(np.diff(trajectory.joints[0], axis=0), axis=1).sum())


def _arms(axes: Axes, run: Trajectory) -> None:
    colour = FORMS[run.form]["color"]
    for i, step in enumerate(SHOWN, start=1):
        alpha = 0.15 + 0.85 * (i / len(SHOWN)) ** 1.5
        axes.plot(*run.joints[step].T, color=colour, alpha=alpha, linewidth=1.2, marker="o", markersize=1.9, zorder=3)
    axes.plot(*run.joints[:, -1].T, **TIP)
    axes.plot(*run.target, **GOAL)
    axes.plot(*run.joints[0, 0], **BASE)
    limit = reach(run)
    axes.add_patch(Circle((0, 0), limit, fill=False, **REACH))
    axes.set_xlim(-1.06 * limit, 1.06 * limit)
    axes.set_ylim(-0.3 * limit, 1.15 * limit)
    axes.set_aspect("equal")
    axes.set_xticks((-limit, 0, limit))
    axes.set_yticks((0, limit))
