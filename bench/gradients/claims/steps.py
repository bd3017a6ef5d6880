"""What one step does: an update that leaks, a step that climbs, a quotient that overflows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bench.gradients.claims.claim import Claim, answer
from bench.gradients.layers import SGD, Tanh, Variable
from bench.gradients.models import house


def claims() -> Iterator[Claim]:
    """All claims of this module."""
    yield simultaneous_update()
    yield written_mae_step()
    yield tanh_quotient()


def simultaneous_update() -> Claim:
    """One step of the linear model by our SGD, by PyTorch's, and with b updated before W's gradient is taken."""
    data, upstream, rate = {"x": np.array([0.5, 1.0, 2.0]), "y": np.array([1.0, 2.0, 2.5])}, np.ones(()), 0.1
    start = {"W": np.array(0.25), "b": np.array(-0.5)}
    gradients = house.linear_gradient({**data, **start}, upstream)
    variables = {name: Variable(value) for name, value in start.items()}
    for name, variable in variables.items():
        variable.grad += gradients[name]
    SGD(variables, rate).step()
    ours = float(variables["W"].value)
    theirs = _torch_step({**data, **start}, rate)
    leaked = {**start, "b": start["b"] - rate * gradients["b"]}
    leaking = float(start["W"] - rate * house.linear_gradient({**data, **leaked}, upstream)["W"])
    return Claim(
        "sgd-simultaneous",
        "SGD: all parameters are updated from one step's gradients; the update of b must not leak into that of W",
        answer(abs(ours - theirs) <= 1e-12 and abs(leaking - theirs) > 1e-3),
        "holds",
        f"one step from W = 0.25, b = -0.5 at the rate {rate} gives W = {ours:.6f}, as torch.optim.SGD does to within "
        f"1e-12; with b updated first W = {leaking:.6f}",
    )


def _torch_step(inputs: dict[str, np.ndarray], rate: float) -> float:
    """``W`` after one step by PyTorch."""
    tensors = {name: torch.tensor(value) for name, value in inputs.items()}
    leaves = [tensors[name].requires_grad_() for name in ("W", "b")]
    house.LINEAR.torch(tensors).backward()
    torch.optim.SGD(leaves, rate).step()
    return float(leaves[0].detach())


def written_mae_step() -> Claim:
    """One step of ``M(x) = w x`` by the written ``sum a/|a| dM/dw``, with ``a = y - M(x)``, and by the right one."""
    x, y, w, rate = np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 7.0]), 0.5, 0.01
    a = y - w * x
    before, written, corrected = (
        float(np.mean(np.abs(y - weight * x)))
        for weight in (w, w - rate * np.sum(a / np.abs(a) * x), w - rate * np.mean(np.sign(w * x - y) * x))
    )
    return Claim(
        "mae-step",
        "MAE: a step along the gradient as written lowers the loss",
        answer(written < before),
        "does not hold",
        f"from w = {w} at the rate {rate} the loss of w x goes from {before:.4f} to {written:.4f} by the written step, "
        f"and to {corrected:.4f} by the corrected one",
    )


def tanh_quotient() -> Claim:
    """``1 - (e^x - e^-x)² / (e^x + e^-x)²`` beside ``1 - tanh²``, where the squares leave the range of float64."""
    limit = float(np.log(np.finfo(np.float64).max)) / 2
    x = np.array([350.0, 360.0])
    with np.errstate(over="ignore", invalid="ignore"):
        up, down = np.exp(x), np.exp(-x)
        quotient = 1 - (up - down) ** 2 / (up + down) ** 2
    layer = Tanh()
    layer.forward(x)
    stable = layer.backward(np.ones_like(x))
    return Claim(
        "tanh-quotient",
        "tanh: the derivative as a quotient of exponentials can be computed for large x",
        answer(bool(np.isfinite(quotient).all())),
        "does not hold",
        f"its squares overflow beyond x = {limit:.1f} in float64: at x = 350 it is {quotient[0]:g}, at x = 360 "
        f"{quotient[1]:g}; 1 - tanh(x)^2 is {stable[0]:g} and {stable[1]:g}",
    )
