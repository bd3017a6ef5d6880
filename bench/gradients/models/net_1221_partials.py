"""The 1-2-2-1 network with relu units and the squared error: all 13 partial derivatives by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bench.gradients.entry import Array, Arrays, Gradients

PARAMETERS = ("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "b1", "b2", "b3", "b4", "b5")
"""Arrays of no dimensions."""

SAMPLE: dict[str, float] = {
    "x": 1.5,
    "y": 2.0,
    **dict(zip(PARAMETERS, (1.0, -0.5, 0.75, 0.5, -1.0, 0.25, 1.25, -0.5, 0.5, 0.25, -0.25, 0.5, 0.25), strict=True)),
}
"""A sample and parameters that show each thing once: w1 gets its gradient on two ways, and the second unit is off."""


class Values(NamedTuple):
    """What the network computes for a batch: [N] each."""

    z1: Array
    z2: Array
    a1: Array
    a2: Array
    z3: Array
    z4: Array
    a3: Array
    a4: Array
    y_hat: Array

    @property
    def before_relu(self) -> tuple[Array, Array, Array, Array]:
        """What the four units get."""
        return self.z1, self.z2, self.z3, self.z4


def values(inputs: Arrays) -> Values:
    """For the inputs ``x`` [N] and the parameters."""
    x = inputs["x"]
    z1 = inputs["w1"] * x + inputs["b1"]
    z2 = inputs["w2"] * x + inputs["b2"]
    a1, a2 = np.maximum(z1, 0), np.maximum(z2, 0)
    z3 = inputs["w3"] * a1 + inputs["w5"] * a2 + inputs["b3"]
    z4 = inputs["w4"] * a1 + inputs["w6"] * a2 + inputs["b4"]
    a3, a4 = np.maximum(z3, 0), np.maximum(z4, 0)
    return Values(z1, z2, a1, a2, z3, z4, a3, a4, inputs["w7"] * a3 + inputs["w8"] * a4 + inputs["b5"])


def loss(inputs: Arrays) -> Array:
    """The squared error, summed over the batch; ``y`` is [N]."""
    return np.asarray(np.sum((inputs["y"] - values(inputs).y_hat) ** 2))


def relu_slope(z: Array) -> Array:
    """1 for z > 0, else 0: at 0 as in PyTorch."""
    return (z > 0).astype(z.dtype)


def partials(inputs: Arrays, g: Array) -> Gradients:
    """The 13 partials, summed over the batch."""
    v = values(inputs)
    return by_name(inputs, g, v, *(relu_slope(z) for z in v.before_relu))


def partials_with_one_at_zero(inputs: Arrays, g: Array) -> Gradients:
    """The same by the notes' first definition of relu': 1 for z >= 0."""
    v = values(inputs)
    return by_name(inputs, g, v, *((z >= 0).astype(z.dtype) for z in v.before_relu))


def by_name(inputs: Arrays, g: Array, v: Values, r1: Array, r2: Array, r3: Array, r4: Array) -> Gradients:
    """The 13 partials in the notes' shape, with ``r_i`` [N] the relu's slope at ``z_i``."""
    x, a1, a2 = inputs["x"], v.a1, v.a2
    w3, w4, w5, w6, w7, w8 = (inputs[f"w{i}"] for i in range(3, 9))
    slope = g * -2.0 * (inputs["y"] - v.y_hat)
    return {
        "w1": np.sum(slope * (w7 * r3 * w3 + w8 * r4 * w4) * r1 * x),
        "w2": np.sum(slope * (w7 * r3 * w5 + w8 * r4 * w6) * r2 * x),
        "w3": np.sum(slope * w7 * r3 * a1),
        "w4": np.sum(slope * w8 * r4 * a1),
        "w5": np.sum(slope * w7 * r3 * a2),
        "w6": np.sum(slope * w8 * r4 * a2),
        "w7": np.sum(slope * v.a3),
        "w8": np.sum(slope * v.a4),
        "b1": np.sum(slope * (w7 * r3 * w3 + w8 * r4 * w4) * r1),
        "b2": np.sum(slope * (w7 * r3 * w5 + w8 * r4 * w6) * r2),
        "b3": np.sum(slope * w7 * r3),
        "b4": np.sum(slope * w8 * r4),
        "b5": np.sum(slope),
    }


def trace(inputs: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Every number of one sample's way through the network and back, by name.

    Args:
        inputs: numbers, or arrays of one, for ``x``, ``y`` and each parameter, as in ``SAMPLE``.

    Returns:
        The inputs; ``z1`` to ``z4``, ``a1`` to ``a4``, ``y_hat`` and ``L``; and ``dL/d`` of each of them but ``y``.
    """
    shapes = {"x": (1,), "y": (1,)}
    names = ("x", "y", *PARAMETERS)
    sample = {name: np.asarray(inputs[name], dtype=np.float64).reshape(shapes.get(name, ())) for name in names}
    v = values(sample)
    r1, r2, r3, r4 = map(relu_slope, v.before_relu)
    error = sample["y"] - v.y_hat
    back = {"y_hat": -2.0 * error}
    back["a3"], back["a4"] = back["y_hat"] * sample["w7"], back["y_hat"] * sample["w8"]
    back["z3"], back["z4"] = back["a3"] * r3, back["a4"] * r4
    back["a1"] = back["z3"] * sample["w3"] + back["z4"] * sample["w4"]
    back["a2"] = back["z3"] * sample["w5"] + back["z4"] * sample["w6"]
    back["z1"], back["z2"] = back["a1"] * r1, back["a2"] * r2
    back["x"] = back["z1"] * sample["w1"] + back["z2"] * sample["w2"]
    forth = {**sample, **v._asdict(), "L": error**2}
    gradients = {"L": np.ones(()), **back, **partials(sample, np.ones(()))}
    return {
        **{name: value.item() for name, value in forth.items()},
        **{f"dL/d{name}": value.item() for name, value in gradients.items()},
    }
