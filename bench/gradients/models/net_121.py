"""The 1-2-1 network with given numbers: the derivative of its output by its input, over a range of inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients
from bench.gradients.layers.activations import logistic

W1, B1 = -1.75, -0.1
W2, B2 = 0.172, 0.15
W3, W4, B3 = 0.25, 0.5, 0.2


def hidden(x: Array) -> tuple[Array, Array]:
    """The activations of the two sigmoid units, each of the shape of ``x``."""
    return logistic(W1 * x + B1), logistic(W2 * x + B2)


def output(inputs: Arrays) -> Array:
    """``z3`` for every ``x`` [N]: [N]."""
    a1, a2 = hidden(inputs["x"])
    return W3 * a1 + W4 * a2 + B3


def slope(inputs: Arrays, g: Array) -> Gradients:
    """``dz3/dx`` by the chain rule, a sum over the two ways from the input to the output."""
    a1, a2 = hidden(inputs["x"])
    return {"x": g * (W3 * a1 * (1 - a1) * W1 + W4 * a2 * (1 - a2) * W2)}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("one input", {"x": rng.uniform(-2.0, 2.0, 1)})
    yield Case("two inputs, as many as units", {"x": rng.uniform(-2.0, 2.0, 2)})
    yield Case("a range of inputs", {"x": np.linspace(-10.0, 10.0, 201)})
    yield Case("both units saturated, and one that is not", {"x": np.array([-1e4, -1e3, 0.25, 1e3, 1e4])}, "extreme")


# The derivations state the network and what is asked of it, and spell out no formula: there is no written form.
NET_121 = Entry(
    id="net-1-2-1",
    title="1-2-1 network, slope of the output",
    group="model",
    formula=r"z_3=0.25\,\sigma(-1.75x-0.1)+0.5\,\sigma(0.172x+0.15)+0.2",
    corrected_latex=r"\frac{dz_3}{dx}=0.25\,a_1(1-a_1)\cdot(-1.75)+0.5\,a_2(1-a_2)\cdot 0.172",
    forward=output,
    corrected=slope,
    torch=lambda t: W3 * torch.sigmoid(W1 * t["x"] + B1) + W4 * torch.sigmoid(W2 * t["x"] + B2) + B3,
    cases=_cases,
    targets=(slope,),
)

ENTRIES = (NET_121,)
TRAINABLES = ()
