"""Dense layers and activations against autograd: shapes, kinks, extremes, and input that is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.gradients.layers import (
    Cubic,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    Variable,
)
from tests.against_torch import Floats, assert_layer, normal

SHAPES = [(1, 1), (1, 4), (3, 1), (4, 4), (5, 3), (2, 3, 2), (1, 2, 3, 3)]

ACTIVATIONS: dict[str, tuple[Callable[[], Layer], Callable[[torch.Tensor], torch.Tensor]]] = {
    "sigmoid": (Sigmoid, torch.sigmoid),
    "tanh": (Tanh, torch.tanh),
    "relu": (ReLU, torch.relu),
    "leaky relu": (lambda: LeakyReLU(0.1), lambda x: F.leaky_relu(x, 0.1)),
    "leaky relu, no slope": (lambda: LeakyReLU(0), lambda x: F.leaky_relu(x, 0.0)),
    "leaky relu, steep": (lambda: LeakyReLU(np.array(-2.5)), lambda x: F.leaky_relu(x, -2.5)),
    "softmax": (Softmax, lambda x: torch.softmax(x, -1)),
}

# Ordinary values stand beside the extreme ones: where an activation is saturated in every place, the gradient of both
# sides is nothing but rounding.
EXTREME = np.array(
    [
        [0.3, -1.2, 1e3, -1e3, 1e4],
        [-1e4, 0.7, 20.0, -20.0, 40.0],
        [2.0, -40.0, 90.0, -90.0, 1e-30],
        [1e30, -0.4, -1e30, 1.1, 1e-9],
        [3e38, 3e38, -3e38, -3e38, 0.0],
    ]
)


def moderate(shape: tuple[int, ...]) -> st.SearchStrategy[Floats]:
    """Values where no activation is saturated, kinks and their neighbours among them, that are exact in float32."""
    beside = [float(np.float32(1e-9)), float(np.finfo(np.float32).tiny)]
    kinks = st.sampled_from([0.0, -0.0, *beside, *(-b for b in beside)])
    return arrays(np.float64, shape, elements=kinks | st.floats(-3, 3, width=32, allow_subnormal=False))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1e-3, 1.0, 1e3]), st.integers(0, 99))
def test_linear_and_cubic(samples: int, inputs: int, outputs: int, scale: float, seed: int) -> None:
    x, w, b = normal(samples, inputs, seed=seed) * scale, normal(outputs, inputs, seed=seed), normal(outputs, seed=seed)
    assert_layer(Linear, F.linear, x, w, b)
    assert_layer(Cubic, lambda x, w, b: F.linear(x**3, w, b), x, w, b)


def test_flatten() -> None:
    for shape in ((1, 1), (3, 4), (2, 3, 4), (2, 3, 1, 5)):
        assert_layer(Flatten, lambda x: torch.flatten(x, 1), normal(*shape))


@pytest.mark.parametrize("name", ACTIVATIONS)
@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SHAPES).flatmap(moderate))
def test_activation(name: str, x: Floats) -> None:
    build, reference = ACTIVATIONS[name]
    assert_layer(build, reference, normal(*x.shape))
    if name == "softmax":
        x = x + np.arange(x.size).reshape(x.shape) / x.size  # equal values and g - mean(g) leave mere rounding
    assert_layer(build, reference, x)


def test_activations_of_extreme_values() -> None:
    """Neither side overflows, which would be a warning and so an error here."""
    for name, (build, reference) in ACTIVATIONS.items():
        assert_layer(build, reference, EXTREME / 4 if "steep" in name else EXTREME)


def test_derivative_at_the_kink() -> None:
    kinks: list[tuple[Layer, float]] = [(ReLU(), 0.0), (LeakyReLU(0.25), 0.25), (LeakyReLU(-3), -3.0)]
    for layer, derivative in kinks:
        layer.forward(np.array([[0.0, -0.0]]))
        assert layer.backward(np.ones((1, 2))).tolist() == [[derivative, derivative]]


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, (3, 4), elements=st.floats(-1e300, 1e300)))
def test_softmax_gives_probabilities_and_a_gradient_that_sums_to_zero(x: Floats) -> None:
    layer = Softmax()
    y = layer.forward(x)
    assert np.all(y >= 0)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(layer.backward(normal(3, 4)).sum(axis=1), 0, atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, (2, 5), elements=st.floats(-1e300, 1e300)))
def test_sigmoid_and_tanh_are_symmetric(x: Floats) -> None:
    np.testing.assert_allclose(Sigmoid().forward(x) + Sigmoid().forward(-x), 1, rtol=1e-15)
    np.testing.assert_array_equal(Tanh().forward(-x), -Tanh().forward(x))


def test_sigmoid_keeps_the_digits_of_small_values() -> None:
    x = np.array([[-30.0, -300.0, -700.0]])
    np.testing.assert_allclose(Sigmoid().forward(x), np.exp(x), rtol=1e-12)


def test_sequential_is_its_layers_one_after_another() -> None:
    def build(w: Floats, b: Floats, v: Floats, c: Floats) -> Sequential:
        return Sequential([Linear(w, b), Tanh(), Cubic(v, c)])

    def nested(w: Floats, b: Floats, v: Floats, c: Floats) -> Sequential:
        return Sequential([Sequential([Linear(w, b), Tanh()]), Cubic(v, c)])

    def reference(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, v: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return F.linear(torch.tanh(F.linear(x, w, b)) ** 3, v, c)

    parameters = normal(4, 3), normal(4), normal(2, 4), normal(2)
    assert_layer(build, reference, normal(5, 3), *parameters)
    assert_layer(nested, reference, normal(5, 3), *parameters)
    assert list(build(*parameters).parameters()) == ["0.W", "0.b", "2.W", "2.b"]
    assert list(nested(*parameters).parameters()) == ["0.0.W", "0.0.b", "1.W", "1.b"]


def test_gradients_add_up_until_they_are_forgotten() -> None:
    layer = Linear(normal(2, 3), normal(2))
    layer.forward(normal(4, 3))
    g = normal(4, 2)
    layer.backward(g)
    once = {name: p.grad.copy() for name, p in layer.parameters().items()}
    layer.backward(g)
    for name, parameter in layer.parameters().items():
        np.testing.assert_array_equal(parameter.grad, 2 * once[name])
        parameter.zero_grad()
        np.testing.assert_array_equal(parameter.grad, np.zeros_like(once[name]))


def test_memory_layout_of_the_input_does_not_matter() -> None:
    x = normal(6, 4)
    layouts = {
        "read-only": x.copy(),
        "reversed": x[::-1].copy()[::-1],
        "every other": np.repeat(x, 2, axis=0)[::2],
        "column order": np.asfortranarray(x),
    }
    for same in layouts.values():
        same.flags.writeable = False
        for build in (lambda: Linear(normal(3, 4), normal(3)), ReLU, Softmax):
            layer, other = build(), build()
            np.testing.assert_allclose(layer.forward(x), other.forward(same), rtol=1e-14)
            g = normal(*layer.forward(x).shape)
            np.testing.assert_allclose(layer.backward(g), other.backward(g), rtol=1e-14)


NAN = np.array([[1.0, np.nan, 0.0]])
INFINITE = np.array([[1.0, -np.inf, 0.0]])
ROWS = np.ones((2, 3))


def linear() -> Linear:
    return Linear(np.ones((2, 3)), np.ones(2))


def refused(message: str, call: Callable[..., object], *arguments: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call(*arguments)


def test_input_that_no_layer_takes() -> None:
    inputs: list[tuple[Any, str]] = [
        (NAN, "the input of .* contains NaN"),
        (INFINITE, "the input of .* contains an infinity"),
        (np.ones((0, 3)), r"the input of .* is empty \(shape \(0, 3\)\)"),
        (np.ones((2, 3), np.int64), "must be a float32 or float64 array, not int64"),
        (np.ones((2, 3), np.float16), "must be a float32 or float64 array, not float16"),
        (np.ones((2, 3), np.complex128), "must be a float32 or float64 array, not complex128"),
        ([[1.0, 2.0, 3.0]], "must be a float32 or float64 array, not list"),
        (torch.ones(2, 3), "must be a float32 or float64 array, not Tensor"),
    ]
    for layer in (linear(), Cubic(np.ones((2, 3)), np.ones(2)), Flatten(), Sigmoid(), Softmax()):
        for x, message in inputs:
            refused(message, layer.forward, x)


def test_input_that_one_layer_does_not_take() -> None:
    inputs: list[tuple[Layer, Any, str]] = [
        (linear(), np.ones((2, 4)), r"the input of Linear must have the shape \(any, 3\), not \(2, 4\)"),
        (linear(), np.ones(3), r"the input of Linear must have the shape \(any, 3\), not \(3,\)"),
        (linear(), np.ones((2, 3, 1)), r"must have the shape \(any, 3\), not \(2, 3, 1\)"),
        (linear(), np.ones((2, 3), np.float32), "is float32 where float64 is computed; convert one of them"),
        (Cubic(np.ones((2, 3)), np.ones(2)), np.ones((1, 2)), r"the input of Cubic must have the shape"),
        (Flatten(), np.ones(3), r"Flatten must have a batch and a feature dimension, not the shape \(3,\)"),
        (Softmax(), np.ones(3), r"the shape \(3,\) has no axis beside the batch"),
    ]
    for layer, x, message in inputs:
        refused(message, layer.forward, x)


def test_layer_that_cannot_be_made() -> None:
    relu = ReLU()
    builds: list[tuple[Callable[[], object], str]] = [
        (lambda: Linear(np.ones(3), np.ones(3)), r"W of Linear must have 2 dimensions, not the shape \(3,\)"),
        (lambda: Linear(ROWS, np.ones(3)), r"b of Linear must have the shape \(2\), not \(3,\)"),
        (lambda: Linear(ROWS, np.ones((2, 1))), r"b of Linear must have the shape \(2\), not \(2, 1\)"),
        (lambda: Linear(ROWS, np.ones(2, np.float32)), "b of Linear is float32 where float64 is computed"),
        (lambda: Linear(np.ones((0, 3)), np.ones(0)), "W of Linear is empty"),
        (lambda: Linear(NAN, np.ones(1)), "W of Linear contains NaN"),
        (lambda: Linear(ROWS, np.array([1, 2])), "b of Linear must be a float32 or float64 array, not int64"),
        (lambda: Cubic(ROWS, np.ones(3)), r"b of Cubic must have the shape \(2\), not \(3,\)"),
        (lambda: Variable(np.ones(2, np.complex64)), "a parameter must be a float32 or float64 array, not complex64"),
        (lambda: LeakyReLU(np.nan), "the slope of LeakyReLU must be finite, not nan"),
        (lambda: LeakyReLU("0.1"), "the slope of LeakyReLU must be one number, not '0.1'"),
        (lambda: LeakyReLU([0.1]), r"the slope of LeakyReLU must be one number, not \[0.1\]"),
        (lambda: Sequential([]), "Sequential needs at least one layer"),
        (lambda: Sequential([relu, relu]), "the same layer twice"),
    ]
    for build, message in builds:
        refused(message, build)


def test_upstream_gradient_that_is_not_like_the_output() -> None:
    layer = linear()
    layer.forward(np.ones((4, 3)))
    gradients: list[tuple[Any, str]] = [
        (np.ones((2, 3)), r"the upstream gradient of Linear must have the shape \(4, 2\), not \(2, 3\)"),
        (np.ones(2), r"the upstream gradient of Linear must have the shape \(4, 2\), not \(2,\)"),
        (np.ones((4, 2), np.float32), "the upstream gradient of Linear is float32 where float64 is computed"),
        (np.full((4, 2), np.nan), "the upstream gradient of Linear contains NaN"),
        (np.ones((4, 2), np.int64), "the upstream gradient of Linear must be a float32 or float64 array"),
    ]
    for g, message in gradients:
        refused(message, layer.backward, g)
    assert not layer.W.grad.any()


def test_backward_needs_a_forward_pass_that_went_well() -> None:
    layer = linear()
    with pytest.raises(ValueError, match=r"Linear.backward needs a forward pass first"):
        layer.backward(np.ones((2, 2)))
    layer.forward(ROWS)
    with pytest.raises(ValueError, match="contains NaN"):
        layer.forward(NAN)
    with pytest.raises(ValueError, match=r"Linear.backward needs a forward pass first"):
        layer.backward(np.ones((2, 2)))
