"""A layer or a loss of ours beside its counterpart in PyTorch, in both precisions and with every gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.gradients.layers import Layer, Loss
from bench.gradients.referees import relative_error

Floats = NDArray[np.floating[Any]]

TOLERANCES: dict[np.dtype[Any], float] = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-4}

UPSTREAM = 2**32
"""The seed of upstream gradients: no input has it. A gradient along the input is all but taken out by normalisation."""


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    """Normally distributed numbers, other ones for another shape."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def assert_same(what: str, ours: Floats, theirs: torch.Tensor) -> None:
    """Shape and dtype are equal, and the relative error is within the dtype's tolerance."""
    expected = theirs.detach().numpy()
    assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape), what
    error = relative_error(ours, expected)
    assert error <= TOLERANCES[ours.dtype], f"{what}: {error:.1e}\n{ours}\n{expected}"


def assert_layer(
    build: Callable[..., Layer],
    reference: Callable[..., torch.Tensor],
    x: Floats,
    *parameters: Floats,
) -> None:
    """Value and all gradients are PyTorch's, for a random upstream gradient that comes in two parts.

    Args:
        build: from the parameters to our layer.
        reference: from ``x`` and the parameters to PyTorch's value.
        x: the input.
        parameters: in the layer's order.
    """
    for dtype in TOLERANCES:
        arrays = [np.asarray(array, dtype) for array in (x, *parameters)]
        layer = build(*arrays[1:])
        y = layer.forward(arrays[0])
        g = normal(*y.shape, seed=UPSTREAM).astype(dtype)
        parts = 0.375 * g, g - 0.375 * g
        before = [array.tobytes() for array in (*arrays, y, *parts)]
        dx = layer.backward(parts[0]) + layer.backward(parts[1])
        assert [array.tobytes() for array in (*arrays, y, *parts)] == before, "something given was written into"
        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        value = reference(*tensors)
        found = torch.autograd.grad(value, tensors, torch.tensor(g))
        assert_same("value", y, value)
        assert_same("gradient of the input", dx, found[0])
        for (name, ours), theirs in zip(layer.parameters().items(), found[1:], strict=True):
            assert_same(f"gradient of {name}", ours.grad, theirs)


def assert_loss(
    loss: Loss, reference: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], prediction: Floats, target: Any
) -> None:
    """Value and gradient are PyTorch's; a target of integers is labels, and stays as it is."""
    for dtype in TOLERANCES:
        p = np.asarray(prediction, dtype)
        t = target if np.issubdtype(target.dtype, np.integer) else np.asarray(target, dtype)
        before = p.tobytes(), t.tobytes()
        value, gradient = loss.forward(p, t), loss.backward()
        assert (p.tobytes(), t.tobytes()) == before, "something given was written into"
        tensor = torch.tensor(p, requires_grad=True)
        expected = reference(tensor, torch.tensor(t))
        assert_same("value", value, expected)
        assert_same("gradient", gradient, torch.autograd.grad(expected, tensor)[0])
        assert np.array_equal(gradient, loss.backward()), "a second backward differs"


def two_numbers(value: int | Sequence[int]) -> tuple[int, int]:
    """Rows and columns, as PyTorch's functions take them."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])
