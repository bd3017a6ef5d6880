"""How a layer or a loss of ours stands in the catalogue: its forward and backward as functions of a case's inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.gradients.entry import Array, Arrays, Gradient, Gradients
from bench.gradients.layers import Layer, Loss


def forward_of(build: Callable[[Arrays], Layer], x: str = "x") -> Callable[[Arrays], Array]:
    """The output of the layer that ``build`` makes of a case's inputs, for the input named ``x``."""
    return lambda inputs: build(inputs).forward(inputs[x])


def gradient_of(build: Callable[[Arrays], Layer], x: str = "x") -> Gradient:
    """The gradients of ``x`` and of every parameter, by the parameters' names.

    The upstream gradient comes in two parts, so that a layer which overwrites a gradient instead of adding to it is
    found out.
    """

    def gradient(inputs: Arrays, g: Array) -> Gradients:
        layer = build(inputs)
        layer.forward(inputs[x])
        part = g * g.dtype.type(0.375)
        dx = layer.backward(part) + layer.backward(g - part)
        return {x: dx, **{name: parameter.grad for name, parameter in layer.parameters().items()}}

    return gradient


def loss_of(
    build: Callable[[Arrays], Loss], prediction: str = "prediction", target: str = "target"
) -> Callable[[Arrays], Array]:
    """The value of the loss that ``build`` makes of a case's inputs."""
    return lambda inputs: build(inputs).forward(inputs[prediction], inputs[target])


def loss_gradient_of(
    build: Callable[[Arrays], Loss], prediction: str = "prediction", target: str = "target"
) -> Gradient:
    """The gradient of the predictions, times the upstream gradient of the loss."""

    def gradient(inputs: Arrays, g: Array) -> Gradients:
        loss = build(inputs)
        loss.forward(inputs[prediction], inputs[target])
        return {prediction: np.asarray(loss.backward() * g)}

    return gradient
