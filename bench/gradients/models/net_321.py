"""The 3-2-1 network with sigmoid units: all 11 partial derivatives by name.

``w_ij`` leads from input i (1 to 3) to hidden unit j (1 or 2), and ``b_j`` is that unit's bias; ``v_j`` leads from it
to the output, whose bias is ``c``. The notes call the output's weights ``w`` too, and the activations ``z``: ``z_1j``
those of the hidden units, which are ``a_j`` here, and ``z`` the prediction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Trainable, Verdict, Written
from bench.gradients.layers.activations import logistic

PARAMETERS = ("w11", "w21", "w31", "w12", "w22", "w32", "b1", "b2", "v1", "v2", "c")  # arrays of no dimensions


def activations(inputs: Arrays) -> tuple[Array, Array, Array]:
    """Of the two hidden units and of the output, [N] each, for the inputs ``x`` [N, 3] and the parameters."""
    x1, x2, x3 = inputs["x"].T
    a1 = logistic(inputs["w11"] * x1 + inputs["w21"] * x2 + inputs["w31"] * x3 + inputs["b1"])
    a2 = logistic(inputs["w12"] * x1 + inputs["w22"] * x2 + inputs["w32"] * x3 + inputs["b2"])
    return a1, a2, logistic(inputs["v1"] * a1 + inputs["v2"] * a2 + inputs["c"])


def loss(inputs: Arrays) -> Array:
    """Half the squared error, summed over the batch; ``t`` is [N]."""
    return np.asarray(np.sum((activations(inputs)[2] - inputs["t"]) ** 2) / 2)


def partials(inputs: Arrays, g: Array) -> Gradients:
    """The 11 partials, summed over the batch."""
    a1, a2, z = activations(inputs)
    return by_name(inputs, a1, a2, g * (z - inputs["t"]) * z * (1 - z))


def by_name(inputs: Arrays, a1: Array, a2: Array, at_output: Array) -> Gradients:
    """The 11 partials from the loss's derivative by what enters the output unit, [N]."""
    x1, x2, x3 = inputs["x"].T
    at_1 = at_output * inputs["v1"] * a1 * (1 - a1)
    at_2 = at_output * inputs["v2"] * a2 * (1 - a2)
    return {
        "w11": np.sum(at_1 * x1),
        "w21": np.sum(at_1 * x2),
        "w31": np.sum(at_1 * x3),
        "w12": np.sum(at_2 * x1),
        "w22": np.sum(at_2 * x2),
        "w32": np.sum(at_2 * x3),
        "b1": np.sum(at_1),
        "b2": np.sum(at_2),
        "v1": np.sum(at_output * a1),
        "v2": np.sum(at_output * a2),
        "c": np.sum(at_output),
    }


def sigmoid_twice(inputs: Arrays, g: Array) -> Gradients:
    """With the line's ``sigma(z) (1 - sigma(z))`` for the output's slope in all partials, which all contain it."""
    a1, a2, z = activations(inputs)
    return by_name(inputs, a1, a2, g * (z - inputs["t"]) * logistic(z) * (1 - logistic(z)))


def _torch(t: dict[str, torch.Tensor]) -> torch.Tensor:
    first = torch.stack([torch.stack([t[f"w{i}{j}"] for i in (1, 2, 3)]) for j in (1, 2)])
    hidden = torch.nn.functional.linear(t["x"], first, torch.stack([t["b1"], t["b2"]]))
    output = torch.sigmoid(hidden) @ torch.stack([t["v1"], t["v2"]]) + t["c"]
    return torch.sum((torch.sigmoid(output) - t["t"]) ** 2) / 2


def _parameters(rng: np.random.Generator, size: float) -> Gradients:
    return {name: np.asarray(rng.uniform(-size, size)) for name in PARAMETERS}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    names = {1: "one sample", 2: "two samples, as many as units", 3: "three samples, as many as inputs", 7: "7 samples"}
    for n, name in names.items():
        data = {"x": rng.standard_normal((n, 3)), "t": rng.uniform(0.0, 1.0, n)}
        yield Case(name, {**_parameters(rng, 1.5), **data})
    far = {"x": np.array([[1e3, -1e3, 1e3], [0.5, -0.25, 0.75]]), "t": np.array([1.0, 0.25])}
    yield Case("a sample that saturates both units", {**_parameters(rng, 1.0), **far}, "extreme")


NET_321 = Entry(
    id="net-3-2-1",
    title="3-2-1 network, sigmoid units, all 11 partials",
    group="model",
    formula=r"L=\tfrac12(z-t)^2,\quad z=\sigma(v_1a_1+v_2a_2+c),\quad a_j=\sigma\Bigl(\sum_i w_{ij}x_i+b_j\Bigr)",
    corrected_latex=r"\frac{\partial L}{\partial w_{ij}}=(z-t)\,z(1-z)\,v_j\,a_j(1-a_j)\,x_i,\quad"
    r"\frac{\partial L}{\partial b_j}=(z-t)\,z(1-z)\,v_j\,a_j(1-a_j),\quad"
    r"\frac{\partial L}{\partial v_j}=(z-t)\,z(1-z)\,a_j,\quad\frac{\partial L}{\partial c}=(z-t)\,z(1-z)",
    forward=loss,
    corrected=partials,
    torch=_torch,
    wrt=PARAMETERS,
    cases=_cases,
    written=(
        Written(
            "11 partials",
            r"\frac{\partial L}{\partial w_{11}}=(z-t)\,w\,z(1-z)\,z_{11}(1-z_{11})\,x_1,\ \ldots",
            partials,
        ),
        Written(
            "one line",
            r"(z-t)\,\sigma(z)(1-\sigma(z))\cdots",
            sigmoid_twice,
            Verdict.WRONG,
            "z is the activation already, so the slope is z(1-z): the line applies the sigmoid twice",
        ),
    ),
    targets=(partials, by_name),
)


_CORNERS = np.array(list(itertools.product((0.0, 1.0), repeat=3)))

ENTRIES = (NET_321,)
TRAINABLES = (
    Trainable(
        entry=NET_321,
        parameters=PARAMETERS,
        start=lambda rng: _parameters(rng, 1.0),
        data=lambda: {"x": _CORNERS, "t": (_CORNERS.sum(axis=1) >= 2).astype(np.float64)},
        batched=("x", "t"),
        rate=0.5,
        about_data="the 8 corners of the unit cube; the target is 1 where at least two inputs are 1, else 0",
    ),
)
