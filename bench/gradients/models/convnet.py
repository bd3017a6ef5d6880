"""A small ConvNet of hand-written layers for 8x8 digits, under the categorical cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Trainable
from bench.gradients.layers import CCE, AvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
from bench.gradients.models import data
from bench.gradients.through import of_network

PARAMETERS = ("0.W", "1.gamma", "1.beta", "4.W", "4.b", "8.W", "8.b")
"""Named by the place of their layer. ``0.b`` is none of them: batch normalisation subtracts it again with the mean."""

TIE = 1e-12  # values that differ by less are equal but for rounding


def network(parameters: Arrays) -> Sequential:
    """The network for images [N, C, H, W]; both kernels are 3x3 with a border of zeros, both pools 2x2."""
    return Sequential(
        (
            Conv2d(parameters["0.W"], parameters["0.b"], padding=1),
            BatchNorm2d(parameters["1.gamma"], parameters["1.beta"]),
            ReLU(),
            MaxPool2d(2),
            Conv2d(parameters["4.W"], parameters["4.b"], padding=1),
            ReLU(),
            AvgPool2d(2),
            Flatten(),
            Linear(parameters["8.W"], parameters["8.b"]),
        )
    )


def margin(inputs: Arrays) -> float:
    """The smallest magnitude that a ReLU decides on, or the smallest lead of a maximum before another value.

    Equal values in a window of the maximum are left out: they come from equal windows of the image, so whichever counts
    as the maximum, the parameters' gradients are the same.
    """
    layers = network(inputs).layers
    x, nearest = inputs["x"], np.inf
    for layer in layers:
        if isinstance(layer, ReLU):
            nearest = min(nearest, float(np.abs(x).min()))
        if isinstance(layer, MaxPool2d):
            n, c, h, w = (*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2)
            windows = x[:, :, : 2 * h, : 2 * w].reshape(n, c, h, 2, w, 2)
            lead = windows.max(axis=(3, 5), keepdims=True) - windows
            nearest = min(nearest, float(lead[lead > TIE].min(initial=np.inf)))
        x = layer.forward(x)
    return nearest


def _torch(t: dict[str, torch.Tensor]) -> torch.Tensor:
    z = functional.conv2d(t["x"], t["0.W"], t["0.b"], padding=1)
    z = functional.batch_norm(z, None, None, t["1.gamma"], t["1.beta"], training=True, eps=1e-5)
    z = functional.max_pool2d(functional.relu(z), 2)
    z = functional.relu(functional.conv2d(z, t["4.W"], t["4.b"], padding=1))
    z = functional.avg_pool2d(z, 2).flatten(1)
    return functional.cross_entropy(functional.linear(z, t["8.W"], t["8.b"]), t["y"])


def _parameters(rng: np.random.Generator, channels: tuple[int, int, int], features: int, classes: int) -> Gradients:
    """Random parameters, each layer's of a size that keeps its outputs near 1."""
    c, d, e = channels
    return {
        "0.W": rng.normal(size=(d, c, 3, 3)) / np.sqrt(9 * c),
        "1.gamma": rng.uniform(0.5, 1.5, d),
        "1.beta": rng.normal(size=d) / 2,
        "4.W": rng.normal(size=(e, d, 3, 3)) / np.sqrt(9 * d),
        "4.b": rng.normal(size=e) / 2,
        "8.W": rng.normal(size=(classes, features)) / np.sqrt(features),
        "8.b": rng.normal(size=classes) / 2,
    }


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(n: int, channels: tuple[int, int, int], image: tuple[int, int], classes: int) -> dict[str, Array]:
        features = channels[2] * (image[0] // 4) * (image[1] // 4)
        return {
            "x": rng.normal(size=(n, channels[0], *image)),
            "y": rng.integers(classes, size=n),
            "0.b": np.zeros(channels[1]),
            **_parameters(rng, channels, features, classes),
        }

    yield Case("as on the digits, 3 samples", draw(3, (1, 4, 8), (8, 8), 10))
    yield Case("square", draw(4, (4, 4, 4), (4, 4), 4))
    yield Case("batch of 1, one channel", draw(1, (1, 1, 1), (4, 4), 2))
    yield Case("5 samples, odd image", draw(5, (2, 3, 4), (5, 7), 3))
    flat = draw(3, (2, 2, 2), (4, 4), 3)
    flat["x"][:] = flat["x"][:, :, :1, :1]  # windows of the interior are equal, and so are their outputs
    flat["4.W"][0], flat["4.b"][0] = 0.0, 0.0
    yield Case("equal maxima, and a channel at 0", flat, "kink")
    for beside in (1e-9, -1e-9):
        yield Case(f"a channel at {beside:g}", {**flat, "4.b": np.array([beside, flat["4.b"][1]])}, "kink")
    large = draw(3, (2, 3, 2), (4, 4), 3)
    yield Case("logits of 1e4", {**large, "x": 1e3 * large["x"], "8.W": 1e4 * large["8.W"]}, "extreme")


_ABOUT_KINK = (
    "none parts the two sides: nothing that a ReLU or a maximum decides on comes nearer to its kink than a million "
    "times the sides' distance; equal maxima, which the digits' even areas give, come from equal windows, so that "
    "either choice gives the same gradients"
)

ENTRY = Entry(
    id="convnet",
    title="small ConvNet, categorical cross-entropy",
    formula=r"L=\frac{1}{N}\sum\operatorname{CCE}(z,y),\quad z=W_3\operatorname{avg}(\operatorname{relu}(W_2*"
    r"\max(\operatorname{relu}(\operatorname{BN}(W_1*x)))+b_2))+b_3",
    corrected_latex=r"\frac{\partial L}{\partial\theta}=\Bigl(\frac{\partial z}{\partial\theta}\Bigr)^\top"
    r"\frac{1}{N}\bigl(\operatorname{softmax}(z)-\operatorname{onehot}(y)\bigr)",
    torch=_torch,
    cases=_cases,
    # Not the pools: where windows lie side by side, overwriting and adding are the same. Their own entries have others.
    targets=tuple(part._backward for part in (Conv2d, BatchNorm2d, ReLU, Flatten, Linear, CCE)),
    kink="where a ReLU's input is 0, both sides take 0; of equal maxima both take the first in reading order",
    **of_network(network, CCE, PARAMETERS),
)

ENTRIES = (ENTRY,)

TRAINABLES = (
    Trainable(
        entry=ENTRY,
        parameters=PARAMETERS,
        start=lambda rng: _parameters(rng, (1, 4, 8), 32, 10),
        data=lambda: {**dict(zip("xy", data.digits(), strict=True)), "0.b": np.zeros(4)},
        batch_size=64,
        epochs=6,
        rate=0.1,
        momentum=0.9,
        about_data=data.ABOUT_DIGITS,
        kink=_ABOUT_KINK,
        margin=margin,
    ),
)
