"""The network of layers and Variables, 8 -> 4 -> 4 -> 1 with sigmoids between, under the mean squared error."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Trainable, Verdict, Written
from bench.gradients.layers import MSE, Linear, Sequential, Sigmoid
from bench.gradients.layers.activations import logistic
from bench.gradients.models import data
from bench.gradients.models.data import denormalise, normalise, ranges_of
from bench.gradients.through import of_network

WIDTHS = (8, 4, 4, 1)
PARAMETERS = ("0.W", "0.b", "2.W", "2.b", "4.W", "4.b")  # named by the place of their layer in the network


def network(parameters: Arrays) -> Sequential:
    """The network with weights ``W`` [out, in] and biases ``b`` [out] of any widths that fit."""
    first, second, third = (Linear(parameters[f"{i}.W"], parameters[f"{i}.b"]) for i in (0, 2, 4))
    return Sequential((first, Sigmoid(), second, Sigmoid(), third))


def written_classes(inputs: Arrays, g: Array) -> Gradients:
    """What the notes' classes give together: MSE hands down ``2(ŷ - y)``, Sigmoid ``-(1 + e^-z)^-2 · g``."""
    x = inputs["x"]
    a = logistic(x @ inputs["0.W"].T + inputs["0.b"])
    c = logistic(a @ inputs["2.W"].T + inputs["2.b"])
    third = g * 2 * (c @ inputs["4.W"].T + inputs["4.b"] - inputs["y"])
    second = -(c**2) * (third @ inputs["4.W"])
    first = -(a**2) * (second @ inputs["2.W"])
    gradients: Gradients = {}
    for i, delta, below in ((0, first, x), (2, second, a), (4, third, c)):
        gradients |= {f"{i}.W": delta.T @ below, f"{i}.b": delta.sum(axis=0)}
    return gradients


def predict(parameters: Arrays, features: Array, samples: data.Regression) -> Array:
    """The predictions for features [N, 8], both in the units of ``samples``, which the parameters were trained on."""
    scaled = network(parameters).forward(normalise(features, ranges_of(samples.features)))
    return denormalise(scaled, ranges_of(samples.targets))


def _torch(t: dict[str, torch.Tensor]) -> torch.Tensor:
    a = torch.sigmoid(functional.linear(t["x"], t["0.W"], t["0.b"]))
    c = torch.sigmoid(functional.linear(a, t["2.W"], t["2.b"]))
    return functional.mse_loss(functional.linear(c, t["4.W"], t["4.b"]), t["y"])


def _parameters(rng: np.random.Generator, widths: tuple[int, ...] = WIDTHS) -> Gradients:
    """Random parameters, each layer's of a size that keeps its outputs near 1."""
    parameters = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        parameters[f"{2 * i}.W"] = rng.normal(size=(fan_out, fan_in)) / np.sqrt(fan_in)
        parameters[f"{2 * i}.b"] = rng.normal(size=fan_out) / 2
    return parameters


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, samples, widths in (
        ("8-4-4-1", 5, WIDTHS),
        ("square", 3, (3, 3, 3, 3)),
        ("batch of 1", 1, WIDTHS),
        ("one feature", 4, (1, 2, 3, 1)),
        ("7 samples, two outputs", 7, (5, 4, 3, 2)),
    ):
        x, y = rng.normal(size=(samples, widths[0])), rng.normal(size=(samples, widths[-1]))
        yield Case(name, {"x": x, "y": y, **_parameters(rng, widths)})
    x, y = rng.normal(size=(4, 8)) * np.array([[1e3], [1e3], [1], [1]]), rng.normal(size=(4, 1))
    yield Case("far from 0", {"x": x, "y": y, **_parameters(rng)}, "extreme")


def _scaled(samples: Callable[[], data.Regression]) -> dict[str, Array]:
    return dict(zip("xy", map(data.scaled, samples()), strict=True))


ENTRY = Entry(
    id="variable-oop",
    title="network of layers and Variables, 8-4-4-1, MSE",
    formula=r"L=\frac{1}{N}\sum(\hat y-y)^2,\quad \hat y=W_3a_2+b_3,\ a_l=\sigma(W_la_{l-1}+b_l),\ a_0=x",
    corrected_latex=r"\delta_3=\frac{2}{N}(\hat y-y),\quad\delta_l=W_{l+1}^\top\delta_{l+1}\odot a_l\odot(1-a_l),"
    r"\quad\frac{\partial L}{\partial W_l}=\sum\delta_l a_{l-1}^\top,\quad\frac{\partial L}{\partial b_l}=\sum\delta_l",
    torch=_torch,
    cases=_cases,
    targets=(Linear._backward, Sigmoid._backward, MSE._backward),
    written=(
        Written(
            "classes",
            r"\delta_3=2(\hat y-y),\quad\delta_l=-(1+e^{-z_l})^{-2}\odot W_{l+1}^\top\delta_{l+1}",
            written_classes,
            Verdict.WRONG,
            "the MSE class misses 1/N; the sigmoid class has the wrong sign and misses the factor exp(-z)",
        ),
    ),
    **of_network(network, MSE, PARAMETERS),
)

ENTRIES = (ENTRY,)

DIABETES = Trainable(
    entry=ENTRY,
    parameters=PARAMETERS,
    start=_parameters,
    data=lambda: _scaled(data.diabetes),
    batch_size=64,
    rate=0.1,
    momentum=0.9,
    about_data=data.ABOUT_DIABETES,
)


def california() -> Trainable:
    """The same network on California housing, in larger batches, since it has 47 times as many samples."""
    return dataclasses.replace(
        DIABETES,
        entry=dataclasses.replace(ENTRY, id="variable-oop-california"),
        data=lambda: _scaled(data.california),
        batch_size=1024,
        about_data=data.ABOUT_CALIFORNIA,
    )


TRAINABLES = (DIABETES,)
