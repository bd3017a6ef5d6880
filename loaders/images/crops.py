"""Square crops of images of many sizes: their boxes, drawn from (seed, epoch, index), and resizing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from loaders.core.batch import Indices

AREA = (0.08, 1.0)
"""Share of the image that a random crop covers (Szegedy et al., "Going deeper with convolutions", 2015)."""
RATIO = (3 / 4, 4 / 3)
"""Its width over its height."""
ATTEMPTS = 10
CENTRE = 0.875
"""Side of the central crop over the image's short side: the customary 224 of 256."""

Boxes = NDArray[np.int64]
"""``[n, 4]``: top, left, height, width."""


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a counter becomes 64 random bits."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def sample_bits(seed: int, epoch: int, indices: Indices) -> NDArray[np.uint64]:
    """64 random bits per sample from its own index, so that batch size, order, loader and workers do not matter."""
    key = mix(mix(np.array([seed], np.uint64)) + np.uint64(epoch))
    return mix(indices.astype(np.uint64) + key)


def random_boxes(sizes: NDArray[np.int64], seed: int, epoch: int, indices: Indices) -> Boxes:
    """Random resized crops: area and ratio are drawn until the box fits, at most ten times.

    As torchvision's ``RandomResizedCrop`` with its defaults, from other random numbers. A box that never fits becomes
    the largest central one within the ratios. ``sizes``, ``[n, 2]``, are height and width of each image; ``indices``,
    ``[n]``, those of the samples.
    """
    height, width = sizes[:, :1].astype(np.float64), sizes[:, 1:].astype(np.float64)
    # Four uniform numbers per attempt, in a separate stream: flips are drawn from the bits themselves.
    counters = np.arange(1, 4 * ATTEMPTS + 1, dtype=np.uint64)
    bits = mix(sample_bits(seed, epoch, indices)[:, None] + counters)
    uniform = ((bits >> np.uint64(11)) * 2.0**-53).reshape(len(indices), ATTEMPTS, 4)
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * uniform[:, :, 0])
    ratio = np.exp(math.log(RATIO[0]) + (math.log(RATIO[1]) - math.log(RATIO[0])) * uniform[:, :, 1])
    wide, high = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    first, rows = fits.argmax(axis=1), np.arange(len(indices))
    top = np.floor(uniform[:, :, 2] * (height - high + 1))
    left = np.floor(uniform[:, :, 3] * (width - wide + 1))
    drawn = np.stack([part[rows, first] for part in (top, left, high, wide)], axis=1).astype(np.int64)
    return np.where(fits.any(axis=1)[:, None], drawn, _widest_boxes(sizes))


def _widest_boxes(sizes: NDArray[np.int64]) -> Boxes:
    height, width = sizes[:, 0], sizes[:, 1]
    high = np.minimum(height, np.maximum(1, np.rint(width / RATIO[0]).astype(np.int64)))
    wide = np.minimum(width, np.maximum(1, np.rint(height * RATIO[1]).astype(np.int64)))
    return np.stack([(height - high) // 2, (width - wide) // 2, high, wide], axis=1)


def central_boxes(sizes: NDArray[np.int64]) -> Boxes:
    """The central square of `CENTRE` of the short side, as if that side were resized first; ``sizes`` as above."""
    side = np.maximum(1, np.rint(sizes.min(axis=1) * CENTRE).astype(np.int64))
    return np.stack([(sizes[:, 0] - side) // 2, (sizes[:, 1] - side) // 2, side, side], axis=1)


def resize_into(pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Resize uint8 ``[h, w, 3]`` of any strides into contiguous uint8 ``[H, W, 3]``.

    By PyTorch's antialiased bilinear filter on bytes, which torchvision uses for tensors.
    """
    if pixels.shape == out.shape:
        out[:] = pixels
        return
    if not (pixels.flags.c_contiguous and pixels.flags.writeable):  # PyTorch does not accept read-only memory
        pixels = pixels.copy()
    import torch

    image = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
    resized = torch.nn.functional.interpolate(image, size=out.shape[:2], mode="bilinear", antialias=True)
    out[:] = resized[0].permute(1, 2, 0).numpy()
