"""Layers on images. The notes derive none of them; the theory chapter's ConvNet needs them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from bench.gradients.entry import Array, Case, Entry
from bench.gradients.layers import AvgPool2d, BatchNorm2d, Conv2d, Flatten, MaxPool2d
from bench.gradients.through import of_layer

_CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, int], tuple[int, int]]] = {
    "batch of 1, 1 channel, 1 x 1": ((1, 1, 3, 3), (1, 1, 1, 1), (1, 1), (0, 0)),
    "batch of 1": ((1, 2, 5, 4), (3, 2, 2, 3), (1, 1), (0, 0)),
    "square": ((3, 3, 3, 3), (3, 3, 3, 3), (1, 1), (1, 1)),
    "odd, strides and padding": ((2, 3, 7, 6), (4, 3, 3, 2), (2, 1), (1, 2)),
    "windows apart, with a rest": ((2, 1, 8, 9), (2, 1, 2, 2), (3, 4), (0, 0)),
}
"""Shapes of the images and of the weights, stride and padding."""

_POOLS: dict[str, tuple[tuple[int, ...], tuple[int, int], tuple[int, int]]] = {
    "batch of 1, one window": ((1, 1, 2, 2), (2, 2), (2, 2)),
    "batch of 1": ((1, 2, 4, 6), (2, 3), (2, 3)),
    "square": ((4, 4, 4, 4), (2, 2), (2, 2)),
    "odd, windows overlap": ((2, 3, 7, 6), (3, 2), (2, 1)),
    "windows apart, with a rest": ((3, 1, 8, 9), (2, 2), (3, 4)),
}
"""Shape of the images, kernel and stride."""


def _conv_cases(rng: np.random.Generator) -> Iterator[Case]:
    drawn = [(name, name, 1.0) for name in _CONVOLUTIONS] + [("large", "odd, strides and padding", 1e3)]
    for name, like, magnitude in drawn:
        image, weights, stride, padding = _CONVOLUTIONS[like]
        inputs = {
            "x": magnitude * rng.standard_normal(image),
            "W": magnitude * rng.standard_normal(weights),
            "b": magnitude * rng.standard_normal(weights[0]),
            "stride": np.array(stride),
            "padding": np.array(padding),
        }
        yield Case(name, inputs, "extreme" if name == "large" else "regular")


def _pool_inputs(x: Array, kernel: tuple[int, int], stride: tuple[int, int]) -> dict[str, Array]:
    return {"x": x, "kernel": np.array(kernel), "stride": np.array(stride)}


def _avg_pool_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, (image, kernel, stride) in _POOLS.items():
        yield Case(name, _pool_inputs(rng.standard_normal(image), kernel, stride))
    yield Case("large", _pool_inputs(1e4 * rng.standard_normal((2, 1, 4, 4)), (2, 2), (2, 2)), kind="extreme")


def _max_pool_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _avg_pool_cases(rng)
    yield Case("all tied", _pool_inputs(np.ones((2, 2, 4, 4)), (2, 2), (2, 2)), kind="kink")
    some = rng.integers(0, 2, (3, 2, 5, 5)).astype(np.float64)
    yield Case("some tied, windows overlap", _pool_inputs(some, (3, 3), (1, 1)), kind="kink")
    beside = rng.choice([0.0, 1e-9, -1e-9], (2, 2, 4, 6))
    yield Case("beside a tie", _pool_inputs(beside, (2, 3), (2, 3)), kind="kink")


def _batch_norm_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(x: Array, eps: float = 1e-5) -> dict[str, Array]:
        channels = x.shape[1:2]
        gamma, beta = rng.uniform(0.5, 2, channels), rng.standard_normal(channels)
        return {"x": x, "gamma": gamma, "beta": beta, "eps": np.array(eps)}

    for name, shape in (
        ("batch of 1, 1 channel", (1, 1, 3, 2)),
        ("batch of 1", (1, 3, 2, 4)),
        ("square", (4, 4, 4, 4)),
        ("odd", (5, 3, 2, 3)),
        ("1 pixel", (6, 2, 1, 1)),
    ):
        yield Case(name, inputs(rng.standard_normal(shape)))
    yield Case("large eps", inputs(rng.standard_normal((3, 2, 2, 2)), eps=0.5))
    yield Case("large", inputs(1e3 * rng.standard_normal((4, 2, 3, 3))), kind="extreme")
    yield Case("far from 0", inputs(1e2 + rng.standard_normal((4, 2, 3, 3))), kind="extreme")
    yield Case("constant", inputs(np.full((2, 2, 2, 2), 0.5)), kind="extreme")


def _flatten_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, shape in (
        ("batch of 1, 1 feature", (1, 1, 1, 1)),
        ("batch of 1", (1, 2, 3, 4)),
        ("square", (3, 3, 3, 3)),
        ("odd", (5, 3, 1, 7)),
        ("flat already", (4, 6)),
    ):
        yield Case(name, {"x": rng.standard_normal(shape)})
    yield Case("large", {"x": 1e4 * rng.standard_normal((2, 2, 2, 2))}, kind="extreme")


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="conv2d",
        title="convolution with stride and padding",
        group="layer",
        formula=r"y_{nohw} = b_o + \sum_{cij} W_{ocij}\, x_{nc(sh+i-p)(sw+j-p)}",
        corrected_latex=r"\frac{\partial L}{\partial W_{ocij}} = \sum_{nhw} g_{nohw}\, x_{nc(sh+i-p)(sw+j-p)},\quad"
        r" \frac{\partial L}{\partial b_o} = \sum_{nhw} g_{nohw},\quad \frac{\partial L}{\partial x_{nckl}} ="
        r" \sum_{\substack{ohwij:\; sh+i-p=k,\\ sw+j-p=l}} g_{nohw}\, W_{ocij}",
        torch=lambda t: functional.conv2d(t["x"], t["W"], t["b"], t["stride"].tolist(), t["padding"].tolist()),
        wrt=("x", "W", "b"),
        cases=_conv_cases,
        **of_layer(Conv2d, "W", "b", "stride", "padding"),
    ),
    Entry(
        id="max-pool",
        title="maximum over windows",
        group="layer",
        formula=r"y_{nchw} = \max_{ij} x_{nc(sh+i)(sw+j)}",
        corrected_latex=r"\frac{\partial L}{\partial x_{nckl}} = \sum_{hw:\; (k,l) = \arg\max} g_{nchw}",
        torch=lambda t: functional.max_pool2d(t["x"], t["kernel"].tolist(), t["stride"].tolist()),
        cases=_max_pool_cases,
        **of_layer(MaxPool2d, "kernel", "stride"),
        kink="where the largest values of a window tie: both give all to the first in reading order",
    ),
    Entry(
        id="avg-pool",
        title="mean over windows",
        group="layer",
        formula=r"y_{nchw} = \frac{1}{k_h k_w} \sum_{ij} x_{nc(sh+i)(sw+j)}",
        corrected_latex=r"\frac{\partial L}{\partial x_{nckl}} = \frac{1}{k_h k_w}"
        r" \sum_{hw:\; (k,l) \in \text{window}} g_{nchw}",
        torch=lambda t: functional.avg_pool2d(t["x"], t["kernel"].tolist(), t["stride"].tolist()),
        cases=_avg_pool_cases,
        **of_layer(AvgPool2d, "kernel", "stride"),
    ),
    Entry(
        id="batch-norm",
        title="batch normalisation in training",
        group="layer",
        formula=r"y = \gamma \hat{x} + \beta,\quad \hat{x} = \frac{x - \mu}{\sqrt{v + \varepsilon}}",
        corrected_latex=r"\frac{\partial L}{\partial x} = \frac{\gamma}{\sqrt{v + \varepsilon}}"
        r" \left(g - \overline{g} - \hat{x}\, \overline{g \hat{x}}\right),\quad"
        r" \frac{\partial L}{\partial \gamma} = \sum g \hat{x},\quad \frac{\partial L}{\partial \beta} = \sum g",
        torch=lambda t: functional.batch_norm(t["x"], None, None, t["gamma"], t["beta"], True, eps=t["eps"].item()),
        wrt=("x", "gamma", "beta"),
        cases=_batch_norm_cases,
        **of_layer(BatchNorm2d, "gamma", "beta", "eps"),
    ),
    Entry(
        id="flatten",
        title="images to rows",
        group="layer",
        formula=r"y_{n,\,(cH + h)W + w} = x_{nchw}",
        corrected_latex=r"\frac{\partial L}{\partial x_{nchw}} = g_{n,\,(cH + h)W + w}",
        torch=lambda t: torch.flatten(t["x"], 1),
        cases=_flatten_cases,
        **of_layer(Flatten),
    ),
)
