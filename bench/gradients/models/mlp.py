"""Two networks with one hidden layer under the mean absolute error: their entries, and their training on the houses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Trainable, Verdict, Written
from bench.gradients.models import data
from bench.gradients.models import mlp_chain as chain
from bench.gradients.models.scaling import normalise, ranges_of

PARAMETERS = ("W1", "b1", "W2", "b2")


def _torch_relu(t: dict[str, torch.Tensor]) -> torch.Tensor:
    a = functional.relu(functional.linear(t["x"], t["W1"], t["b1"]))
    return functional.l1_loss(functional.linear(a, t["W2"], t["b2"]), t["y"])


def _torch_tanh(t: dict[str, torch.Tensor]) -> torch.Tensor:
    z = functional.linear(torch.tanh(functional.linear(t["x"], t["W1"], t["b1"])), t["W2"], t["b2"])
    return functional.l1_loss(functional.leaky_relu(z, float(t["alpha"])), t["y"])


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


def _no_zero_residual(case: Case) -> bool:
    return case.name != "residual 0"


def _one_feature(case: Case) -> bool:
    return bool(case.inputs["x"].shape[1] == 1)


_SECOND_SOURCE = "the second source sums over the samples; with the mean its sign comes with 1/N"
_LOST = (
    "a/|a| with a = y - prediction: the inner derivative -1 and the 1/N are lost, so the step climbs "
    "(undefined at a = 0, which is left out)"
)


def _chain_latex(front: str, activation: str) -> str:
    """The four partials with the factors of the loss and of the output in front of each."""
    return (
        rf"\frac{{\partial L}}{{\partial W_1}}={front}\,W_2^\top {activation}'(z_1)\,x,\ "
        rf"\frac{{\partial L}}{{\partial b_1}}={front}\,W_2^\top {activation}'(z_1),\ "
        rf"\frac{{\partial L}}{{\partial W_2}}={front}\,{activation}(z_1),\ "
        rf"\frac{{\partial L}}{{\partial b_2}}={front}"
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
    forward=chain.relu_loss,
    corrected=chain.relu_gradient,
    torch=_torch_relu,
    wrt=PARAMETERS,
    cases=_cases,
    written=(
        Written("second source", _RELU_LATEX, chain.relu_gradient, Verdict.AGREES, remark=_SECOND_SOURCE),
        Written(
            "chain",
            _chain_latex(_WRITTEN, _RELU),
            chain.relu_as_written,
            Verdict.WRONG,
            _LOST,
            applies=_no_zero_residual,
        ),
    ),
    targets=(chain.relu_chain, chain.mae_factor),
    kink="where a hidden unit or a residual is 0: both sides take relu' = 0 and sgn = 0",
)

TANH_LEAKY = Entry(
    id="mlp-tanh-leaky",
    title="network with a tanh layer and a leaky output, MAE",
    group="model",
    formula=r"L=\frac{1}{N}\sum|\hat y-y|,\quad \hat y=\operatorname{leaky}(W_2\tanh(W_1x+b_1)+b_2,\alpha)",
    corrected_latex=_TANH_LATEX,
    forward=chain.tanh_loss,
    corrected=chain.tanh_gradient,
    torch=_torch_tanh,
    wrt=PARAMETERS,
    cases=_cases,
    written=(
        Written("second source", _TANH_LATEX, chain.tanh_gradient, Verdict.AGREES, remark=_SECOND_SOURCE),
        Written(
            "chain",
            _chain_latex(_WRITTEN + _LEAKY, _TANH),
            chain.tanh_as_written,
            Verdict.WRONG,
            _LOST,
            applies=_no_zero_residual,
        ),
        Written(
            "first line for b1",
            _B1 + "x",
            chain.tanh_b1_with_x,
            Verdict.WRONG,
            "the line ends in x, which is the derivative of z1 by W1; by b1 it is 1",
            applies=_one_feature,
        ),
        Written("next line for b1", _B1 + "1", chain.tanh_b1_with_one, Verdict.AGREES),
    ),
    targets=(chain.tanh_chain, chain.mae_factor),
    kink="where the output before leaky or a residual is 0: both sides take leaky' = alpha and sgn = 0",
)

ENTRIES = (RELU, TANH_LEAKY)


def _start(rng: np.random.Generator) -> Gradients:
    return _network(rng, 1, 4, 1)


def _data() -> dict[str, Array]:
    features, targets = data.houses()
    return {
        "x": normalise(features, ranges_of(features)),
        "y": normalise(targets, ranges_of(targets)),
        "alpha": np.array(0.1),
    }


def _relu_margin(inputs: Arrays) -> float:
    residual = chain.relu_prediction(inputs) - inputs["y"]
    return float(min(np.abs(chain.hidden(inputs)).min(), np.abs(residual).min()))


def _tanh_margin(inputs: Arrays) -> float:
    z = chain.output(np.tanh(chain.hidden(inputs)), inputs)
    residual = chain.leaky(z, inputs) - inputs["y"]
    return float(min(np.abs(z).min(), np.abs(residual).min()))


_ABOUT_KINK = (
    "none parts the two sides: no {} comes nearer to 0 than a million times the sides' distance, so both always take "
    "the same branch"
)


def _trainable(entry: Entry, margin: Callable[[Arrays], float], compared: str) -> Trainable:
    return Trainable(
        entry=entry,
        parameters=PARAMETERS,
        start=_start,
        data=_data,
        batched=("x", "y"),
        batch_size=5,
        epochs=300,
        rate=0.05,
        about_data=data.ABOUT_HOUSES_SCALED,
        kink=_ABOUT_KINK.format(compared),
        margin=margin,
    )


TRAINABLES = (
    _trainable(RELU, _relu_margin, "hidden unit and no residual"),
    _trainable(TANH_LEAKY, _tanh_margin, "output before leaky and no residual"),
)
