"""A network of our layers under a loss, as the forward and the gradient of an entry."""

from __future__ import annotations

from bench.gradients.entry import Array, Arrays, Gradients
from bench.gradients.layers import Layer, Loss


def loss_of(network: Layer, loss: Loss, inputs: Arrays) -> Array:
    """The loss of the network's output for ``x`` against ``y``, a number."""
    return loss.forward(network.forward(inputs["x"]), inputs["y"])


def gradients_of(network: Layer, loss: Loss, inputs: Arrays, g: Array, wrt: tuple[str, ...]) -> Gradients:
    """The gradients of the parameters ``wrt``, for the upstream gradient ``g`` of the loss.

    The way back is taken twice, with a part of the gradient each time, so that a layer which overwrites a gradient
    instead of adding to it is found out.
    """
    loss_of(network, loss, inputs)
    whole = loss.backward() * g
    part = whole * whole.dtype.type(0.375)
    network.backward(part)
    network.backward(whole - part)
    parameters = network.parameters()
    return {name: parameters[name].grad for name in wrt}
