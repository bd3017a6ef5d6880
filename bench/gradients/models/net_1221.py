"""The 1-2-2-1 network with relu units and the squared error: all 13 partials by name, and the matrix form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Trainable, Verdict, Written

PARAMETERS = ("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "b1", "b2", "b3", "b4", "b5")  # arrays of no dimensions
UNITS = ("z1", "z2", "z3", "z4")  # what the four relu units get

SAMPLE: dict[str, float] = {
    "x": 1.5,
    "y": 2.0,
    **dict(zip(PARAMETERS, (1.0, -0.5, 0.75, 0.5, -1.0, 0.25, 1.25, -0.5, 0.5, 0.25, -0.25, 0.5, 0.25), strict=True)),
}
"""A sample and parameters that show each thing once: w1 gets its gradient on two ways, and the second unit is off."""

_ON = dict(zip(PARAMETERS, (0.5, -0.75, 1.25, -1.0, -0.75, 1.5, -1.25, 0.875, 1.0, 0.5, 0.25, 0.5, -0.5), strict=True))
"""Parameters with which all units are on at x = 0, and each of them is off for some x in [-2, 2]; exact in float32."""
_HINGE = dict(zip(PARAMETERS, (1.0, -1.0, 0.75, 0.5, 0.5, 0.75, 0.75, 0.5, 0.25, 0.25, 0.25, 0.25, -0.5), strict=True))
"""Parameters with which one of the first units is on for each sign of x, and the second ones are for all x."""


def values(inputs: Arrays) -> dict[str, Array]:
    """What the network computes for ``x`` [N]: ``z1`` to ``z4``, ``a1`` to ``a4`` and ``y_hat``, [N] each."""
    x = inputs["x"]
    z1 = inputs["w1"] * x + inputs["b1"]
    z2 = inputs["w2"] * x + inputs["b2"]
    a1, a2 = np.maximum(z1, 0), np.maximum(z2, 0)
    z3 = inputs["w3"] * a1 + inputs["w5"] * a2 + inputs["b3"]
    z4 = inputs["w4"] * a1 + inputs["w6"] * a2 + inputs["b4"]
    a3, a4 = np.maximum(z3, 0), np.maximum(z4, 0)
    y_hat = inputs["w7"] * a3 + inputs["w8"] * a4 + inputs["b5"]
    return {"z1": z1, "z2": z2, "a1": a1, "a2": a2, "z3": z3, "z4": z4, "a3": a3, "a4": a4, "y_hat": y_hat}


def loss(inputs: Arrays) -> Array:
    """The squared error, summed over the batch; ``y`` is [N]."""
    return np.asarray(np.sum((inputs["y"] - values(inputs)["y_hat"]) ** 2))


def relu_slope(z: Array) -> Array:
    """1 for z > 0, else 0: at 0 as in PyTorch."""
    return (z > 0).astype(z.dtype)


def partials(inputs: Arrays, g: Array) -> Gradients:
    """The 13 partials, summed over the batch."""
    return by_name(inputs, g, relu_slope)


def partials_with_one_at_zero(inputs: Arrays, g: Array) -> Gradients:
    """The same by the notes' first definition of relu': 1 for z >= 0."""
    return by_name(inputs, g, lambda z: (z >= 0).astype(z.dtype))


def by_name(inputs: Arrays, g: Array, relu: Callable[[Array], Array]) -> Gradients:
    """The 13 partials in the notes' shape, with ``r_i`` [N] the relu's slope at ``z_i``."""
    v = values(inputs)
    x, a1, a2 = inputs["x"], v["a1"], v["a2"]
    r1, r2, r3, r4 = (relu(v[z]) for z in UNITS)
    w3, w4, w5, w6, w7, w8 = (inputs[f"w{i}"] for i in range(3, 9))
    slope = g * -2.0 * (inputs["y"] - v["y_hat"])
    return {
        "w1": np.sum(slope * (w7 * r3 * w3 + w8 * r4 * w4) * r1 * x),
        "w2": np.sum(slope * (w7 * r3 * w5 + w8 * r4 * w6) * r2 * x),
        "w3": np.sum(slope * w7 * r3 * a1),
        "w4": np.sum(slope * w8 * r4 * a1),
        "w5": np.sum(slope * w7 * r3 * a2),
        "w6": np.sum(slope * w8 * r4 * a2),
        "w7": np.sum(slope * v["a3"]),
        "w8": np.sum(slope * v["a4"]),
        "b1": np.sum(slope * (w7 * r3 * w3 + w8 * r4 * w4) * r1),
        "b2": np.sum(slope * (w7 * r3 * w5 + w8 * r4 * w6) * r2),
        "b3": np.sum(slope * w7 * r3),
        "b4": np.sum(slope * w8 * r4),
        "b5": np.sum(slope),
    }


def trace(inputs: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Every number of one sample's way through the network and back, by name: for inputs as in ``SAMPLE``.

    The inputs; ``z1`` to ``z4``, ``a1`` to ``a4``, ``y_hat`` and ``L``; and ``dL/d`` of each of them but ``y``.
    """
    shapes = {"x": (1,), "y": (1,)}
    names = ("x", "y", *PARAMETERS)
    sample = {name: np.asarray(inputs[name], dtype=np.float64).reshape(shapes.get(name, ())) for name in names}
    v = values(sample)
    r1, r2, r3, r4 = (relu_slope(v[z]) for z in UNITS)
    error = sample["y"] - v["y_hat"]
    back = {"y_hat": -2.0 * error}
    back["a3"], back["a4"] = back["y_hat"] * sample["w7"], back["y_hat"] * sample["w8"]
    back["z3"], back["z4"] = back["a3"] * r3, back["a4"] * r4
    back["a1"] = back["z3"] * sample["w3"] + back["z4"] * sample["w4"]
    back["a2"] = back["z3"] * sample["w5"] + back["z4"] * sample["w6"]
    back["z1"], back["z2"] = back["a1"] * r1, back["a2"] * r2
    back["x"] = back["z1"] * sample["w1"] + back["z2"] * sample["w2"]
    forth = {**sample, **v, "L": error**2}
    gradients = {"L": np.ones(()), **back, **partials(sample, np.ones(()))}
    return {
        **{name: value.item() for name, value in forth.items()},
        **{f"dL/d{name}": value.item() for name, value in gradients.items()},
    }


def as_matrices(parameters: Arrays) -> Gradients:
    """``W1`` [2, 2], ``W2`` [2, 3] and ``W3`` [1, 3] of the 13 parameters by name, or of their gradients."""
    rows = {
        "W1": (("w1", "b1"), ("w2", "b2")),
        "W2": (("w3", "w5", "b3"), ("w4", "w6", "b4")),
        "W3": (("w7", "w8", "b5"),),
    }
    return {matrix: np.array([[parameters[name] for name in row] for row in names]) for matrix, names in rows.items()}


def with_ones(columns: Array) -> Array:
    """[N, D] with a last column of ones, which the bias's column of a weight matrix meets: [N, D + 1]."""
    return np.concatenate([columns, np.ones_like(columns[:, :1])], axis=1)


def layers(inputs: Arrays) -> tuple[Array, Array, Array, Array]:
    """What enters each layer, ones included, and the prediction: [N, 2], [N, 3], [N, 3], [N, 1]."""
    first = with_ones(inputs["x"][:, None])
    second = with_ones(np.maximum(first @ inputs["W1"].T, 0))
    third = with_ones(np.maximum(second @ inputs["W2"].T, 0))
    return first, second, third, third @ inputs["W3"].T


def matrix_loss(inputs: Arrays) -> Array:
    """The squared error, summed over the batch, with the parameters in matrices."""
    return np.asarray(np.sum((inputs["y"][:, None] - layers(inputs)[-1]) ** 2))


def matrix_gradient(inputs: Arrays, g: Array) -> Gradients:
    """The gradients of ``W1`` [2, 2], ``W2`` [2, 3] and ``W3`` [1, 3], the bias's in the last column."""
    first, second, third, prediction = layers(inputs)
    at_3 = g * -2.0 * (inputs["y"][:, None] - prediction)
    at_2 = (at_3 @ inputs["W3"][:, :-1]) * (third[:, :-1] > 0)
    at_1 = (at_2 @ inputs["W2"][:, :-1]) * (second[:, :-1] > 0)
    return {"W1": at_1.T @ first, "W2": at_2.T @ second, "W3": at_3.T @ third}


def _torch(t: dict[str, torch.Tensor]) -> torch.Tensor:
    a1, a2 = torch.relu(t["w1"] * t["x"] + t["b1"]), torch.relu(t["w2"] * t["x"] + t["b2"])
    a3 = torch.relu(t["w3"] * a1 + t["w5"] * a2 + t["b3"])
    a4 = torch.relu(t["w4"] * a1 + t["w6"] * a2 + t["b4"])
    return torch.sum((t["y"] - (t["w7"] * a3 + t["w8"] * a4 + t["b5"])) ** 2)


def _torch_matrix(t: dict[str, torch.Tensor]) -> torch.Tensor:
    a = t["x"][:, None]
    for name in ("W1", "W2"):
        a = torch.relu(torch.nn.functional.linear(a, t[name][:, :-1], t[name][:, -1]))
    prediction = torch.nn.functional.linear(a, t["W3"][:, :-1], t["W3"][:, -1])
    return torch.sum((t["y"] - prediction[:, 0]) ** 2)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, name in {1: "one sample", 2: "two samples, as many as units", 7: "7 samples"}.items():
        parameters = {key: np.asarray(value + rng.uniform(-0.2, 0.2)) for key, value in _ON.items()}
        x = np.linspace(-1.5, 1.5, n) + rng.uniform(-0.2, 0.2, n)
        yield Case(name, {**parameters, "x": x, "y": rng.standard_normal(n)})
    x, y = np.array([0.0, 1.0, -2.0]), np.array([0.5, -1.25, 2.0])
    at = {key: np.asarray(value) for key, value in _ON.items()}
    off = {**at, "b1": np.asarray(-1.0), "b2": np.asarray(-1.0)}  # both first units at x = 0, so that z3 = b3, z4 = b4
    for beside, where in ((0.0, "at"), (1e-9, "just above"), (-1e-9, "just below")):
        near = np.asarray(beside)
        yield Case(f"the first layer {where} its kinks", {**at, "b1": near, "b2": near, "x": x, "y": y}, "kink")
        yield Case(f"the second layer {where} its kinks", {**off, "b3": near, "b4": near, "x": x, "y": y}, "kink")
    yield Case("far inputs", {**at, "x": np.array([1e3, -1e3, 0.5]), "y": np.array([-1e3, 10.0, 1.0])}, "extreme")


def _matrix_cases(rng: np.random.Generator) -> Iterator[Case]:
    for case in _cases(rng):
        inputs = {**as_matrices(case.inputs), "x": case.inputs["x"], "y": case.inputs["y"]}
        yield Case(case.name, inputs, case.kind)


_KINK = "each relu where its z is 0: both sides take the slope 0"

NET_1221 = Entry(
    id="net-1-2-2-1",
    title="1-2-2-1 network, relu units, all 13 partials",
    group="model",
    formula=r"L=\sum(y-\hat y)^2,\quad\hat y=w_7a_3+w_8a_4+b_5,\quad a_i=\mathrm{relu}(z_i)",
    corrected_latex=r"\frac{\partial L}{\partial w_1}=\sum L_y\{w_7r_3w_3+w_8r_4w_4\}\,r_1x,\ \ldots,"
    r"\quad L_y=-2(y-\hat y),\ r_i=[z_i>0]",
    forward=loss,
    corrected=partials,
    torch=_torch,
    wrt=PARAMETERS,
    cases=_cases,
    written=(
        Written(
            "13 partials, relu'(0) = 0",
            r"L_y\{w_7r_3w_3+w_8r_4w_4\}\,r_1x,\ \ldots,\quad r_i=[z_i>0]",
            partials,
            remark="the notes write them for one sample; over a batch they are summed",
        ),
        Written(
            "13 partials, relu'(0) = 1",
            r"L_y\{w_7r_3w_3+w_8r_4w_4\}\,r_1x,\ \ldots,\quad r_i=[z_i\ge 0]",
            partials_with_one_at_zero,
            Verdict.CONVENTION,
            "where some z is 0, the notes' first definition of relu' gives 1 and autograd 0",
        ),
    ),
    targets=(by_name, relu_slope),
    kink=_KINK,
)

NET_1221_MATRIX = Entry(
    id="net-1-2-2-1-matrix",
    title="1-2-2-1 network, matrix form with the bias as last column",
    group="model",
    formula=r"L=\sum(y-\hat y)^2,\quad\hat y=W_3\binom{a_2}{1},\ a_2=\mathrm{relu}\Bigl(W_2\binom{a_1}{1}\Bigr),"
    r"\ a_1=\mathrm{relu}\Bigl(W_1\binom{x}{1}\Bigr)",
    corrected_latex=r"\frac{\partial L}{\partial W_l}=\delta_l\binom{a_{l-1}}{1}^{\!\top},\quad\delta_3=-2(y-\hat y),"
    r"\quad\delta_{l-1}=\bigl(W_l'^{\top}\delta_l\bigr)\odot[z_{l-1}>0],"
    r"\quad W_l'=W_l\text{ less its last column}",
    forward=matrix_loss,
    corrected=matrix_gradient,
    torch=_torch_matrix,
    wrt=("W1", "W2", "W3"),
    cases=_matrix_cases,
    targets=(matrix_gradient,),
    kink=_KINK,
)

ENTRIES = (NET_1221, NET_1221_MATRIX)


_X = np.linspace(-1.0, 1.0, 16)

TRAINABLES = (
    Trainable(
        entry=NET_1221,
        parameters=PARAMETERS,
        start=lambda rng: {name: np.asarray(value + rng.uniform(-0.1, 0.1)) for name, value in _HINGE.items()},
        data=lambda: {"x": _X, "y": np.abs(_X)},
        rate=0.002,
        about_data="y = |x| at 16 evenly spaced x in [-1, 1]",
        kink="every unit stays on for some x; samples cross the kinks of the first two, but no z ever comes so near to "
        "0 that rounding could give it another sign on one of the sides",
        margin=lambda inputs: float(min(np.min(np.abs(z)) for name, z in values(inputs).items() if name in UNITS)),
    ),
)
