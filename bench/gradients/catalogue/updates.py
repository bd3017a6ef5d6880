"""The rule of SGD as a function: where some steps lead, and how that depends on the start and on the gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bench.gradients.catalogue import draw
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict, Written
from bench.gradients.layers import MSE, SGD, Linear, Variable


def _steps(inputs: Arrays) -> Array:
    """``W`` after a step for each of the gradients ``dW`` [steps, …]."""
    parameter = Variable(inputs["W"])
    optimiser = SGD({"W": parameter}, inputs["rate"], inputs["momentum"])
    for gradient in inputs["dW"]:
        parameter.grad = gradient
        optimiser.step()
    return parameter.value


def _torch_steps(t: dict[str, Tensor]) -> Tensor:
    return _torch_sgd([t["W"]], [[gradient] for gradient in t["dW"]], t["rate"], t["momentum"].item())[0]


def _torch_sgd(start: list[Tensor], steps: list[list[Tensor]], rate: Tensor, momentum: float = 0.0) -> list[Tensor]:
    """Steps of ``torch.optim.SGD`` that autograd follows."""
    parameters = [parameter.clone() for parameter in start]
    optimiser = torch.optim.SGD(parameters, lr=rate.item(), momentum=momentum, differentiable=True)
    if momentum:  # else the first step would copy the gradient, detached, as the velocity
        optimiser.state.update({p: {"momentum_buffer": torch.zeros_like(p)} for p in parameters})
    for gradients in steps:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
    return parameters


def _step_cases(rng: np.random.Generator, momenta: tuple[float, ...]) -> Iterator[Case]:
    for (name, start), steps, momentum in zip(draw.arrays(rng), (1, 2, 3, 4, 7, 3), momenta, strict=True):
        gradients = rng.standard_normal((steps, *start.shape))
        inputs = _step_inputs(start, gradients, momentum)
        yield Case(f"{name}, {steps} steps, momentum {momentum:g}", inputs)
    large = 1e3 * rng.standard_normal((6, 2, 2))
    yield Case("large", _step_inputs(large[0], large[1:], momenta[-1]), "extreme")


def _step_inputs(start: Array, gradients: Array, momentum: float) -> dict[str, Array]:
    return {"W": start, "dW": gradients, "rate": np.array(0.25), "momentum": np.array(momentum)}


def _plain_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"W": g, "dW": np.broadcast_to(-inputs["rate"] * g, inputs["dW"].shape)}


def _momentum_gradient(inputs: Arrays, g: Array) -> Gradients:
    momentum = inputs["momentum"]
    moved = np.arange(len(inputs["dW"]))[::-1] + 1
    shares = (1 - momentum**moved) / (1 - momentum)
    return {"W": g, "dW": np.multiply.outer(shares, -inputs["rate"] * g)}


def _rule(inputs: Arrays) -> Array:
    w = inputs["W"]
    for gradient in inputs["dW"]:
        w = w - inputs["rate"] * gradient
    return w


def _together(inputs: Arrays) -> Array:
    """``W`` and ``b`` of a linear model, in one vector, after one step on its mean squared error."""
    model, loss = Linear(inputs["W"], inputs["b"]), MSE()
    loss.forward(model.forward(inputs["x"]), inputs["y"])
    model.backward(loss.backward())
    SGD(model.parameters(), inputs["rate"]).step()
    return np.append(model.W.value, model.b.value)


def _torch_together(t: dict[str, Tensor]) -> Tensor:
    loss = torch.nn.functional.mse_loss(torch.nn.functional.linear(t["x"], t["W"], t["b"]), t["y"])
    gradients = torch.autograd.grad(loss, [t["W"], t["b"]], create_graph=True)
    weight, bias = _torch_sgd([t["W"], t["b"]], [list(gradients)], t["rate"])
    return torch.cat([weight.flatten(), bias])


def _together_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, samples, features in (
        ("batch of 1, 1 feature", 1, 1),
        ("batch of 1", 1, 3),
        ("1 feature", 6, 1),
        ("square", 4, 3),  # with the column of ones for b
        ("odd", 7, 2),
    ):
        yield Case(name, _regression(rng, samples, features))
    yield Case("large", {**_regression(rng, 5, 3), "x": 1e3 * rng.standard_normal((5, 3))}, kind="extreme")


def _regression(rng: np.random.Generator, samples: int, features: int) -> dict[str, Array]:
    inputs = draw.rows(rng, samples, features, 1)
    return {**inputs, "y": rng.standard_normal((samples, 1)), "rate": np.array(0.1)}


def _together_gradient(inputs: Arrays, g: Array) -> Gradients:
    x = inputs["x"]
    rows = np.concatenate([x, np.ones_like(x[:, :1])], axis=1)
    upstream = g[:, np.newaxis]
    through = upstream - 2 * inputs["rate"] * (rows.T @ (rows @ upstream)) / len(rows)
    return {"W": through[:-1].T, "b": through[-1]}


def _leak(inputs: Arrays) -> Array:
    """``b`` is moved first, and the gradient of ``W`` is then taken at the new ``b``."""
    x, scale = inputs["x"], 2 * inputs["rate"] / len(inputs["x"])
    b = inputs["b"] - scale * (x @ inputs["W"].T + inputs["b"] - inputs["y"]).sum(axis=0)
    w = inputs["W"] - scale * (x @ inputs["W"].T + b - inputs["y"]).T @ x
    return np.append(w, b)


def _leak_gradient(inputs: Arrays, g: Array) -> Gradients:
    x, scale = inputs["x"], 2 * inputs["rate"] / len(inputs["x"])
    along = x @ g[:-1]  # how W's step weighs each sample's error
    bias = g[-1] - scale * along.sum()  # and with it what comes to the new b
    error = -scale * (along + bias)
    return {"W": (g[:-1] + error @ x)[np.newaxis], "b": np.array([bias + error.sum()])}


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="sgd",
        title="gradient descent, K steps",
        group="update",
        formula=r"w_{k+1} = w_k - \alpha\, g_k,\quad g_k = \frac{\partial L}{\partial w_k}",
        corrected_latex=r"\frac{\partial w_K}{\partial w_0} = 1,\quad \frac{\partial w_K}{\partial g_k} = -\alpha",
        forward=_steps,
        corrected=_plain_gradient,
        torch=_torch_steps,
        wrt=("W", "dW"),
        cases=lambda rng: _step_cases(rng, (0.0,) * 6),
        written=(Written("rule", r"w' = w - \alpha \frac{\partial L}{\partial w}", _plain_gradient, forward=_rule),),
        targets=(_plain_gradient,),
    ),
    Entry(
        id="sgd-momentum",
        title="gradient descent with momentum, K steps",
        group="update",
        formula=r"v_{k+1} = m v_k + g_k,\quad w_{k+1} = w_k - \alpha\, v_{k+1}",
        corrected_latex=r"\frac{\partial w_K}{\partial w_0} = 1,\quad"
        r" \frac{\partial w_K}{\partial g_k} = -\alpha\, \frac{1 - m^{K-k}}{1 - m}",
        forward=_steps,
        corrected=_momentum_gradient,
        torch=_torch_steps,
        wrt=("W", "dW"),
        cases=lambda rng: _step_cases(rng, (0.9, 0.9, 0.0, 0.5, 0.9, 0.99)),
        targets=(_momentum_gradient, SGD.step),
    ),
    Entry(
        id="sgd-together",
        title="one step of gradient descent on a linear model's W and b",
        group="update",
        formula=r"(W', b') = (W, b) - \alpha \nabla L(W, b),\quad L = \frac{1}{N} \sum_n (W x_n + b - y_n)^2",
        corrected_latex=r"\frac{\partial (W', b')}{\partial (W, b)} = I - \frac{2 \alpha}{N} \sum_n"
        r" \begin{pmatrix} x_n \\ 1 \end{pmatrix} \begin{pmatrix} x_n^{T} & 1 \end{pmatrix}",
        forward=_together,
        corrected=_together_gradient,
        torch=_torch_together,
        wrt=("W", "b"),
        cases=_together_cases,
        written=(
            Written(
                name="one after another",
                latex=r"b' = b - \alpha \frac{\partial L(W, b)}{\partial b},\quad"
                r" W' = W - \alpha \frac{\partial L(W, b')}{\partial W}",
                gradient=_leak_gradient,
                expected=Verdict.WRONG,
                cause="what the notes warn of: b's update leaks into W's, whose gradient is taken at the new b",
                forward=_leak,
            ),
        ),
        targets=(_together_gradient,),
    ),
)
