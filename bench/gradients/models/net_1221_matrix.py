"""The 1-2-2-1 network with its parameters in three matrices, the bias as the last column of each."""

from __future__ import annotations

import numpy as np

from bench.gradients.entry import Array, Arrays, Gradients


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
