"""The activations: sigmoid, tanh, relu, leaky relu and softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from bench.gradients.catalogue import draw
from bench.gradients.catalogue.through import forward_of, gradient_of
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict, Written
from bench.gradients.layers import LeakyReLU, ReLU, Sigmoid, Softmax, Tanh


def _smooth_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, x in draw.arrays(rng):
        yield Case(name, {"x": 2 * x})
    yield Case("large", {"x": draw.LARGE}, kind="extreme")


def _relu_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, x in draw.arrays(rng):
        yield Case(name, {"x": x})
    yield Case("at and beside 0", {"x": draw.BESIDE}, kind="kink")
    yield Case("large", {"x": draw.LARGE}, kind="extreme")


def _leaky_relu_cases(rng: np.random.Generator) -> Iterator[Case]:
    slopes = (0.01, 0.3, 1.5, -0.2, 0.1, 0.01)
    for (name, x), slope in zip(draw.arrays(rng), slopes, strict=True):
        yield Case(name, {"x": x, "slope": np.array(slope)})
    yield Case("at and beside 0", {"x": draw.BESIDE, "slope": np.array(0.3)}, kind="kink")
    yield Case("large", {"x": draw.LARGE, "slope": np.array(0.01)}, kind="extreme")


def _softmax_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, x in draw.arrays(rng):
        yield Case(name, {"x": 2 * x})
    large = np.array([[1e4, -1e4, 0.0], [1e4, 1e4 + 1, 1e4 - 1], [-1e4, -1e4, -1e4]])
    yield Case("large", {"x": large}, kind="extreme")


def _leaky_relu(inputs: Arrays) -> LeakyReLU:
    return LeakyReLU(inputs["slope"])


def _times(derivative: Callable[[Arrays], Array]) -> Callable[[Arrays, Array], Gradients]:
    """The written derivative of an element, times the upstream gradient."""
    return lambda inputs, g: {"x": derivative(inputs) * g}


def _sigmoid_derivation(inputs: Arrays) -> Array:
    y = 1 / (1 + np.exp(-inputs["x"]))
    return np.asarray(y * (1 - y))


def _sigmoid_class(inputs: Arrays) -> Array:
    return np.asarray(-((1 + np.exp(-inputs["x"])) ** -2))


def _tanh_quotient(inputs: Arrays) -> Array:
    up, down = np.exp(inputs["x"]), np.exp(-inputs["x"])
    return np.asarray(1 - (up - down) ** 2 / (up + down) ** 2)


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="sigmoid",
        title="sigmoid",
        group="building block",
        formula=r"\sigma(x) = \frac{1}{1 + e^{-x}}",
        corrected_latex=r"\sigma'(x) = \sigma(x)\,(1 - \sigma(x))",
        forward=forward_of(lambda _: Sigmoid()),
        corrected=gradient_of(lambda _: Sigmoid()),
        torch=lambda t: torch.sigmoid(t["x"]),
        wrt=("x",),
        cases=_smooth_cases,
        written=(
            Written(
                name="derivation",
                latex=r"\sigma'(x) = \sigma(x)\,(1 - \sigma(x))",
                gradient=_times(_sigmoid_derivation),
                expected=Verdict.AGREES,
            ),
            Written(
                name="class",
                latex=r"-\left(1 + e^{-x}\right)^{-2} \cdot g",
                gradient=_times(_sigmoid_class),
                expected=Verdict.WRONG,
                cause="the inner derivative -e^-x is left out: the sign is wrong and a factor is missing",
            ),
        ),
        targets=(Sigmoid._backward,),
    ),
    Entry(
        id="tanh",
        title="hyperbolic tangent",
        group="building block",
        formula=r"\tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}",
        corrected_latex=r"\tanh'(x) = 1 - \tanh^2 x",
        forward=forward_of(lambda _: Tanh()),
        corrected=gradient_of(lambda _: Tanh()),
        torch=lambda t: torch.tanh(t["x"]),
        wrt=("x",),
        cases=_smooth_cases,
        written=(
            Written(
                name="quotient",
                latex=r"1 - \frac{(e^x - e^{-x})^2}{(e^x + e^{-x})^2}",
                gradient=_times(_tanh_quotient),
                expected=Verdict.AGREES,
                remark="overflows to NaN for |x| beyond 354 in float64 and beyond 44 in float32",
                overflows=True,
            ),
        ),
        targets=(Tanh._backward,),
    ),
    Entry(
        id="relu",
        title="rectifier",
        group="building block",
        formula=r"\operatorname{relu}(x) = \max(0, x)",
        corrected_latex=r"\operatorname{relu}'(x) = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}",
        forward=forward_of(lambda _: ReLU()),
        corrected=gradient_of(lambda _: ReLU()),
        torch=lambda t: torch.relu(t["x"]),
        wrt=("x",),
        cases=_relu_cases,
        written=(
            Written(
                name="first source",
                latex=r"\operatorname{relu}'(x) = \begin{cases} 1 & x \ge 0 \\ 0 & x < 0 \end{cases}",
                gradient=_times(lambda i: np.where(i["x"] >= 0, i["x"].dtype.type(1), 0)),
                expected=Verdict.CONVENTION,
                cause="at 0, where there is no derivative, this form takes 1 and autograd 0",
            ),
            Written(
                name="second source",
                latex=r"\operatorname{relu}'(x) = \begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases}",
                gradient=_times(lambda i: np.where(i["x"] > 0, i["x"].dtype.type(1), 0)),
                expected=Verdict.AGREES,
            ),
        ),
        targets=(ReLU._backward,),
        kink="at x = 0: both take 0",
    ),
    Entry(
        id="leaky-relu",
        title="leaky rectifier",
        group="building block",
        formula=r"\operatorname{leaky}(x) = \begin{cases} x & x > 0 \\ \alpha x & x \le 0 \end{cases}",
        corrected_latex=r"\operatorname{leaky}'(x) = \begin{cases} 1 & x > 0 \\ \alpha & x \le 0 \end{cases}",
        forward=forward_of(_leaky_relu),
        corrected=gradient_of(_leaky_relu),
        torch=lambda t: torch.nn.functional.leaky_relu(t["x"], t["slope"].item()),
        wrt=("x",),
        cases=_leaky_relu_cases,
        written=(
            Written(
                name="derivation",
                latex=r"\operatorname{leaky}'(x) = \begin{cases} 1 & x > 0 \\ \alpha & \text{else} \end{cases}",
                gradient=_times(lambda i: np.where(i["x"] > 0, 1, i["slope"])),
                expected=Verdict.AGREES,
            ),
        ),
        targets=(LeakyReLU._backward,),
        kink="at x = 0: both take the slope of the negative side",
    ),
    Entry(
        id="softmax",
        title="softmax over the last axis",
        group="building block",
        formula=r"y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}",
        corrected_latex=r"\frac{\partial y_j}{\partial x_i} = y_j (\delta_{ij} - y_i),\quad"
        r" \frac{\partial L}{\partial x_i} = y_i \Bigl(g_i - \sum_j g_j y_j\Bigr)",
        forward=forward_of(lambda _: Softmax()),
        corrected=gradient_of(lambda _: Softmax()),
        torch=lambda t: torch.softmax(t["x"], dim=-1),
        wrt=("x",),
        cases=_softmax_cases,
        targets=(Softmax._backward,),
    ),
)
