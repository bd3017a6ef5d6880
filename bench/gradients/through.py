"""How layers, losses and networks of ours stand in an entry: its ``forward``, ``corrected`` and ``targets``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.gradients.entry import Array, Arrays, Gradients
from bench.gradients.layers import Layer, Loss


def of_layer(build: Callable[..., Layer], *arguments: str, targets: tuple[type[Layer], ...] = ()) -> dict[str, Any]:
    """Fields of the entry of a layer: its output for the input ``x``, and the gradients of ``x`` and its parameters.

    It is built of the inputs that ``arguments`` name; ``targets`` are its parts, if it is not one class.
    """

    def made(inputs: Arrays) -> Layer:
        return build(*(inputs[name] for name in arguments))

    def gradient(inputs: Arrays, g: Array) -> Gradients:
        layer = made(inputs)
        layer.forward(inputs["x"])
        dx = _in_two_parts(layer, g)
        # A layer in a Sequential has its place before its parameters' names.
        parameters = {name.removeprefix("0."): parameter.grad for name, parameter in layer.parameters().items()}
        return {"x": dx, **parameters}

    return {
        "forward": lambda inputs: made(inputs).forward(inputs["x"]),
        "corrected": gradient,
        "targets": tuple(layer._backward for layer in targets or (build,)),  # type: ignore[union-attr]
    }


def of_loss(build: Callable[..., Loss], *arguments: str) -> dict[str, Any]:
    """Fields of the entry of a loss, whose ``prediction`` gets a gradient and whose ``target`` gets none."""

    def both(inputs: Arrays) -> tuple[Array, Loss]:
        loss = build(*(inputs[name] for name in arguments))
        return loss.forward(inputs["prediction"], inputs["target"]), loss

    return {
        "forward": lambda inputs: both(inputs)[0],
        "corrected": lambda inputs, g: {"prediction": np.asarray(both(inputs)[1].backward() * g)},
        "wrt": ("prediction",),
        "group": "loss",
        "targets": (build._backward,),  # type: ignore[attr-defined]
    }


def of_network(
    build: Callable[[Arrays], Layer], loss: Callable[[], Loss], parameters: tuple[str, ...]
) -> dict[str, Any]:
    """Fields of the entry of a network under a loss: the loss of its output for ``x`` against ``y``, a number."""

    def forward(inputs: Arrays) -> Array:
        return loss().forward(build(inputs).forward(inputs["x"]), inputs["y"])

    def gradient(inputs: Arrays, g: Array) -> Gradients:
        network, measure = build(inputs), loss()
        measure.forward(network.forward(inputs["x"]), inputs["y"])
        _in_two_parts(network, measure.backward() * g)
        return {name: network.parameters()[name].grad for name in parameters}

    return {"forward": forward, "corrected": gradient, "wrt": parameters, "group": "model"}


def _in_two_parts(layer: Layer, g: Array) -> Array:
    """The gradient of the input, for two parts of ``g``, so that a layer which overwrites is found out."""
    part = g * g.dtype.type(0.375)
    return layer.backward(part) + layer.backward(g - part)
