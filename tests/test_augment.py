"""Augmentation depends on (seed, epoch, index) alone, and does what its name says."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.train.augment import PADDING, Transform, draw

CPU = torch.device("cpu")


def plain(images: NDArray[np.uint8], drawn: torch.Tensor) -> NDArray[np.uint8]:
    """Pad with the edge, crop, mirror: one image after another."""
    out = np.empty_like(images)
    _, _, height, width = images.shape
    for i, image in enumerate(images):
        padded = np.pad(image, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)), mode="edge")
        down, right, flip = drawn[:, i].tolist()
        top, left = PADDING + down, PADDING + right
        crop = padded[:, top : top + height, left : left + width]
        out[i] = crop[:, :, ::-1] if flip else crop
    return out


@settings(max_examples=30)
@given(st.integers(1, 9), st.sampled_from([1, 3]), st.integers(5, 12), st.integers(5, 12), st.integers(0, 2**62))
def test_crop_and_flip(count: int, channels: int, height: int, width: int, seed: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    drawn = draw(seed, 3, np.arange(count))
    transform = Transform([0.0] * channels, [1 / 255] * channels, device=CPU)
    got = transform.augment(torch.from_numpy(images), drawn)
    assert torch.equal(got.round().to(torch.uint8), torch.from_numpy(plain(images, drawn)))


def test_images_that_are_crops_already_are_mirrored_alone() -> None:
    images = torch.randint(0, 256, (11, 3, 8, 8), dtype=torch.uint8)
    drawn = draw(3, 4, np.arange(11))
    assert (drawn.dtype, drawn.shape) == (torch.int32, (3, 11))
    got = Transform([0.0] * 3, [1 / 255] * 3, device=CPU, shift=False).augment(images, drawn)
    mirrored = torch.where(drawn[2].bool().view(-1, 1, 1, 1), images.flip(3), images)
    assert torch.equal(got.round().to(torch.uint8), mirrored)


def test_memory_layout_of_the_batch_does_not_matter() -> None:
    images = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8)
    last = images.contiguous(memory_format=torch.channels_last)
    for channels_last in (False, True):
        transform = Transform([0.4] * 3, [0.2] * 3, device=CPU, channels_last=channels_last)
        for work in (transform.normalise, lambda x, t=transform: t.augment(x, draw(1, 2, np.arange(7)))):
            assert torch.equal(work(images), work(last))
            assert work(images).stride() == work(last).stride()


def test_draws_depend_on_the_sample_and_not_on_its_batch() -> None:
    order = np.random.default_rng(0).permutation(1000)
    together = draw(5, 6, order)
    for i in (0, 17, 999):
        assert torch.equal(draw(5, 6, order[i : i + 1])[:, 0], together[:, i])
    assert not torch.equal(draw(5, 7, order)[0], together[0])
    assert not torch.equal(draw(6, 6, order)[0], together[0])


def test_draws_are_even() -> None:
    down, right, flip = draw(0, 0, np.arange(90_000)).numpy()
    for shifts in (down, right):
        values, counts = np.unique(shifts, return_counts=True)
        assert values.tolist() == list(range(-PADDING, PADDING + 1))
        assert abs(counts - 10_000).max() < 500  # five deviations of a fair draw
    assert abs(flip.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.02


def test_normalise() -> None:
    images = torch.randint(0, 256, (50, 3, 6, 6), dtype=torch.uint8)
    scaled = images.double() / 255
    mean, std = scaled.mean((0, 2, 3)).tolist(), scaled.std((0, 2, 3), correction=0).tolist()
    got = Transform(mean, std, device=CPU).normalise(images)
    assert got.dtype == torch.float32
    assert torch.allclose(got.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(got.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    constant = Transform([0.5], [0.0], device=CPU).normalise(torch.full((1, 1, 2, 2), 127, dtype=torch.uint8))
    assert constant.isfinite().all()
