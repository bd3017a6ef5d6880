"""The chain rule on a linear model with an activation after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from bench.gradients.catalogue import draw
from bench.gradients.catalogue.through import forward_of, gradient_of
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradient, Gradients, Verdict, Written
from bench.gradients.layers import Layer, Linear, ReLU, Sequential, Sigmoid, Tanh


def _entry(
    name: str,
    activation: Callable[[], Layer],
    counterpart: Callable[[Tensor], Tensor],
    derivative: Callable[[Array], Array],
    targets: tuple[Callable[..., Array], ...],
    latex: str,
    kink: str = "",
) -> Entry:
    """``f(Wx + b)`` for the activation ``f`` and its derivative as the notes write it."""

    def build(inputs: Arrays) -> Layer:
        return Sequential([Linear(inputs["W"], inputs["b"]), activation()])

    def written(inputs: Arrays, g: Array) -> Gradients:
        inner = inputs["x"] @ inputs["W"].T + inputs["b"]
        return {"W": np.einsum("no,ni->oi", g * derivative(inner), inputs["x"])}

    return Entry(
        id=f"composite-{name}",
        title=f"{name} of a linear model",
        group="building block",
        formula=rf"f(g(W)),\quad f = {latex},\quad g(W) = Wx + b",
        corrected_latex=r"\delta_n = g_n \odot f'(W x_n + b),\quad \frac{\partial L}{\partial W} ="
        r" \sum_n \delta_n x_n^{T},\quad \frac{\partial L}{\partial x_n} = W^{T} \delta_n,\quad"
        r" \frac{\partial L}{\partial b} = \sum_n \delta_n",
        forward=forward_of(build),
        corrected=_renamed(gradient_of(build)),
        torch=lambda t: counterpart(torch.nn.functional.linear(t["x"], t["W"], t["b"])),
        wrt=("x", "W", "b"),
        cases=_kinked_cases if kink else _cases,
        written=(
            Written(
                name="chain",
                latex=r"f'(g(w)) \cdot \frac{\partial g}{\partial w}",
                gradient=written,
                expected=Verdict.AGREES,
                remark="over a batch, the sum of the samples'",
            ),
        ),
        targets=(Linear._backward, *targets),
        kink=kink,
    )


def _renamed(gradient: Gradient) -> Gradient:
    """The first layer's parameters under their own names, without its place."""
    return lambda inputs, g: {name.removeprefix("0."): value for name, value in gradient(inputs, g).items()}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, inputs in draw.linear(rng):
        yield Case(name, inputs)
    saturated = {
        "x": np.array([[1.0], [-1.0], [0.25]]),
        "W": np.array([[1e4], [-1e3], [0.5]]),
        "b": np.array([10.0, -10.0, 0.5]),
    }
    yield Case("large", saturated, kind="extreme")


def _kinked_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _cases(rng)
    beside = draw.BESIDE.reshape(-1, 1)
    yield Case("at and beside 0", {"x": np.ones((1, 1)), "W": beside, "b": np.zeros(len(beside))}, kind="kink")
    yield Case("at 0 by difference", {"x": np.array([[2.0]]), "W": np.array([[3.0]]), "b": np.array([-6.0])}, "kink")


def _sigmoid_derivative(z: Array) -> Array:
    y = 1 / (1 + np.exp(-z))
    return np.asarray(y * (1 - y))


ENTRIES: tuple[Entry, ...] = (
    _entry("sigmoid", Sigmoid, torch.sigmoid, _sigmoid_derivative, (Sigmoid._backward,), r"\sigma"),
    _entry("tanh", Tanh, torch.tanh, lambda z: 1 - np.tanh(z) ** 2, (Tanh._backward,), r"\tanh"),
    _entry(
        "relu",
        ReLU,
        torch.relu,
        lambda z: z > 0,
        (ReLU._backward,),
        r"\operatorname{relu}",
        kink="where Wx + b = 0: both take 0 for the rectifier's derivative",
    ),
)
