"""Crops lie within their images, follow their distribution, and depend on nothing but seed, epoch and sample."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loaders.images.crops import AREA, CENTRE, RATIO, central_boxes, random_boxes, resize_into, sample_bits

extents = st.integers(1, 5000)


@given(sizes=st.lists(st.tuples(extents, extents), min_size=1, max_size=30), seed=st.integers(0, 2**63 - 1))
@settings(max_examples=60, deadline=None)
def test_boxes_lie_within_their_images(sizes: list[tuple[int, int]], seed: int) -> None:
    array = np.array(sizes, np.int64)
    for boxes in (random_boxes(array, seed, 3, np.arange(len(sizes))), central_boxes(array)):
        assert boxes.shape == (len(sizes), 4)
        top, left, height, width = boxes.T
        assert (top >= 0).all()
        assert (left >= 0).all()
        assert (height >= 1).all()
        assert (width >= 1).all()
        assert (top + height <= array[:, 0]).all()
        assert (left + width <= array[:, 1]).all()


def test_a_box_depends_on_its_own_sample_alone() -> None:
    random = np.random.default_rng(0)
    sizes, indices = random.integers(20, 900, (50, 2)), random.integers(0, 10**7, 50)
    boxes = random_boxes(sizes, 5, 2, indices)
    order = random.permutation(50)
    assert np.array_equal(random_boxes(sizes[order], 5, 2, indices[order]), boxes[order])
    for one in range(5):
        assert np.array_equal(random_boxes(sizes[one : one + 1], 5, 2, indices[one : one + 1])[0], boxes[one])
    assert not np.array_equal(random_boxes(sizes, 5, 3, indices), boxes)
    assert not np.array_equal(random_boxes(sizes, 6, 2, indices), boxes)


def test_area_and_ratio_follow_torchvision_s_distribution() -> None:
    count = 20_000
    boxes = random_boxes(np.full((count, 2), 4000, np.int64), 0, 0, np.arange(count))
    share, ratio = boxes[:, 2] * boxes[:, 3] / 4000**2, boxes[:, 3] / boxes[:, 2]
    assert share.min() >= AREA[0] * 0.99
    assert RATIO[0] * 0.99 <= ratio.min() <= ratio.max() <= RATIO[1] * 1.01
    # Boxes that do not fit are drawn again, which spares the small ones: below half the area all fit.
    small = share[share < 0.5]
    assert stats.kstest(small, "uniform", args=(AREA[0], 0.5 - AREA[0])).pvalue > 0.001
    from torchvision.transforms.v2 import RandomResizedCrop

    torch.manual_seed(0)
    theirs = [RandomResizedCrop(1).make_params([torch.empty(3, 4000, 4000)]) for _ in range(50)]
    areas = [found["height"] * found["width"] / 4000**2 for found in theirs]
    assert stats.ks_2samp(share, areas).pvalue > 0.001
    top = boxes[:, 0] / np.maximum(1, 4000 - boxes[:, 2])
    assert stats.kstest(top[share < 0.5], "uniform").pvalue > 0.001


def test_a_thin_image_gets_the_widest_box_of_the_ratio() -> None:
    boxes = random_boxes(np.array([[10, 1000], [1000, 10]]), 0, 0, np.arange(2))
    fitting = boxes[:, 3] / boxes[:, 2]
    assert (fitting >= RATIO[0] * 0.9).all()
    assert (fitting <= RATIO[1] * 1.1).all()


def test_the_central_box_is_a_square_in_the_middle() -> None:
    assert central_boxes(np.array([[256, 500]])).tolist() == [[16, 138, 224, 224]]
    assert round(256 * CENTRE) == 224


def test_bits_are_even() -> None:
    bits = sample_bits(1, 2, np.arange(4096))
    for place in (0, 31, 63):
        ones = int(((bits >> np.uint64(place)) & np.uint64(1)).sum())
        assert abs(ones - 2048) < 200


def test_resizing_is_torchvision_s() -> None:
    from torchvision.transforms.v2.functional import resize

    for shape, size in itertools.product([(40, 60), (8, 200), (224, 224), (500, 333)], (16, 224)):
        pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        out = np.empty((size, size, 3), np.uint8)
        resize_into(pixels, out)
        theirs = resize(torch.from_numpy(pixels).permute(2, 0, 1), [size, size], antialias=True)
        assert np.array_equal(out, theirs.permute(1, 2, 0).numpy()), (shape, size)


def test_a_view_is_resized_as_its_copy() -> None:
    whole = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    part, outs = whole[13:70, 21:111], [np.empty((32, 32, 3), np.uint8) for _ in range(2)]
    resize_into(part, outs[0])
    resize_into(part.copy(), outs[1])
    assert np.array_equal(outs[0], outs[1])
