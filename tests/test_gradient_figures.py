"""The figures show what is computed, are the same each time, and disturb nothing and nobody."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text
from PIL import Image
from torch.nn import functional

from bench.gradients.entry import Array
from bench.gradients.figures import Drawn, arm, entries, figures
from bench.gradients.figures.curves import MARKERS, curves, marked
from bench.gradients.figures.entries import OURS, THEIRS, WRONG, WRONG_TOO, Curve, functions
from bench.gradients.figures.graph import BACKWARD, FORWARD, graph, shown
from bench.gradients.models import house, robot_arm
from bench.gradients.models.net_1221 import SAMPLE, trace
from bench.gradients.models.robot_arm import START
from bench.gradients.models.robot_arm_motion import Form, simulate
from bench.gradients.outcome import Outcome
from bench.gradients.parity import Parity, train
from bench.render.figurestyle import PALE, TEXT_WIDTH, scientific, thesis

FIGURES = ("activations", "losses", "parity", "robot-arm", "backpropagation")


@cache
def some_parities() -> tuple[Parity, ...]:
    """Short trainings, of one panel more than a row has."""
    trainables = (*house.TRAINABLES[:2], *robot_arm.TRAINABLES)
    return tuple(train(dataclasses.replace(trainable, epochs=30, optimum=None)) for trainable in trainables)


def an_outcome(**change: Any) -> Outcome:
    fields = {"findings": (), "parities": some_parities(), "claims": (), "made_with": "", "seconds": 1.0}
    return Outcome(**{**fields, **change})


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    made = figures(an_outcome())
    assert [figure.name for figure in made] == list(FIGURES)
    return made


def test_each_pdf_is_one_page_of_text_width_with_its_fonts_and_each_png_as_wide(drawn: list[Drawn]) -> None:
    for figure in drawn:
        data = figure.files["pdf"]
        assert data.startswith(b"%PDF-"), figure.name
        assert re.findall(rb"/Type /Pages /Kids \[ \d+ 0 R \] /Count (\d+)", data) == [b"1"], figure.name
        boxes = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", data)
        assert [float(width) for width in boxes] == [pytest.approx(72 * TEXT_WIDTH)], figure.name
        assert data.count(b"/FontDescriptor /FontName") == data.count(b"/FontFile2 ") > 0, figure.name
        assert b"/Type3" not in data, figure.name
        assert b"CreationDate" not in data, figure.name
        with Image.open(io.BytesIO(figure.files["png"])) as image:
            image.load()
            assert image.width == round(200 * TEXT_WIDTH), figure.name
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255), figure.name


def test_without_trainings_there_is_no_figure_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.gradients.figures.drawn", lambda *_: b"")
    made = [figure.name for figure in figures(an_outcome(parities=()))]
    assert made == [name for name in FIGURES if name != "parity"]
    with pytest.raises(ValueError, match="at least one panel"):
        curves([])


def test_another_process_without_a_display_and_with_settings_of_its_own_draws_the_same_bytes(
    drawn: list[Drawn],
) -> None:
    code = """
import sys
import matplotlib as mpl
import tests.test_gradient_figures as t
mpl.rcParams.update({"font.size": 30.0, "axes.grid": False, "pdf.fonttype": 3, "lines.linewidth": 9.0})
before = dict(mpl.rcParams)
print(t.digest(t.figures(t.an_outcome())))
assert dict(mpl.rcParams) == before
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    kept = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    environment = {**kept, "PYTHONHASHSEED": "12345", "MPLBACKEND": "tkagg", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, check=True, capture_output=True)
    assert done.stdout.decode().strip() == digest(drawn)


def digest(made: list[Drawn]) -> str:
    return hashlib.sha256(repr(made).encode()).hexdigest()


MAKERS: dict[str, Callable[[], Figure]] = {
    "activations": entries.activations,
    "losses": entries.losses,
    "parity": lambda: curves(some_parities()),
    "robot-arm": arm.arm,
    "backpropagation": lambda: graph(trace(SAMPLE)),
}


@cache
def made(name: str) -> Figure:
    """A figure laid out, as it is saved."""
    with thesis():
        figure = MAKERS[name]()
        figure.draw_without_rendering()
    return figure


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that is seen, tick labels beyond the axes' ends left out."""
    yield from figure.texts
    for legend in figure.legends:
        yield from legend.get_texts()
    for axes in figure.axes:
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            yield from (tick.label1 for tick in axis.get_major_ticks() if axes.axison and low <= tick.get_loc() <= high)


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_meets_another_or_leaves_the_page(name: str) -> None:
    figure = made(name)
    boxes = {text: text.get_window_extent() for text in texts(figure) if text.get_text()}
    assert len(boxes) > 20
    outside = [
        text.get_text()
        for text, box in boxes.items()
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]
    assert outside == []
    meeting = [(a.get_text(), b.get_text()) for a, b in combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]
    assert meeting == []


def lines(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_label() == label]


def points(found: list[Line2D]) -> tuple[Array, Array]:
    """The data of all lines, one after the other."""
    x, y = (np.concatenate([np.asarray(line.get_data()[i], dtype=float) for line in found]) for i in (0, 1))
    return x, y


def by_torch(function: Callable[[torch.Tensor], torch.Tensor], x: Array) -> tuple[Array, Array]:
    leaf = torch.tensor(x, requires_grad=True)
    value = function(leaf)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach().numpy(), slope.numpy()


ONE = torch.ones((), dtype=torch.float64)
FUNCTIONS: dict[tuple[str, int], Callable[[torch.Tensor], torch.Tensor]] = {
    ("activations", 0): torch.sigmoid,
    ("activations", 1): torch.tanh,
    ("activations", 2): torch.relu,
    ("activations", 3): lambda x: functional.leaky_relu(x, entries.SLOPE),
    ("losses", 0): lambda x: functional.mse_loss(x, ONE.expand_as(x), reduction="none") / 2,
    ("losses", 1): lambda x: functional.l1_loss(x, ONE.expand_as(x), reduction="none") / 2,
    ("losses", 2): lambda x: functional.huber_loss(x, ONE.expand_as(x), reduction="none"),
    ("losses", 3): lambda x: functional.binary_cross_entropy(x, ONE.expand_as(x), reduction="none"),
}


def test_the_panels_show_the_functions_and_their_derivatives() -> None:
    for (name, column), function in FUNCTIONS.items():
        above, below = made(name).axes[column], made(name).axes[4 + column]
        for label in (OURS["label"], THEIRS["label"]):
            x, y = points(lines(above, label))
            np.testing.assert_allclose(y, by_torch(function, x)[0], rtol=1e-12, atol=1e-12)
            x, y = points(lines(below, label))
            np.testing.assert_allclose(y, by_torch(function, x)[1], rtol=1e-12, atol=1e-12)
            assert len(x) >= 13


def slopes(name: str, column: int, label: str) -> tuple[Array, Array]:
    return points(lines(made(name).axes[4 + column], label))


def test_what_the_notes_have_wrong_is_drawn_as_it_is_wrong() -> None:
    x, y = slopes("activations", 0, WRONG["label"])
    np.testing.assert_allclose(y, -((1 / (1 + np.exp(-x))) ** 2), rtol=1e-12)
    x, y = slopes("losses", 0, WRONG["label"])
    np.testing.assert_allclose(y, 2 * (x - 1), rtol=1e-12)
    x, y = slopes("losses", 1, WRONG["label"])
    np.testing.assert_array_equal(y, np.where(x < 1, 1, -1))
    x, y = slopes("losses", 1, WRONG_TOO["label"])
    np.testing.assert_array_equal(y, np.full_like(x, -0.5))
    x, y = points(lines(made("losses").axes[1], WRONG_TOO["label"]))
    np.testing.assert_allclose(y, (1 - x) / 2, atol=1e-12)
    for axes in (*made("activations").axes[:4], *made("losses").axes[:4]):
        assert lines(axes, WRONG["label"]) == [], "these differ in the derivative alone"


Dots = list[tuple[float, float]]
KINKS: dict[tuple[str, int], tuple[Dots, Dots]] = {
    ("activations", 0): ([], []),
    ("activations", 2): ([(0, 0)], [(0, 0), (0, 1)]),
    ("activations", 3): ([(0, 0.1)], [(0, 0.1), (0, 1)]),
    ("losses", 1): ([(1, 0)], [(1, -1), (1, -0.5), (1, 0.5), (1, 1)]),
    ("losses", 2): ([], []),
}


def test_dots_show_the_value_at_a_kink_and_the_limits() -> None:
    for (name, column), both in KINKS.items():
        for label, expected in zip(("value at a kink", "limit at a kink"), both, strict=True):
            found = lines(made(name).axes[4 + column], label)
            dots = {tuple(map(float, dot)) for dot in (zip(*points(found), strict=True) if found else ())}
            assert sorted(dot for dot in dots if not np.isnan(dot[1])) == [pytest.approx(dot) for dot in expected]


def test_another_convention_stands_apart_from_what_is_wrong() -> None:
    np.testing.assert_array_equal(slopes("activations", 2, "as written, another convention"), [[0], [1]])
    assert lines(made("activations").axes[6], WRONG["label"]) == []


def test_a_form_for_which_there_is_no_look_is_not_left_out_in_silence() -> None:
    curve = entries.ACTIVATIONS[0]
    wrong = curve.entry.written[1]
    entry = dataclasses.replace(curve.entry, written=(wrong, wrong, wrong))
    with pytest.raises(ValueError, match="zip"):
        functions([Curve(entry, "", curve.inputs, curve.low, curve.high)], "", ("", ""))


def test_the_loss_curves_are_those_of_the_trainings() -> None:
    figure = made("parity")
    for axes, parity in zip(figure.axes, some_parities(), strict=True):
        (ours,), (theirs,) = lines(axes, OURS["label"]), lines(axes, THEIRS["label"])
        np.testing.assert_array_equal(ours.get_data(), (np.arange(1, 31), parity.losses))
        epochs, values = points([theirs])
        np.testing.assert_array_equal(values, np.array(parity.torch_losses)[epochs.astype(int) - 1])
        assert epochs[-1] == 30
        assert axes.get_xscale() == "log"
        assert axes.get_title() == parity.trainable.entry.id
        assert [text.get_text() for text in axes.texts] == [rf"$\Delta\leq{scientific(parity.worst)}$"]


INF, NAN = float("inf"), float("nan")


def test_a_curve_is_logarithmic_where_that_shows_more() -> None:
    losses: list[tuple[tuple[float, ...], str]] = [
        ((4.0, 2.0, 1.0), "linear"),
        ((40.0, 2.0, 1.0), "log"),
        ((1e3, 1.0, 1e-3), "log"),
        ((2.0, 1e-15, 1e-31), "log"),
        ((40.0, 1.0, 0.0), "linear"),
        ((40.0, 1.0, -1.0), "linear"),
        ((5.0, 5.0, 5.0), "linear"),
        ((0.5,), "linear"),
        ((1.0, 1e200, INF), "log"),
        ((1.0, 2.0, NAN), "linear"),
        ((NAN, NAN), "linear"),
    ]
    for made_up, scale in losses:
        parity = dataclasses.replace(some_parities()[0], losses=made_up, torch_losses=made_up, worst=INF)
        with thesis():
            figure = curves([parity])
            figure.draw_without_rendering()
        (axes,) = figure.axes
        assert axes.get_yscale() == scale, made_up
        assert axes.get_xscale() == "linear", made_up
        low, high = sorted(axes.yaxis.get_view_interval())
        assert len([tick for tick in axes.get_yticks() if low <= tick <= high]) <= 8, made_up


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5000))
def test_the_first_and_the_last_epoch_are_marked(epochs: int) -> None:
    chosen = marked(epochs)
    assert (chosen[0], chosen[-1]) == (1, epochs)
    assert len(chosen) <= MARKERS
    assert (np.diff(chosen) > 0).all()


def test_the_arms_are_those_of_the_simulation() -> None:
    for row, target in enumerate(arm.TARGETS.values()):
        runs = {form: simulate(form, START, target, arm.STEPS, arm.RATE) for form in arm.FORMS}
        corrected, written, distances = made("robot-arm").axes[3 * row : 3 * row + 3]
        for axes, form in ((corrected, Form.ABSOLUTE), (written, Form.LOOP)):
            *poses, tip, goal, base = axes.lines
            assert len(poses) == len(arm.SHOWN)
            for pose, step in zip(poses, arm.SHOWN, strict=True):
                np.testing.assert_array_equal(pose.get_data(), runs[form].joints[step].T)
            np.testing.assert_array_equal(tip.get_data(), runs[form].joints[:, -1].T)
            np.testing.assert_array_equal(points([goal]), target[:, None])
            np.testing.assert_array_equal(points([base]), np.zeros((2, 1)))
            shades = [pose.get_alpha() or 0.0 for pose in poses]
            assert shades == sorted(shades)
        for form, run in runs.items():
            (line,) = lines(distances, form.value)
            np.testing.assert_array_equal(line.get_ydata(), run.distances)


def test_one_target_is_within_reach_and_one_is_not() -> None:
    within, beyond = arm.TARGETS.values()
    run = simulate(Form.ABSOLUTE, START, within, arm.STEPS, arm.RATE)
    assert np.linalg.norm(within) < arm.reach(run) < np.linalg.norm(beyond)
    assert arm.reach(run) == pytest.approx(len(START))


def test_the_graph_shows_every_number_of_the_trace() -> None:
    numbers = trace(SAMPLE)
    found: dict[str, list[str]] = {FORWARD: [], BACKWARD: []}
    for text in made("backpropagation").axes[0].texts:
        found.setdefault(to_hex(text.get_color()).upper(), []).append(text.get_text())
    values = [name for name in numbers if not name.startswith("dL/")]
    parameters = [name for name in values if name[0] in "wb"]
    expected = [f"${shown(numbers[name])}$" for name in values if name not in parameters]
    expected += [f"${name[0]}_{name[1]}={shown(numbers[name])}$" for name in parameters]
    assert sorted(found[FORWARD]) == sorted(expected)
    expected = [f"${shown(value)}$" for name, value in numbers.items() if name.startswith("dL/")]
    expected += [f"$r_{i}={int(numbers[f'z{i}'] > 0)}$" for i in range(1, 5)]
    assert sorted(found[BACKWARD]) == sorted(expected)


def test_no_gradient_passes_a_unit_that_is_off() -> None:
    units: list[tuple[str, set[str]]] = [("b1", {"w1", "b1"}), ("b4", {"w4", "w6", "b4"}), ("b5", set())]
    for dead, pale in units:
        alive = {"b1": 10.0, "b2": 10.0, "b3": 100.0, "b4": 100.0}
        with thesis():
            figure = graph(trace({**SAMPLE, **alive, dead: -1000.0}))
        arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
        colours = [to_hex(arrow.get_edgecolor()).upper() for arrow in arrows]
        assert colours.count(PALE) == len(pale) + 1, "and one in the key"
        assert colours.count(BACKWARD) == 8 + 5 + 1 - len(pale) + 1
        assert colours.count(FORWARD) == 8 + 5 + 2 + 1


def test_numbers_have_two_digits_and_a_power_of_ten_or_three_digits() -> None:
    powers = {0.0: "0", INF: r"\infty", 2.5e-16: r"2.5\times10^{-16}", 9.96: r"1.0\times10^{1}"}
    assert {value: scientific(value) for value in powers} == powers
    assert scientific(NAN) == r"\infty"
    digits = {-0.0: "0", 1.0: "1", -1.2890625: "-1.29", 0.9375: "0.938", 1234.5: "1.23e+03"}
    assert {value: shown(value) for value in digits} == digits
