"""Two networks with one hidden layer under the mean absolute error, and their training on the houses.

``x`` is [N, D], ``W1`` [H, D], ``b1`` [H], ``W2`` [O, H], ``b2`` [O] and ``y`` [N, O]; the notes have O = 1. Where
their scalars meet a batch, a sum over the samples is a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradient, Gradients, Trainable, Verdict, Written
from bench.gradients.layers.variable import checked
from bench.gradients.models import data

PARAMETERS = ("W1", "b1", "W2", "b2")


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


def _loss(prediction: Callable[[Arrays], Array]) -> Callable[[Arrays], Array]:
    return lambda inputs: np.asarray(np.mean(np.abs(prediction(inputs) - inputs["y"])))


def _gradient(
    factor: Callable[[Array, Arrays, Array], Array],
    prediction: Callable[[Arrays], Array],
    chain: Callable[[Array, Arrays], Gradients],
) -> Gradient:
    return lambda inputs, g: chain(factor(prediction(inputs), inputs, g), inputs)


relu_gradient = _gradient(mae_factor, relu_prediction, relu_chain)
relu_as_written = _gradient(written_mae_factor, relu_prediction, relu_chain)
tanh_gradient = _gradient(mae_factor, tanh_prediction, tanh_chain)
tanh_as_written = _gradient(written_mae_factor, tanh_prediction, tanh_chain)


def _torch(t: dict[str, torch.Tensor], hidden: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The output before any activation of its own."""
    return functional.linear(hidden(functional.linear(t["x"], t["W1"], t["b1"])), t["W2"], t["b2"])


def _network(rng: np.random.Generator, features: int, units: int, outputs: int) -> Gradients:
    """Random parameters, each layer's of a size that keeps its outputs near 1."""
    return {
        "W1": rng.normal(size=(units, features)) / np.sqrt(features),
        "b1": rng.normal(size=units),
        "W2": rng.normal(size=(outputs, units)) / np.sqrt(units),
        "b2": rng.normal(size=outputs) / 2,
    }


def _draw(rng: np.random.Generator, samples: int, features: int, units: int, outputs: int) -> dict[str, Array]:
    return {
        "x": rng.normal(size=(samples, features)),
        "y": rng.normal(size=(samples, outputs)),
        "alpha": np.array(0.1),
        **_network(rng, features, units, outputs),
    }


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("square", _draw(rng, 3, 3, 3, 3))
    yield Case("batch of 1", _draw(rng, 1, 2, 3, 1))
    yield Case("one feature", _draw(rng, 5, 1, 4, 1))
    yield Case("7 samples, 3-5-2", _draw(rng, 7, 3, 5, 2))
    large = _draw(rng, 4, 3, 5, 2)
    large["x"][:3] *= 1e3
    yield Case("far from 0", large, "extreme")
    # Dyadic numbers: every sum is exact. z1 = (0, 1) and tanh(0) = relu(0) = 0.
    corner = {
        "x": np.array([[1.0, -1.0]]),
        "y": np.array([[0.5]]),
        "alpha": np.array(0.1),
        "W1": np.array([[0.5, 0.5], [0.5, -0.5]]),
        "b1": np.zeros(2),
        "W2": np.array([[1.0, 2.0]]),
        "b2": np.array([0.25]),
    }
    yield Case("hidden unit at 0", corner, "kink")
    for beside in (1e-9, -1e-9):
        yield Case(f"hidden unit at {beside:g}", {**corner, "b1": np.array([beside, 0.0])}, "kink")
    # Nothing reaches the output, so that z2 = b2.
    quiet = {**corner, "W1": np.zeros((2, 2)), "b2": np.zeros(1)}
    yield Case("output at 0", quiet, "kink")
    yield Case("residual 0", {**quiet, "y": np.zeros((1, 1))}, "kink")
    for beside in (1e-9, -1e-9):
        yield Case(f"output at {beside:g}", {**quiet, "b2": np.array([beside])}, "kink")
        yield Case(f"residual {beside:g}", {**quiet, "y": np.array([[-beside]])}, "kink")


_SECOND_SOURCE = "the second source sums over the samples; with the mean its sign comes with 1/N"
_LOST = (
    "a/|a| with a = y - prediction: the inner derivative -1 and the 1/N are lost, so the step climbs "
    "(undefined at a = 0, which is left out)"
)


def _chain_latex(front: str, activation: str) -> str:
    """The four partials with the factors of the loss and of the output in front of each."""
    return (
        rf"\frac{{\partial L}}{{\partial W_1}}={front}\,W_2^\top {activation}'(z_1)\,x,\quad"
        rf"\frac{{\partial L}}{{\partial b_1}}={front}\,W_2^\top {activation}'(z_1),\quad"
        rf"\frac{{\partial L}}{{\partial W_2}}={front}\,{activation}(z_1),\quad"
        rf"\frac{{\partial L}}{{\partial b_2}}={front}"
    )


def _forms(latex: str, right: Gradient, written_latex: str, written: Gradient) -> tuple[Written, Written]:
    return (
        Written("second source", latex, right, remark=_SECOND_SOURCE),
        Written("chain", written_latex, written, Verdict.WRONG, _LOST, applies=lambda case: case.name != "residual 0"),
    )


_RIGHT = r"\frac{1}{N}\sum\operatorname{sgn}(\hat y-y)"
_WRITTEN = r"\frac{a}{|a|}"
_LEAKY = r"\,\operatorname{leaky}'(z_2)"
_B1 = rf"\frac{{\partial L}}{{\partial b_1}}={_RIGHT}{_LEAKY}\,W_2^\top\tanh'(z_1)\cdot "
_RELU, _TANH = r"\operatorname{relu}", r"\tanh"
_RELU_LATEX, _TANH_LATEX = _chain_latex(_RIGHT, _RELU), _chain_latex(_RIGHT + _LEAKY, _TANH)

RELU = Entry(
    id="mlp-relu",
    title="network with a relu layer, MAE",
    group="model",
    formula=r"L=\frac{1}{N}\sum|\hat y-y|,\quad \hat y=W_2\operatorname{relu}(W_1x+b_1)+b_2",
    corrected_latex=_RELU_LATEX,
    forward=_loss(relu_prediction),
    corrected=relu_gradient,
    torch=lambda t: functional.l1_loss(_torch(t, torch.relu), t["y"]),
    wrt=PARAMETERS,
    cases=_cases,
    targets=(relu_chain, mae_factor),
    written=_forms(_RELU_LATEX, relu_gradient, _chain_latex(_WRITTEN, _RELU), relu_as_written),
    kink="where a hidden unit or a residual is 0: both sides take relu' = 0 and sgn = 0",
)

TANH_LEAKY = Entry(
    id="mlp-tanh-leaky",
    title="network with a tanh layer and a leaky output, MAE",
    group="model",
    formula=r"L=\frac{1}{N}\sum|\hat y-y|,\quad \hat y=\operatorname{leaky}(W_2\tanh(W_1x+b_1)+b_2,\alpha)",
    corrected_latex=_TANH_LATEX,
    forward=_loss(tanh_prediction),
    corrected=tanh_gradient,
    torch=lambda t: functional.l1_loss(functional.leaky_relu(_torch(t, torch.tanh), float(t["alpha"])), t["y"]),
    wrt=PARAMETERS,
    cases=_cases,
    targets=(tanh_chain, mae_factor),
    written=(
        *_forms(_TANH_LATEX, tanh_gradient, _chain_latex(_WRITTEN + _LEAKY, _TANH), tanh_as_written),
        Written(
            "first line for b1",
            _B1 + "x",
            lambda inputs, g: {"b1": tanh_gradient(inputs, g)["W1"][:, 0]},
            Verdict.WRONG,
            "the line ends in x, which is the derivative of z1 by W1; by b1 it is 1",
            applies=lambda case: case.inputs["x"].shape[1] == 1,
        ),
        Written("next line for b1", _B1 + "1", lambda inputs, g: {"b1": tanh_gradient(inputs, g)["b1"]}),
    ),
    kink="where the output before leaky or a residual is 0: both sides take leaky' = alpha and sgn = 0",
)

ENTRIES = (RELU, TANH_LEAKY)


def _data() -> dict[str, Array]:
    features, targets = data.houses()
    return {"x": data.scaled(features), "y": data.scaled(targets), "alpha": np.array(0.1)}


def _relu_margin(inputs: Arrays) -> float:
    residual = relu_prediction(inputs) - inputs["y"]
    return float(min(np.abs(hidden(inputs)).min(), np.abs(residual).min()))


def _tanh_margin(inputs: Arrays) -> float:
    z = output(np.tanh(hidden(inputs)), inputs)
    residual = leaky(z, inputs) - inputs["y"]
    return float(min(np.abs(z).min(), np.abs(residual).min()))


_ABOUT_KINK = (
    "none parts the two sides: no {} comes nearer to 0 than a million times the sides' distance, so both always take "
    "the same branch"
)


def _trainable(entry: Entry, margin: Callable[[Arrays], float], compared: str) -> Trainable:
    return Trainable(
        entry=entry,
        parameters=PARAMETERS,
        start=lambda rng: _network(rng, 1, 4, 1),
        data=_data,
        batch_size=5,
        rate=0.05,
        about_data=data.ABOUT_HOUSES_SCALED,
        kink=_ABOUT_KINK.format(compared),
        margin=margin,
    )


TRAINABLES = (
    _trainable(RELU, _relu_margin, "hidden unit and no residual"),
    _trainable(TANH_LEAKY, _tanh_margin, "output before leaky and no residual"),
)
