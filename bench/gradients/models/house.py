"""House prices from one feature: a linear, a sigmoid and a cubic model under the mean squared error."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradient, Gradients, Trainable, Verdict, Written
from bench.gradients.layers.activations import logistic
from bench.gradients.layers.variable import checked, number
from bench.gradients.models import data

Model = Callable[[Arrays], Array]


def linear(inputs: Arrays) -> Array:
    """``h = b + W x`` for features ``x`` [N] and numbers ``W`` and ``b``: [N]."""
    w, b, x = _checked(inputs)
    return b + w * x


def sigmoid(inputs: Arrays) -> Array:
    """``h = 1 / (1 + exp(-(b + W x)))``: [N]."""
    return logistic(linear(inputs))


def cubic(inputs: Arrays) -> Array:
    """``h = b + W x³``: [N]."""
    w, b, x = _checked(inputs)
    return b + w * x**3


def linear_gradient(inputs: Arrays, g: Array) -> Gradients:
    """``(2/N) Σ (h - y) {x, 1}``."""
    delta = g * 2 * (linear(inputs) - inputs["y"]) / inputs["x"].size
    return {"W": np.sum(delta * inputs["x"]), "b": np.sum(delta)}


def sigmoid_gradient(inputs: Arrays, g: Array) -> Gradients:
    """``(2/N) Σ (h - y) h(1 - h) {x, 1}``."""
    h = sigmoid(inputs)
    delta = g * 2 * (h - inputs["y"]) * h * (1 - h) / inputs["x"].size
    return {"W": np.sum(delta * inputs["x"]), "b": np.sum(delta)}


def cubic_gradient(inputs: Arrays, g: Array) -> Gradients:
    """``(2/N) Σ (h - y) {x³, 1}``."""
    delta = g * 2 * (cubic(inputs) - inputs["y"]) / inputs["x"].size
    return {"W": np.sum(delta * inputs["x"] ** 3), "b": np.sum(delta)}


def cubic_as_linear(inputs: Arrays, g: Array) -> Gradients:
    """The notes' "the same as for the linear model": ``(2/N) Σ (h - y) {x, 1}``."""
    delta = g * 2 * (cubic(inputs) - inputs["y"]) / inputs["x"].size
    return {"W": np.sum(delta * inputs["x"]), "b": np.sum(delta)}


def _checked(inputs: Arrays) -> tuple[float, float, Array]:
    x = checked("x of the house model", inputs["x"], ndim=1)
    checked("y of the house model", inputs["y"], shape=x.shape, dtype=x.dtype)
    return number("W of the house model", inputs["W"]), number("b of the house model", inputs["b"]), x


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, name in {1: "batch of 1", 2: "2 samples", 7: "7 samples", 20: "20 samples"}.items():
        x, y = rng.uniform(-2, 2, n), rng.uniform(0, 1, n)
        weight, bias = np.array(rng.uniform(0.5, 1.5)), np.array(rng.uniform(-1, 1))
        yield Case(name, {"x": x, "y": y, "W": weight, "b": bias})
    far = {"x": np.array([-1e3, -1.0, 0.5, 1e3]), "y": np.array([0.25, 1.0, 0.0, 0.75])}
    yield Case("far from 0", {**far, "W": np.array(1.5), "b": np.array(0.25)}, "extreme")


def _latex(slope: str, feature: str) -> str:
    """Both partials, with the slope of the activation and what W multiplies."""
    delta = rf"\frac{{2}}{{N}}\sum_{{i}}(h_i-y_i){slope}"
    return rf"\frac{{\partial L}}{{\partial W}}={delta}\,{feature},\quad\frac{{\partial L}}{{\partial b}}={delta}"


_LINEAR_LATEX, _SIGMOID_LATEX = _latex("", "x_i"), _latex(r"\,h_i(1-h_i)", "x_i")


def _entry(
    name: str,
    formula: str,
    model: Model,
    gradient: Gradient,
    by_torch: Callable[..., torch.Tensor],
    latex: str,
    form: Written | None = None,
) -> Entry:
    return Entry(
        id=f"house-{name}",
        title=f"house prices, {name} model, MSE",
        group="model",
        formula=r"L=\frac{1}{N}\sum_{i}(h_i-y_i)^2,\quad " + formula,
        corrected_latex=latex,
        forward=lambda inputs: np.asarray(np.mean((model(inputs) - inputs["y"]) ** 2)),
        corrected=gradient,
        torch=lambda t: functional.mse_loss(by_torch(t["W"], t["b"], t["x"]), t["y"]),
        wrt=("W", "b"),
        cases=_cases,
        targets=(gradient,),
        written=(form or Written("chain", latex, gradient),),
    )


LINEAR = _entry("linear", r"h=b+Wx", linear, linear_gradient, lambda w, b, x: b + w * x, _LINEAR_LATEX)
SIGMOID = _entry(
    "sigmoid", r"h=\sigma(b+Wx)", sigmoid, sigmoid_gradient, lambda w, b, x: torch.sigmoid(b + w * x), _SIGMOID_LATEX
)
CUBIC = _entry(
    "cubic",
    r"h=b+Wx^3",
    cubic,
    cubic_gradient,
    lambda w, b, x: b + w * x**3,
    _latex("", "x_i^3"),
    Written(
        "as for the linear model",
        _LINEAR_LATEX,
        cubic_as_linear,
        Verdict.WRONG,
        "dW keeps the linear model's factor x where the cubic model has x cubed; db is right",
    ),
)

ENTRIES = (LINEAR, SIGMOID, CUBIC)


def _start(rng: np.random.Generator) -> Gradients:
    return {"W": np.array(rng.normal()), "b": np.array(rng.normal())}


def _data() -> dict[str, Array]:
    features, prices = data.houses()
    return {"x": data.scaled(features)[:, 0], "y": prices[:, 0]}


def _optimum(power: int) -> Gradients:
    """The least squares of the prices by this power of the areas."""
    x, y = _data().values()
    (w, b), *_ = np.linalg.lstsq(np.stack([x**power, np.ones_like(x)], axis=1), y)
    return {"W": np.array(w), "b": np.array(b)}


def _trainable(
    entry: Entry, batch_size: int | None, rate: float, optimum: Callable[[], Gradients] | None = None
) -> Trainable:
    about = data.ABOUT_HOUSES
    return Trainable(entry, ("W", "b"), _start, _data, rate, about, batch_size=batch_size, optimum=optimum)


TRAINABLES = (
    _trainable(LINEAR, None, 0.4, lambda: _optimum(1)),
    _trainable(SIGMOID, 5, 0.5),
    _trainable(CUBIC, None, 0.6, lambda: _optimum(3)),
)
