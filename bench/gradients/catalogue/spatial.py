"""Layers on images. The notes derive none of them; the theory chapter's ConvNet needs them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bench.gradients.catalogue.through import forward_of, gradient_of
from bench.gradients.entry import Array, Arrays, Case, Entry
from bench.gradients.layers import AvgPool2d, BatchNorm2d, Conv2d, Flatten, MaxPool2d

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
    def inputs(name: str, magnitude: float = 1.0) -> dict[str, Array]:
        image, weights, stride, padding = _CONVOLUTIONS[name]
        return {
            "x": magnitude * rng.standard_normal(image),
            "W": magnitude * rng.standard_normal(weights),
            "b": magnitude * rng.standard_normal(weights[0]),
            "stride": np.array(stride),
            "padding": np.array(padding),
        }

    for name in _CONVOLUTIONS:
        yield Case(name, inputs(name))
    yield Case("large", inputs("odd, strides and padding", 1e3), kind="extreme")


def _conv(inputs: Arrays) -> Conv2d:
    return Conv2d(inputs["W"], inputs["b"], tuple(inputs["stride"]), tuple(inputs["padding"]))


def _torch_conv(t: dict[str, Tensor]) -> Tensor:
    return torch.nn.functional.conv2d(
        t["x"], t["W"], t["b"], stride=t["stride"].tolist(), padding=t["padding"].tolist()
    )


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


def _max_pool(inputs: Arrays) -> MaxPool2d:
    return MaxPool2d(tuple(inputs["kernel"]), tuple(inputs["stride"]))


def _avg_pool(inputs: Arrays) -> AvgPool2d:
    return AvgPool2d(tuple(inputs["kernel"]), tuple(inputs["stride"]))


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


def _batch_norm(inputs: Arrays) -> BatchNorm2d:
    return BatchNorm2d(inputs["gamma"], inputs["beta"], inputs["eps"])


def _torch_batch_norm(t: dict[str, Tensor]) -> Tensor:
    return torch.nn.functional.batch_norm(t["x"], None, None, t["gamma"], t["beta"], training=True, eps=t["eps"].item())


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
        forward=forward_of(_conv),
        corrected=gradient_of(_conv),
        torch=_torch_conv,
        wrt=("x", "W", "b"),
        cases=_conv_cases,
        targets=(Conv2d._backward,),
    ),
    Entry(
        id="max-pool",
        title="maximum over windows",
        group="layer",
        formula=r"y_{nchw} = \max_{ij} x_{nc(sh+i)(sw+j)}",
        corrected_latex=r"\frac{\partial L}{\partial x_{nckl}} = \sum_{hw:\; (k,l) = \arg\max} g_{nchw}",
        forward=forward_of(_max_pool),
        corrected=gradient_of(_max_pool),
        torch=lambda t: torch.nn.functional.max_pool2d(t["x"], t["kernel"].tolist(), t["stride"].tolist()),
        wrt=("x",),
        cases=_max_pool_cases,
        targets=(MaxPool2d._backward,),
        kink="where the largest values of a window tie: both give all to the first in reading order",
    ),
    Entry(
        id="avg-pool",
        title="mean over windows",
        group="layer",
        formula=r"y_{nchw} = \frac{1}{k_h k_w} \sum_{ij} x_{nc(sh+i)(sw+j)}",
        corrected_latex=r"\frac{\partial L}{\partial x_{nckl}} = \frac{1}{k_h k_w}"
        r" \sum_{hw:\; (k,l) \in \text{window}} g_{nchw}",
        forward=forward_of(_avg_pool),
        corrected=gradient_of(_avg_pool),
        torch=lambda t: torch.nn.functional.avg_pool2d(t["x"], t["kernel"].tolist(), t["stride"].tolist()),
        wrt=("x",),
        cases=_avg_pool_cases,
        targets=(AvgPool2d._backward,),
    ),
    Entry(
        id="batch-norm",
        title="batch normalisation in training",
        group="layer",
        formula=r"y = \gamma \hat{x} + \beta,\quad \hat{x} = \frac{x - \mu}{\sqrt{v + \varepsilon}}",
        corrected_latex=r"\frac{\partial L}{\partial x} = \frac{\gamma}{\sqrt{v + \varepsilon}}"
        r" \left(g - \overline{g} - \hat{x}\, \overline{g \hat{x}}\right),\quad"
        r" \frac{\partial L}{\partial \gamma} = \sum g \hat{x},\quad \frac{\partial L}{\partial \beta} = \sum g",
        forward=forward_of(_batch_norm),
        corrected=gradient_of(_batch_norm),
        torch=_torch_batch_norm,
        wrt=("x", "gamma", "beta"),
        cases=_batch_norm_cases,
        targets=(BatchNorm2d._backward,),
    ),
    Entry(
        id="flatten",
        title="images to rows",
        group="layer",
        formula=r"y_{n,\,(cH + h)W + w} = x_{nchw}",
        corrected_latex=r"\frac{\partial L}{\partial x_{nchw}} = g_{n,\,(cH + h)W + w}",
        forward=forward_of(lambda _: Flatten()),
        corrected=gradient_of(lambda _: Flatten()),
        torch=lambda t: torch.flatten(t["x"], 1),
        wrt=("x",),
        cases=_flatten_cases,
        targets=(Flatten._backward,),
    ),
)
