"""House prices from one feature: a linear, a sigmoid and a cubic model under the mean squared error."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict, Written
from bench.gradients.layers.activations import logistic
from bench.gradients.layers.variable import checked, number
from bench.gradients.models import data
from bench.gradients.models.scaling import normalise, ranges_of
from bench.gradients.trainable import Trainable


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


def linear_loss(inputs: Arrays) -> Array:
    """The mean squared error of the linear model, a number."""
    return np.asarray(np.mean((linear(inputs) - inputs["y"]) ** 2))


def sigmoid_loss(inputs: Arrays) -> Array:
    """The mean squared error of the sigmoid model, a number."""
    return np.asarray(np.mean((sigmoid(inputs) - inputs["y"]) ** 2))


def cubic_loss(inputs: Arrays) -> Array:
    """The mean squared error of the cubic model, a number."""
    return np.asarray(np.mean((cubic(inputs) - inputs["y"]) ** 2))


def _checked(inputs: Arrays) -> tuple[float, float, Array]:
    x = checked("x of the house model", inputs["x"], ndim=1)
    checked("y of the house model", inputs["y"], shape=x.shape, dtype=x.dtype)
    return number("W of the house model", inputs["W"]), number("b of the house model", inputs["b"]), x


def _torch_linear(t: dict[str, torch.Tensor]) -> torch.Tensor:
    return functional.mse_loss(t["b"] + t["W"] * t["x"], t["y"])


def _torch_sigmoid(t: dict[str, torch.Tensor]) -> torch.Tensor:
    return functional.mse_loss(torch.sigmoid(t["b"] + t["W"] * t["x"]), t["y"])


def _torch_cubic(t: dict[str, torch.Tensor]) -> torch.Tensor:
    return functional.mse_loss(t["b"] + t["W"] * t["x"] ** 3, t["y"])


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, name in {1: "batch of 1", 2: "2 samples", 7: "7 samples", 20: "20 samples"}.items():
        yield Case(
            name,
            {
                "x": rng.uniform(-2, 2, n),
                "y": rng.uniform(0, 1, n),
                "W": np.array(rng.uniform(0.5, 1.5)),
                "b": np.array(rng.uniform(-1, 1)),
            },
        )
    far = {"x": np.array([-1e3, -1.0, 0.5, 1e3]), "y": np.array([0.25, 1.0, 0.0, 0.75])}
    yield Case("far from 0", {**far, "W": np.array(1.5), "b": np.array(0.25)}, "extreme")


def _start(rng: np.random.Generator) -> Gradients:
    return {"W": np.array(rng.normal()), "b": np.array(rng.normal())}


def _data() -> dict[str, Array]:
    houses = data.houses()
    return {"x": normalise(houses.features, ranges_of(houses.features))[:, 0], "y": houses.targets[:, 0]}


def _least_squares(feature: Array, y: Array) -> Gradients:
    (w, b), *_ = np.linalg.lstsq(np.stack([feature, np.ones_like(feature)], axis=1), y)
    return {"W": np.array(w), "b": np.array(b)}


def _linear_optimum() -> Gradients:
    found = _data()
    return _least_squares(found["x"], found["y"])


def _cubic_optimum() -> Gradients:
    found = _data()
    return _least_squares(found["x"] ** 3, found["y"])


_LINEAR_LATEX = (
    r"\frac{\partial L}{\partial W}=\frac{2}{N}\sum_{i}(h_i-y_i)\,x_i,\quad"
    r"\frac{\partial L}{\partial b}=\frac{2}{N}\sum_{i}(h_i-y_i)"
)
_SIGMOID_LATEX = (
    r"\frac{\partial L}{\partial W}=\frac{2}{N}\sum_{i}(h_i-y_i)\,h_i(1-h_i)\,x_i,\quad"
    r"\frac{\partial L}{\partial b}=\frac{2}{N}\sum_{i}(h_i-y_i)\,h_i(1-h_i)"
)
_CUBIC_LATEX = (
    r"\frac{\partial L}{\partial W}=\frac{2}{N}\sum_{i}(h_i-y_i)\,x_i^3,\quad"
    r"\frac{\partial L}{\partial b}=\frac{2}{N}\sum_{i}(h_i-y_i)"
)
_LOSS_LATEX = r"L=\frac{1}{N}\sum_{i}(h_i-y_i)^2,\quad "

LINEAR = Entry(
    id="house-linear",
    title="house prices, linear model, MSE",
    group="model",
    formula=_LOSS_LATEX + r"h=b+Wx",
    corrected_latex=_LINEAR_LATEX,
    forward=linear_loss,
    corrected=linear_gradient,
    torch=_torch_linear,
    wrt=("W", "b"),
    cases=_cases,
    written=(Written("chain", _LINEAR_LATEX, linear_gradient, Verdict.AGREES),),
    targets=(linear_gradient,),
)

SIGMOID = Entry(
    id="house-sigmoid",
    title="house prices, sigmoid model, MSE",
    group="model",
    formula=_LOSS_LATEX + r"h=\sigma(b+Wx)",
    corrected_latex=_SIGMOID_LATEX,
    forward=sigmoid_loss,
    corrected=sigmoid_gradient,
    torch=_torch_sigmoid,
    wrt=("W", "b"),
    cases=_cases,
    written=(Written("chain", _SIGMOID_LATEX, sigmoid_gradient, Verdict.AGREES),),
    targets=(sigmoid_gradient,),
)

CUBIC = Entry(
    id="house-cubic",
    title="house prices, cubic model, MSE",
    group="model",
    formula=_LOSS_LATEX + r"h=b+Wx^3",
    corrected_latex=_CUBIC_LATEX,
    forward=cubic_loss,
    corrected=cubic_gradient,
    torch=_torch_cubic,
    wrt=("W", "b"),
    cases=_cases,
    written=(
        Written(
            "as for the linear model",
            _LINEAR_LATEX,
            cubic_as_linear,
            Verdict.WRONG,
            "dW keeps the linear model's factor x where the cubic model has x cubed; db is right",
        ),
    ),
    targets=(cubic_gradient,),
)

ENTRIES = (LINEAR, SIGMOID, CUBIC)


def _trainable(
    entry: Entry, batch_size: int | None, rate: float, optimum: Callable[[], Gradients] | None = None
) -> Trainable:
    about = data.ABOUT_HOUSES
    return Trainable(entry, ("W", "b"), _start, _data, ("x", "y"), batch_size, 300, rate, about, optimum=optimum)


TRAINABLES = (
    _trainable(LINEAR, None, 0.4, _linear_optimum),
    _trainable(SIGMOID, 5, 0.5),
    _trainable(CUBIC, None, 0.6, _cubic_optimum),
)
