"""What the notes print and claim: gradients, fits, a sum's limits, what a step does, and a quotient that overflows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from bench.gradients.entry import Array, Arrays, Entry, Gradient
from bench.gradients.layers import SGD, Tanh, Variable
from bench.gradients.models import house

HALF_UNIT = 0.00005  # what rounding to four decimals may have hidden

Answer = Literal["holds", "does not hold", "cannot be checked"]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement, the verdict on it, the one it should come to, and the numbers that it rests on, each in one line."""

    id: str
    statement: str
    verdict: Answer
    expected: Answer
    evidence: str


def answer(holds: bool) -> Answer:
    """The verdict on what can be checked."""
    return "holds" if holds else "does not hold"


def claims() -> Iterator[Claim]:
    """All claims of this module."""
    yield third_input()
    yield output_weight()
    yield fit(house.LINEAR, house.linear, 2.9393, -3.2980, 1.1030)
    yield fit(house.SIGMOID, house.sigmoid, 1.1346, -4.6483, 0.01402)
    yield fit(house.CUBIC, house.cubic, 0.14135, 0.51635, 0.01383)
    yield mean_of_squares()
    yield simultaneous_update()
    yield written_mae_step()
    yield tanh_quotient()


def third_input() -> Claim:
    """``x_3 = (dL/dw_3j) / (dL/db_j)`` for both units; each printed gradient may be off by half a unit."""
    numerators, denominators = np.array([0.0308, 0.0269]), np.array([0.0381, 0.0332])
    low_1, low_2 = (numerators - HALF_UNIT) / (denominators + HALF_UNIT)
    high_1, high_2 = (numerators + HALF_UNIT) / (denominators - HALF_UNIT)
    low, high = max(low_1, low_2), min(high_1, high_2)
    return Claim(
        "net-3-2-1-third-input",
        "net-3-2-1: the gradients printed for the weights of the third input and for the biases belong to one x_3",
        answer(bool(low <= high)),
        "holds",
        f"x_3 = 0.0308/0.0381 is between {low_1:.4f} and {high_1:.4f} by unit 1, x_3 = 0.0269/0.0332 between "
        f"{low_2:.4f} and {high_2:.4f} by unit 2, as the numbers are rounded; both allow {low:.4f} to {high:.4f}",
    )


def output_weight() -> Claim:
    """``(z - t) z (1 - z) a`` for an output z and an activation a in (0, 1)."""
    z = np.linspace(0.0, 1.0, 3001)[1:-1]
    largest = z * (1 - z) * np.maximum(z, 1 - z)  # the target farthest from z is 0 or 1, and a is less than 1
    where = float(z[largest.argmax()])
    beyond = float(np.min(z + (0.2162 - HALF_UNIT) / (z * (1 - z))))
    return Claim(
        "net-3-2-1-output-weight",
        "net-3-2-1: the gradient of the second unit's output weight is -0.2162",
        answer(float(largest.max()) >= 0.2162 - HALF_UNIT),
        "does not hold",
        f"(z - t) z (1 - z) a is below {largest.max():.4f} in magnitude for all targets t in [0, 1], and near it only "
        f"at z = {where:.4f} and {1 - where:.4f}; -0.2162 needs a target above {beyond:.2f}: inconsistent or illegible",
    )


def fit(entry: Entry, model: house.Model, weight: float, bias: float, printed: float) -> Claim:
    """A fit that is printed without its data: different data sets have it, so its numbers tell nothing of any."""
    worst = 0.0
    for seed, (low, high) in enumerate(((0.0, 5.0), (-2.0, 8.0))):
        x = np.random.default_rng(seed).uniform(low, high, 12)
        inputs = {"W": np.array(weight), "b": np.array(bias), "x": x, "y": np.zeros_like(x)}
        made_up = {**inputs, "y": _targets(inputs, model, entry.corrected, printed)}
        gradients = entry.corrected(made_up, np.ones(())).values()
        worst = max(worst, abs(float(entry.forward(made_up)) - printed), *(abs(float(g)) for g in gradients))
    return Claim(
        f"{entry.id}-fit",
        f"{entry.id}: the fit ends at w = {weight}, b = {bias} with the loss {printed}",
        "cannot be checked" if worst < 1e-12 else "does not hold",
        "cannot be checked",
        "the notes give no data, and the numbers fix none: two made-up sets of 12 samples, x in [0, 5] and in [-2, 8], "
        "both have this loss and no gradient at this w and b, to within 1e-12",
    )


def _targets(inputs: Arrays, model: house.Model, gradient: Gradient, loss: float) -> Array:
    """Targets with that mean squared error and with errors at which the gradient vanishes.

    The gradient is linear in the errors, so that unit errors give its columns; what is left of random errors after
    their projection on these is orthogonal to them.
    """
    predicted, upstream = model(inputs), np.ones(())
    each = [gradient({**inputs, "y": predicted - unit}, upstream) for unit in np.eye(predicted.size)]
    columns = np.array([[float(one["W"]), float(one["b"])] for one in each])
    errors = np.random.default_rng(predicted.size).standard_normal(predicted.size)
    errors -= columns @ np.linalg.lstsq(columns, errors)[0]
    return np.asarray(predicted - errors * np.sqrt(loss / np.mean(errors**2)))


def mean_of_squares() -> Claim:
    """The sum of the notes' MSE has one term more than it is divided by."""
    errors = np.array([1.0, 2.0, 3.0, 4.0, 5.0])  # of samples 0 to N = 4
    typed, mean = float(np.sum(errors**2) / 4), float(np.mean(errors**2))
    return Claim(
        "mse-limits",
        "MSE: 1/N times the sum from i = 0 to N is the mean of the squared errors",
        answer(typed == mean),
        "does not hold",
        f"N = 4 gives {errors.size} terms: for the errors 1, 2, 3, 4, 5 it is {typed:g}, and their mean square is "
        f"{mean:g}; meant are the samples 1 to N",
    )


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
    tensors = {name: torch.tensor(value) for name, value in {**data, **start}.items()}
    leaves = [tensors[name].requires_grad_() for name in start]
    house.LINEAR.torch(tensors).backward()
    torch.optim.SGD(leaves, rate).step()
    theirs = float(leaves[0].detach())
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
