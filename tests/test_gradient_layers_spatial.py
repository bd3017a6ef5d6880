"""Convolution, pooling and batch normalisation against autograd: odd sizes, strides, padding, ties, refused input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F  # noqa: N812 - its usual name
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.gradients.layers import AvgPool2d, BatchNorm2d, Conv2d, Layer, MaxPool2d
from tests.against_torch import UPSTREAM, Floats, assert_layer, normal, two_numbers

pairs = st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def images(draw: st.DrawFn, least: int = 1) -> Floats:
    n, c = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return normal(n, c, draw(st.integers(least, 7)), draw(st.integers(least, 7)), seed=draw(st.integers(0, 99)))


@settings(max_examples=40, deadline=None)
@given(
    images(),
    st.integers(1, 3),
    pairs,
    pairs,
    st.integers(0, 2) | st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_convolution(x: Floats, channels: int, kernel: Any, stride: Any, padding: Any) -> None:
    # A kernel cut to the padded image: the whole image, one row of it, and everything smaller are drawn.
    kernel = [
        min(k, size + 2 * p) for k, size, p in zip(two_numbers(kernel), x.shape[2:], two_numbers(padding), strict=True)
    ]
    assert_layer(
        lambda w, b: Conv2d(w, b, stride, padding),
        lambda x, w, b: F.conv2d(x, w, b, stride=stride, padding=padding),
        x,
        normal(channels, x.shape[1], *kernel),
        normal(channels),
    )


def test_convolution_with_equal_extents() -> None:
    """Samples, channels, filters, rows and columns are all alike, so that one in another's place fits."""
    for how in ((1, 0), (1, 1), (2, 1), (3, 2)):
        assert_layer(
            lambda w, b, how=how: Conv2d(w, b, *how),
            lambda x, w, b, how=how: F.conv2d(x, w, b, *how),
            normal(3, 3, 3, 3),
            normal(3, 3, 3, 3, seed=1),
            normal(3),
        )


def test_convolution_takes_stride_and_padding_as_arrays_of_no_dimensions() -> None:
    x, w, b = normal(2, 2, 5, 5), normal(3, 2, 3, 3), normal(3)
    one = Conv2d(w, b, stride=np.array(2), padding=np.array([1, 0])).forward(x)  # type: ignore[arg-type]
    np.testing.assert_array_equal(one, Conv2d(w, b, 2, (1, 0)).forward(x))


@settings(max_examples=30, deadline=None)
@given(images(least=3), pairs, st.none() | pairs, st.booleans())
def test_max_pool(x: Floats, kernel: Any, stride: Any, ties: bool) -> None:
    """With ties: whole numbers from -1 to 1, of which every window has several that are equal."""
    x = np.clip(np.round(x), -1, 1) if ties else x
    assert_layer(lambda: MaxPool2d(kernel, stride), lambda x: F.max_pool2d(x, kernel, stride), x)


@settings(max_examples=30, deadline=None)
@given(images(least=3), pairs, st.none() | pairs)
def test_average_pool(x: Floats, kernel: Any, stride: Any) -> None:
    assert_layer(lambda: AvgPool2d(kernel, stride), lambda x: F.avg_pool2d(x, kernel, stride), x)


def test_max_pool_beside_a_tie() -> None:
    for beside in (0.0, 1e-9, -1e-9):
        x = np.zeros((2, 2, 4, 4))
        x[:, :, 1::2, 1::2] = beside
        assert_layer(lambda: MaxPool2d(2), lambda x: F.max_pool2d(x, 2), x)
        assert_layer(lambda: MaxPool2d(3, 1), lambda x: F.max_pool2d(x, 3, 1), x)


def test_first_of_equal_values_gets_the_gradient() -> None:
    layer = MaxPool2d(2)
    layer.forward(np.array([[[[1.0, 5.0], [5.0, 5.0]]]]))
    assert layer.backward(np.array([[[[7.0]]]])).tolist() == [[[[0.0, 7.0], [0.0, 0.0]]]]


def test_rest_that_no_window_reaches_gets_no_gradient() -> None:
    for layer in (MaxPool2d(2), AvgPool2d(2), Conv2d(normal(1, 1, 2, 2), normal(1), stride=2)):
        y = layer.forward(normal(1, 1, 5, 5))
        dx = layer.backward(np.ones_like(y))
        assert y.shape == (1, 1, 2, 2)
        assert dx[:, :, :4, :4].any()
        assert not dx[:, :, 4].any()
        assert not dx[:, :, :, 4].any()


def test_pools_and_convolution_of_extreme_values() -> None:
    w, b = normal(3, 3, 3, 3), normal(3)
    for scale in (1e-30, 1.0, 1e3, 1e30):
        x = normal(2, 3, 5, 5) * scale
        assert_layer(lambda: MaxPool2d(3, 2), lambda x: F.max_pool2d(x, 3, 2), x)
        assert_layer(lambda: AvgPool2d(3, 2), lambda x: F.avg_pool2d(x, 3, 2), x)
        assert_layer(lambda w, b: Conv2d(w, b, 2, 1), lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1), x, w, b)


# From few values a channel the gradient can be the small difference of large numbers, and on both sides mere rounding:
# what is left of ``g`` has two dimensions less than there are values.
@settings(max_examples=30, deadline=None)
@given(images(least=3), st.sampled_from([1e-5, 1e-3, 1.0]), st.sampled_from([1e-3, 1.0, 1e3, 1e15]))
def test_batch_norm(x: Floats, eps: float, scale: float) -> None:
    channels = x.shape[1]
    assert_layer(
        lambda gamma, beta: BatchNorm2d(gamma, beta, eps),
        lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps),
        scale * x,
        normal(channels),
        normal(channels, seed=1),
    )


def test_batch_norm_far_from_zero() -> None:
    """The offset is made of whole numbers, so that float32 has all digits of the differences that matter."""
    for shape in ((3, 3, 3, 3), (1, 1, 2, 2), (1, 4, 3, 5), (5, 2, 1, 1)):
        for offset in (0.0, 1e2, -1e3):
            assert_layer(
                BatchNorm2d,
                lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True),
                offset + np.round(16 * normal(*shape)) / 16,
                normal(shape[1]),
                normal(shape[1], seed=1),
            )


@settings(max_examples=20, deadline=None)
@given(images(least=2), st.sampled_from([1.0, 1e3]), st.sampled_from([0.0, 1e3]))
def test_batch_norm_gives_mean_beta_and_deviation_gamma(x: Floats, scale: float, offset: float) -> None:
    channels = x.shape[1]
    gamma, beta = normal(channels), normal(channels, seed=1)
    y = BatchNorm2d(gamma, beta, eps=1e-12).forward(scale * x + offset)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), beta, atol=1e-11)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), np.abs(gamma), rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(images(least=2))
def test_gradient_of_batch_norm_is_orthogonal_to_shifts_and_nearly_to_scaling(x: Floats) -> None:
    layer = BatchNorm2d(normal(x.shape[1]), normal(x.shape[1], seed=1), eps=1e-12)
    layer.forward(x)
    dx = layer.backward(normal(*x.shape, seed=UPSTREAM))
    np.testing.assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=1e-9)
    np.testing.assert_allclose((dx * x).sum(axis=(0, 2, 3)), 0, atol=1e-9)


def test_constant_channel_is_normalised_to_beta() -> None:
    layer = BatchNorm2d(np.array([2.0]), np.array([0.5]))
    assert np.array_equal(layer.forward(np.full((2, 1, 2, 2), 3.0)), np.full((2, 1, 2, 2), 0.5))


def test_read_only_images_are_taken() -> None:
    x = normal(2, 2, 4, 4)
    x.flags.writeable = False
    ones = np.ones(2)
    for layer in (Conv2d(normal(2, 2, 3, 3), ones), MaxPool2d(2), AvgPool2d(2), BatchNorm2d(ones, ones)):
        assert layer.backward(layer.forward(x)).shape == x.shape


W, B = np.ones((3, 2, 2, 2)), np.ones(3)
IMAGE = np.ones((1, 2, 4, 4))


def test_layer_that_cannot_be_made() -> None:
    builds: list[tuple[Callable[[], Layer], str]] = [
        (lambda: Conv2d(np.ones((3, 2)), B), r"W of Conv2d must have 4 dimensions, not the shape \(3, 2\)"),
        (lambda: Conv2d(W, np.ones(2)), r"b of Conv2d must have the shape \(3\), not \(2,\)"),
        (lambda: Conv2d(W, B.astype(np.float32)), "b of Conv2d is float32 where float64 is computed"),
        (lambda: Conv2d(np.ones((3, 2, 0, 2)), B), "W of Conv2d is empty"),
        (lambda: Conv2d(W * np.nan, B), "W of Conv2d contains NaN"),
        (lambda: Conv2d(W, B, stride=0), "the stride of Conv2d must be at least 1, not 0"),
        (lambda: Conv2d(W, B, stride=-1), "the stride of Conv2d must be at least 1, not -1"),
        (lambda: Conv2d(W, B, stride=(1, 0)), r"the stride of Conv2d must be at least 1, not \(1, 0\)"),
        (lambda: Conv2d(W, B, stride=1.5), "the stride of Conv2d must be an integer or two, not 1.5"),  # type: ignore[arg-type]
        (lambda: Conv2d(W, B, stride=(1, 2, 3)), "the stride of Conv2d must be an integer or two"),  # type: ignore[arg-type]
        (lambda: Conv2d(W, B, padding=-1), "the padding of Conv2d must be at least 0, not -1"),
        (lambda: Conv2d(W, B, padding="same"), "the padding of Conv2d must be an integer or two, not 'same'"),  # type: ignore[arg-type]
        (lambda: MaxPool2d(0), "the kernel of MaxPool2d must be at least 1, not 0"),
        (lambda: MaxPool2d(2, 0), "the stride of MaxPool2d must be at least 1, not 0"),
        (lambda: AvgPool2d((2, -1)), r"the kernel of AvgPool2d must be at least 1, not \(2, -1\)"),
        (lambda: AvgPool2d(2, -2), "the stride of AvgPool2d must be at least 1, not -2"),
        (lambda: BatchNorm2d(np.ones((2, 1)), np.ones(2)), "gamma of BatchNorm2d must have 1 dimensions"),
        (lambda: BatchNorm2d(np.ones(2), np.ones(3)), r"beta of BatchNorm2d must have the shape \(2\), not \(3,\)"),
        (lambda: BatchNorm2d(B, B.astype(np.float32)), "beta of BatchNorm2d is float32 where float64 is computed"),
        (lambda: BatchNorm2d(B, B, eps=0), "eps of BatchNorm2d must be positive and finite, not 0.0"),
        (lambda: BatchNorm2d(B, B, eps=-1e-5), "eps of BatchNorm2d must be positive and finite, not -1e-05"),
    ]
    for build, message in builds:
        with pytest.raises(ValueError, match=message):
            build()


def test_input_that_is_refused() -> None:
    inputs: list[tuple[Layer, Floats, str]] = [
        (Conv2d(W, B), np.ones((1, 3, 4, 4)), r"Conv2d must have the shape \(any, 2, any, any\), not \(1, 3, 4, 4\)"),
        (Conv2d(W, B), np.ones((2, 4, 4)), r"the input of Conv2d must have the shape .*, not \(2, 4, 4\)"),
        (Conv2d(W, B), IMAGE.astype(np.float32), "the input of Conv2d is float32 where float64 is computed"),
        (Conv2d(W, B), IMAGE * np.nan, "the input of Conv2d contains NaN"),
        (Conv2d(W, B), np.ones((0, 2, 4, 4)), "the input of Conv2d is empty"),
        (Conv2d(W, B), np.ones((1, 2, 1, 4)), "kernel of Conv2d, 2 x 2, is larger than the image, 1 x 4 with its padd"),
        (Conv2d(np.ones((1, 2, 2, 7)), np.ones(1), 1, 1), IMAGE, "kernel of Conv2d, 2 x 7, .* the image, 6 x 6 with"),
        (MaxPool2d(2), np.ones((2, 4, 4)), r"the input of MaxPool2d must have 4 dimensions, not the shape \(2, 4, 4\)"),
        (MaxPool2d(5), IMAGE, "the kernel of MaxPool2d, 5 x 5, is larger than the image, 4 x 4"),
        (AvgPool2d((1, 5)), IMAGE, "the kernel of AvgPool2d, 1 x 5, is larger than the image, 4 x 4"),
        (AvgPool2d(2), np.ones((4, 4)), "the input of AvgPool2d must have 4 dimensions"),
        (BatchNorm2d(B, B), IMAGE, r"BatchNorm2d must have the shape \(any, 3, any, any\), not \(1, 2, 4, 4\)"),
        (BatchNorm2d(B, B), np.ones((1, 3, 1, 1)), "BatchNorm2d needs more than one value a channel"),
        (BatchNorm2d(B, B), np.ones((2, 3, 1, 1), np.float32), "BatchNorm2d is float32 where float64 is computed"),
    ]
    for layer, x, message in inputs:
        with pytest.raises(ValueError, match=message):
            layer.forward(x)


def test_batch_norm_in_float32_keeps_the_digits_of_an_image_with_a_large_offset() -> None:
    x = (1e4 + np.random.default_rng(0).standard_normal((8, 2, 16, 16))).astype(np.float32)
    exact = x.astype(np.float64)
    mean, variance = exact.mean((0, 2, 3), keepdims=True), exact.var((0, 2, 3), keepdims=True)
    ones = np.ones(2, np.float32)
    y = BatchNorm2d(ones, ones * 0).forward(x)
    assert y.dtype == np.float32
    assert np.abs(y - (exact - mean) / np.sqrt(variance + 1e-5)).max() < 2e-6  # a mean in float32 is off by 5e-4
