"""The activations: sigmoid, tanh, relu, leaky relu and softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from bench.gradients.catalogue import draw
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradient, Verdict, Written
from bench.gradients.layers import LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from bench.gradients.through import of_layer


def _smooth_cases(rng: np.random.Generator, large: Array = draw.LARGE) -> Iterator[Case]:
    yield from (Case(name, {"x": 2 * x}) for name, x in draw.arrays(rng))
    yield Case("large", {"x": large}, kind="extreme")


def _relu_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from (Case(name, {"x": x}) for name, x in draw.arrays(rng))
    yield Case("at and beside 0", {"x": draw.BESIDE}, kind="kink")
    yield Case("large", {"x": draw.LARGE}, kind="extreme")


def _leaky_relu_cases(rng: np.random.Generator) -> Iterator[Case]:
    slopes = (0.01, 0.3, 1.5, -0.2, 0.1, 0.01, 0.3, 0.01)
    for case, slope in zip(_relu_cases(rng), slopes, strict=True):
        yield Case(case.name, {**case.inputs, "slope": np.array(slope)}, case.kind)


def _times(derivative: Callable[[Arrays], Array]) -> Gradient:
    return lambda inputs, g: {"x": derivative(inputs) * g}


def _sigmoid_derivation(inputs: Arrays) -> Array:
    y = 1 / (1 + np.exp(-inputs["x"]))
    return np.asarray(y * (1 - y))


def _tanh_quotient(inputs: Arrays) -> Array:
    up, down = np.exp(inputs["x"]), np.exp(-inputs["x"])
    return np.asarray(1 - (up - down) ** 2 / (up + down) ** 2)


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="sigmoid",
        title="sigmoid",
        formula=r"\sigma(x) = \frac{1}{1 + e^{-x}}",
        corrected_latex=r"\sigma'(x) = \sigma(x)\,(1 - \sigma(x))",
        torch=lambda t: torch.sigmoid(t["x"]),
        cases=_smooth_cases,
        written=(
            Written("derivation", r"\sigma'(x) = \sigma(x)\,(1 - \sigma(x))", _times(_sigmoid_derivation)),
            Written(
                "class",
                r"-\left(1 + e^{-x}\right)^{-2} \cdot g",
                _times(lambda i: -((1 + np.exp(-i["x"])) ** -2)),
                Verdict.WRONG,
                "the inner derivative -e^-x is left out: the sign is wrong and a factor is missing",
            ),
        ),
        **of_layer(Sigmoid),
    ),
    Entry(
        id="tanh",
        title="hyperbolic tangent",
        formula=r"\tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}",
        corrected_latex=r"\tanh'(x) = 1 - \tanh^2 x",
        torch=lambda t: torch.tanh(t["x"]),
        cases=_smooth_cases,
        written=(
            Written(
                "quotient",
                r"1 - \frac{(e^x - e^{-x})^2}{(e^x + e^{-x})^2}",
                _times(_tanh_quotient),
                remark="overflows to NaN for |x| beyond 354 in float64 and beyond 44 in float32",
                overflows=True,
            ),
        ),
        **of_layer(Tanh),
    ),
    Entry(
        id="relu",
        title="rectifier",
        formula=r"\operatorname{relu}(x) = \max(0, x)",
        corrected_latex=r"\operatorname{relu}'(x) = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}",
        torch=lambda t: torch.relu(t["x"]),
        cases=_relu_cases,
        written=(
            Written(
                "first source",
                r"\operatorname{relu}'(x) = \begin{cases} 1 & x \ge 0 \\ 0 & x < 0 \end{cases}",
                _times(lambda i: np.where(i["x"] >= 0, i["x"].dtype.type(1), 0)),
                Verdict.CONVENTION,
                "at 0, where there is no derivative, this form takes 1 and autograd 0",
            ),
            Written(
                "second source",
                r"\operatorname{relu}'(x) = \begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases}",
                _times(lambda i: np.where(i["x"] > 0, i["x"].dtype.type(1), 0)),
            ),
        ),
        kink="at x = 0: both take 0",
        **of_layer(ReLU),
    ),
    Entry(
        id="leaky-relu",
        title="leaky rectifier",
        formula=r"\operatorname{leaky}(x) = \begin{cases} x & x > 0 \\ \alpha x & x \le 0 \end{cases}",
        corrected_latex=r"\operatorname{leaky}'(x) = \begin{cases} 1 & x > 0 \\ \alpha & x \le 0 \end{cases}",
        torch=lambda t: torch.nn.functional.leaky_relu(t["x"], t["slope"].item()),
        cases=_leaky_relu_cases,
        written=(
            Written(
                "derivation",
                r"\operatorname{leaky}'(x) = \begin{cases} 1 & x > 0 \\ \alpha & \text{else} \end{cases}",
                _times(lambda i: np.where(i["x"] > 0, 1, i["slope"])),
            ),
        ),
        kink="at x = 0: both take the slope of the negative side",
        **of_layer(LeakyReLU, "slope"),
    ),
    Entry(
        id="softmax",
        title="softmax over the last axis",
        formula=r"y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}",
        corrected_latex=r"\frac{\partial y_j}{\partial x_i} = y_j (\delta_{ij} - y_i),\quad"
        r" \frac{\partial L}{\partial x_i} = y_i \Bigl(g_i - \sum_j g_j y_j\Bigr)",
        torch=lambda t: torch.softmax(t["x"], dim=-1),
        cases=lambda rng: _smooth_cases(rng, np.array([[1e4, -1e4, 0], [1e4, 1e4 + 1, 1e4 - 1], [-1e4, -1e4, -1e4]])),
        **of_layer(Softmax),
    ),
)
