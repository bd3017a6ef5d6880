"""The linear model and the cubic one, as layers on rows of features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bench.gradients.catalogue import draw
from bench.gradients.catalogue.through import forward_of, gradient_of
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict, Written
from bench.gradients.layers import Cubic, Linear


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, inputs in draw.linear(rng):
        yield Case(name, inputs)
    yield Case("large", {name: 1e3 * value for name, value in draw.rows(rng, 4, 3, 2).items()}, kind="extreme")
    yield Case("large, batch of 1", {k: 1e3 * v for k, v in draw.rows(rng, 1, 3, 2).items()}, kind="extreme")


def _one_sample(case: Case) -> bool:
    return len(case.inputs["x"]) == 1


def _linear(inputs: Arrays) -> Linear:
    return Linear(inputs["W"], inputs["b"])


def _cubic(inputs: Arrays) -> Cubic:
    return Cubic(inputs["W"], inputs["b"])


def _linear_written(inputs: Arrays, g: Array) -> Gradients:
    (x,), (upstream,) = inputs["x"], g
    return {"x": upstream @ inputs["W"][np.newaxis], "W": upstream[:, np.newaxis] * x, "b": upstream * 1}


def _cubic_written_input(inputs: Arrays, g: Array) -> Gradients:
    return {"x": g @ inputs["W"] * 3 * inputs["x"] ** 2}


def _cubic_written_parameters(inputs: Arrays, g: Array) -> Gradients:
    linear = _linear_written(inputs, g)
    return {"W": linear["W"], "b": linear["b"]}


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="linear",
        title="linear model",
        group="building block",
        formula=r"y = Wx + b",
        corrected_latex=r"\frac{\partial L}{\partial W} = \sum_n g_n x_n^{T},\quad"
        r" \frac{\partial L}{\partial x_n} = W^{T} g_n,\quad \frac{\partial L}{\partial b} = \sum_n g_n",
        forward=forward_of(_linear),
        corrected=gradient_of(_linear),
        torch=lambda t: torch.nn.functional.linear(t["x"], t["W"], t["b"]),
        wrt=("x", "W", "b"),
        cases=_cases,
        written=(
            Written(
                name="one sample",
                latex=r"\frac{\partial y}{\partial W} = x,\quad \frac{\partial y}{\partial x} = W,\quad"
                r" \frac{\partial y}{\partial b} = 1",
                gradient=_linear_written,
                expected=Verdict.AGREES,
                remark="holds for one sample; over a batch the gradients of W and b are the sums of the samples'",
                applies=_one_sample,
            ),
        ),
        targets=(Linear._backward,),
    ),
    Entry(
        id="cubic",
        title="cubic model",
        group="building block",
        formula=r"y = W x^3 + b",
        corrected_latex=r"\frac{\partial L}{\partial W} = \sum_n g_n (x_n^3)^{T},\quad"
        r" \frac{\partial L}{\partial x_n} = 3 x_n^2 \odot W^{T} g_n,\quad"
        r" \frac{\partial L}{\partial b} = \sum_n g_n",
        forward=forward_of(_cubic),
        corrected=gradient_of(_cubic),
        torch=lambda t: torch.nn.functional.linear(t["x"] ** 3, t["W"], t["b"]),
        wrt=("x", "W", "b"),
        cases=_cases,
        written=(
            Written(
                name="dx",
                latex=r"\frac{\partial y}{\partial x} = 3 W x^2",
                gradient=_cubic_written_input,
                expected=Verdict.AGREES,
            ),
            Written(
                name="dW and db as for the linear model",
                latex=r"\frac{\partial y}{\partial W} = x,\quad \frac{\partial y}{\partial b} = 1",
                gradient=_cubic_written_parameters,
                expected=Verdict.WRONG,
                cause="W multiplies the cube, so dW needs x^3 where the linear model has x; db is right",
                applies=_one_sample,
            ),
        ),
        targets=(Cubic._backward,),
    ),
)
