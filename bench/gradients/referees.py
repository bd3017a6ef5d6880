"""The two referees of a hand-written gradient, autograd and central differences, and the measure of disagreement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from bench.gradients.entry import Array, Arrays, Entry, Gradients

FEW = 200  # an input of at most so many numbers is differenced one by one, a larger one along random directions
DIRECTIONS = 12


def relative_error(ours: Array, theirs: Array) -> float:
    """``‖a - b‖ / (‖a‖ + ‖b‖)`` in the Euclidean norm, with 0/0 = 0; infinite for another shape, NaN or infinities."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    scale = max(float(np.max(np.abs(a), initial=0.0)), float(np.max(np.abs(b), initial=0.0)))
    if scale == 0.0:
        return 0.0
    a, b = a / scale, b / scale  # squares of very small or large numbers would leave the range
    return float(np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b)))


def autograd(entry: Entry, inputs: Arrays, g: Array, device: torch.device) -> tuple[Array, Gradients]:
    """The value and the gradients of ``entry.wrt`` by autograd for the upstream ``g``, in the inputs' dtype."""
    tensors = {name: torch.tensor(value, device=device) for name, value in inputs.items()}
    leaves = [tensors[name].requires_grad_() for name in entry.wrt]
    value = entry.torch(tensors)
    upstream = torch.tensor(g, device=device)
    gradients = torch.autograd.grad(value, leaves, upstream, allow_unused=True, materialize_grads=True)
    by_name = {name: tensor.cpu().numpy() for name, tensor in zip(entry.wrt, gradients, strict=True)}
    return value.detach().cpu().numpy(), by_name


def differences_error(
    forward: Callable[[Arrays], Array], inputs: Arrays, g: Array, gradients: Gradients, rng: np.random.Generator
) -> dict[str, float]:
    """How far each gradient is from central differences of ``g · forward``, as a relative error.

    Every element is differenced where an input has at most ``FEW``; else ``DIRECTIONS`` random unit directions are.
    The step is the cube root of the machine epsilon times the input's magnitude, which balances the truncation
    error of order h² against rounding of order ε/h.
    """
    errors = {}
    for name, gradient in gradients.items():
        value = np.asarray(inputs[name], dtype=np.float64)
        if value.size <= FEW:
            directions = np.eye(value.size).reshape(value.size, *value.shape)
        else:
            directions = rng.standard_normal((DIRECTIONS, *value.shape))
            directions /= np.sqrt(np.sum(directions**2, axis=tuple(range(1, directions.ndim)), keepdims=True))
        step = float(np.cbrt(np.finfo(np.float64).eps)) * max(1.0, float(np.max(np.abs(value))))
        numeric = []
        for direction in directions:
            ahead, behind = (forward({**inputs, name: value + way * direction}) for way in (step, -step))
            numeric.append(float(np.sum(g * (ahead - behind))) / (2 * step))
        errors[name] = float("inf")
        if np.shape(gradient) == value.shape and np.isfinite(gradient).all():
            along = np.array([float(np.sum(direction * gradient)) for direction in directions])
            errors[name] = relative_error(along, np.array(numeric))
    return errors
