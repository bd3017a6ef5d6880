"""The linear model and the cubic one, as layers on rows of features, and the chain rule on an activation after one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from bench.gradients.catalogue import draw
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict, Written
from bench.gradients.layers import Cubic, Layer, Linear, ReLU, Sequential, Sigmoid, Tanh
from bench.gradients.through import of_layer


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from draw.linear(rng)
    yield Case("large", {name: 1e3 * value for name, value in draw.rows(rng, 4, 3, 2).items()}, kind="extreme")
    yield Case("large, batch of 1", {k: 1e3 * v for k, v in draw.rows(rng, 1, 3, 2).items()}, kind="extreme")


def _one_sample(case: Case) -> bool:
    return len(case.inputs["x"]) == 1


def _linear_written(inputs: Arrays, g: Array) -> Gradients:
    (x,), (upstream,) = inputs["x"], g
    return {"x": upstream @ inputs["W"][np.newaxis], "W": upstream[:, np.newaxis] * x, "b": upstream * 1}


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="linear",
        title="linear model",
        formula=r"y = Wx + b",
        corrected_latex=r"\frac{\partial L}{\partial W} = \sum_n g_n x_n^{T},\quad"
        r" \frac{\partial L}{\partial x_n} = W^{T} g_n,\quad \frac{\partial L}{\partial b} = \sum_n g_n",
        torch=lambda t: torch.nn.functional.linear(t["x"], t["W"], t["b"]),
        wrt=("x", "W", "b"),
        cases=_cases,
        written=(
            Written(
                "one sample",
                r"\frac{\partial y}{\partial W} = x,\quad \frac{\partial y}{\partial x} = W,\quad"
                r" \frac{\partial y}{\partial b} = 1",
                _linear_written,
                remark="holds for one sample; over a batch the gradients of W and b are the sums of the samples'",
                applies=_one_sample,
            ),
        ),
        **of_layer(Linear, "W", "b"),
    ),
    Entry(
        id="cubic",
        title="cubic model",
        formula=r"y = W x^3 + b",
        corrected_latex=r"\frac{\partial L}{\partial W} = \sum_n g_n (x_n^3)^{T},\quad"
        r" \frac{\partial L}{\partial x_n} = 3 x_n^2 \odot W^{T} g_n,\quad"
        r" \frac{\partial L}{\partial b} = \sum_n g_n",
        torch=lambda t: torch.nn.functional.linear(t["x"] ** 3, t["W"], t["b"]),
        wrt=("x", "W", "b"),
        cases=_cases,
        written=(
            Written(
                "dx",
                r"\frac{\partial y}{\partial x} = 3 W x^2",
                lambda inputs, g: {"x": g @ inputs["W"] * 3 * inputs["x"] ** 2},
            ),
            Written(
                "dW and db as for the linear model",
                r"\frac{\partial y}{\partial W} = x,\quad \frac{\partial y}{\partial b} = 1",
                lambda inputs, g: {name: _linear_written(inputs, g)[name] for name in ("W", "b")},
                Verdict.WRONG,
                "W multiplies the cube, so dW needs x^3 where the linear model has x; db is right",
                applies=_one_sample,
            ),
        ),
        **of_layer(Cubic, "W", "b"),
    ),
)


def _composite_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from draw.linear(rng)
    saturated = {
        "x": np.array([[1.0], [-1.0], [0.25]]),
        "W": np.array([[1e4], [-1e3], [0.5]]),
        "b": np.array([10.0, -10.0, 0.5]),
    }
    yield Case("large", saturated, kind="extreme")


def _kinked_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _composite_cases(rng)
    beside = draw.BESIDE.reshape(-1, 1)
    yield Case("at and beside 0", {"x": np.ones((1, 1)), "W": beside, "b": np.zeros(len(beside))}, kind="kink")
    yield Case("at 0 by difference", {"x": np.array([[2.0]]), "W": np.array([[3.0]]), "b": np.array([-6.0])}, "kink")


def _composite(
    name: str,
    activation: type[Layer],
    counterpart: Callable[[Tensor], Tensor],
    derivative: Callable[[Array], Array],
    latex: str,
    kink: str = "",
) -> Entry:
    """``f(Wx + b)`` for the activation ``f`` and its derivative as the notes write it."""

    def written(inputs: Arrays, g: Array) -> Gradients:
        inner = inputs["x"] @ inputs["W"].T + inputs["b"]
        return {"W": np.einsum("no,ni->oi", g * derivative(inner), inputs["x"])}

    return Entry(
        id=f"composite-{name}",
        title=f"{name} of a linear model",
        formula=rf"f(g(W)),\quad f = {latex},\quad g(W) = Wx + b",
        corrected_latex=r"\delta_n = g_n \odot f'(W x_n + b),\quad \frac{\partial L}{\partial W} ="
        r" \sum_n \delta_n x_n^{T},\quad \frac{\partial L}{\partial x_n} = W^{T} \delta_n,\quad"
        r" \frac{\partial L}{\partial b} = \sum_n \delta_n",
        torch=lambda t: counterpart(torch.nn.functional.linear(t["x"], t["W"], t["b"])),
        wrt=("x", "W", "b"),
        cases=_kinked_cases if kink else _composite_cases,
        written=(
            Written(
                "chain",
                r"f'(g(w)) \cdot \frac{\partial g}{\partial w}",
                written,
                remark="over a batch, the sum of the samples'",
            ),
        ),
        kink=kink,
        **of_layer(lambda w, b: Sequential([Linear(w, b), activation()]), "W", "b", targets=(Linear, activation)),
    )


def _sigmoid_derivative(z: Array) -> Array:
    y = 1 / (1 + np.exp(-z))
    return np.asarray(y * (1 - y))


COMPOSITES: tuple[Entry, ...] = (
    _composite("sigmoid", Sigmoid, torch.sigmoid, _sigmoid_derivative, r"\sigma"),
    _composite("tanh", Tanh, torch.tanh, lambda z: 1 - np.tanh(z) ** 2, r"\tanh"),
    _composite(
        "relu",
        ReLU,
        torch.relu,
        lambda z: z > 0,
        r"\operatorname{relu}",
        kink="where Wx + b = 0: both take 0 for the rectifier's derivative",
    ),
)
