"""Two networks with one hidden layer under the mean absolute error: every partial derivative, right and as written.

``x`` is [N, D], ``W1`` [H, D], ``b1`` [H], ``W2`` [O, H], ``b2`` [O] and ``y`` [N, O]; the notes have O = 1. Where
their scalars meet a batch, a sum over the samples is a matrix product.
"""

from __future__ import annotations

import numpy as np

from bench.gradients.entry import Array, Arrays, Gradients
from bench.gradients.layers.variable import checked


def hidden(inputs: Arrays) -> Array:
    """``z₁ = W₁x + b₁`` for every sample: [N, H]."""
    x = checked("x of the network", inputs["x"], ndim=2)
    features, units = x.shape[1], len(inputs["b1"])
    w1 = checked("W1 of the network", inputs["W1"], shape=(units, features), dtype=x.dtype)
    return x @ w1.T + checked("b1 of the network", inputs["b1"], ndim=1)


def output(activation: Array, inputs: Arrays) -> Array:
    """``z₂ = W₂a + b₂`` for hidden activations [N, H]: [N, O]."""
    samples, units = activation.shape
    outputs = len(inputs["b2"])
    w2 = checked("W2 of the network", inputs["W2"], shape=(outputs, units), dtype=activation.dtype)
    checked("y of the network", inputs["y"], shape=(samples, outputs), dtype=activation.dtype)
    return activation @ w2.T + checked("b2 of the network", inputs["b2"], ndim=1)


def leaky(z: Array, inputs: Arrays) -> Array:
    """``z`` for ``z > 0``, else ``alpha z``."""
    return np.where(z > 0, z, inputs["alpha"] * z)


def relu_prediction(inputs: Arrays) -> Array:
    """``W₂ relu(W₁x + b₁) + b₂``: [N, O]."""
    return output(np.maximum(hidden(inputs), 0), inputs)


def tanh_prediction(inputs: Arrays) -> Array:
    """``leaky(W₂ tanh(W₁x + b₁) + b₂, alpha)``: [N, O]."""
    return leaky(output(np.tanh(hidden(inputs)), inputs), inputs)


def mae_factor(prediction: Array, inputs: Arrays, g: Array) -> Array:
    """``sgn(ŷ - y) / N``, the loss's derivative by the prediction [N, O], times the upstream gradient ``g``."""
    return np.asarray(g * np.sign(prediction - inputs["y"]) / inputs["y"].size)


def written_mae_factor(prediction: Array, inputs: Arrays, g: Array) -> Array:
    """The notes' ``a / |a|`` with ``a = y - ŷ``: the inner derivative of -1 and the 1/N are lost."""
    a = inputs["y"] - prediction
    return np.asarray(g * a / np.abs(a))


def relu_chain(factor: Array, inputs: Arrays) -> Gradients:
    """All four partials of the first network, from the loss's derivative by the prediction [N, O]."""
    z = hidden(inputs)
    delta = factor @ inputs["W2"] * (z > 0)
    return {
        "W1": delta.T @ inputs["x"],
        "b1": delta.sum(axis=0),
        "W2": factor.T @ np.maximum(z, 0),
        "b2": factor.sum(axis=0),
    }


def tanh_chain(factor: Array, inputs: Arrays) -> Gradients:
    """All four partials of the second network, from the loss's derivative by the prediction [N, O]."""
    a = np.tanh(hidden(inputs))
    outer = factor * np.where(output(a, inputs) > 0, 1, inputs["alpha"])
    delta = outer @ inputs["W2"] * (1 - a * a)
    return {
        "W1": delta.T @ inputs["x"],
        "b1": delta.sum(axis=0),
        "W2": outer.T @ a,
        "b2": outer.sum(axis=0),
    }
