"""Random crop, flip and normalisation on the device, drawn from (seed, epoch, index) and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from loaders import Indices
from loaders.images.crops import sample_bits

PADDING = 4


class Draws(NamedTuple):
    """What chance decides for each image: shifts in ``[-PADDING, PADDING]`` and whether it is mirrored."""

    down: NDArray[np.int64]
    right: NDArray[np.int64]
    flip: NDArray[np.bool_]


def draw(seed: int, epoch: int, indices: Indices) -> Draws:
    """Draw for each sample by its own number, so that batch size, order, loader and workers do not matter."""
    bits = sample_bits(seed, epoch, indices)
    span = np.uint64(2 * PADDING + 1)
    down = ((bits & np.uint64(0xFFFF)) % span).astype(np.int64) - PADDING
    right = ((bits >> np.uint64(16) & np.uint64(0xFFFF)) % span).astype(np.int64) - PADDING
    return Draws(down, right, (bits >> np.uint64(32) & np.uint64(1)).astype(np.bool_))


def packed(draws: Draws) -> torch.Tensor:
    """The draws of a batch as one int32 tensor ``[3, B]``, so that one copy brings them to the device."""
    return torch.from_numpy(np.stack(draws).astype(np.int32))


class Transform:
    """Turns uint8 batches into normalised float32 ones in a fixed memory format."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        device: torch.device,
        channels_last: bool = False,
        flip: bool = True,
        shift: bool = True,
    ) -> None:
        """Prepare for one data set.

        Args:
            mean: per channel, of pixels in [0, 1].
            std: the same; a constant channel is only centred.
            device: where the batches are.
            channels_last: memory format of the result.
            flip: whether `augment` mirrors.
            shift: whether it shifts; not where the images are random crops already.
        """
        spread = [s if s > 0 else 1.0 for s in std]
        shape = (1, len(mean), 1, 1)
        self._scale = (1 / (255 * torch.tensor(spread, dtype=torch.float64))).float().view(shape).to(device)
        self._shift = (
            (-torch.tensor(mean, dtype=torch.float64) / torch.tensor(spread, dtype=torch.float64))
            .float()
            .view(shape)
            .to(device)
        )
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._flip = flip
        self._shifts = shift

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``[B, C, H, W]`` to float32 of mean 0 and deviation 1."""
        # Both steps in a fixed memory format: the result must not depend on how a loader lays out its batches.
        return images.to(torch.float32, memory_format=self._format).mul_(self._scale).add_(self._shift)

    def augment(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Crop out of the image padded with its own edge, mirror, and normalise."""
        return self.apply(images, packed(draws).to(images.device))

    def apply(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """``augment`` with draws that lie on the device, as `packed` gives them. Nothing in it depends on a value.

        One gather does crop, padding and mirroring: coordinates are shifted, mirrored and clamped.
        """
        count, channels, height, width = images.shape
        down, right, flip = drawn.view(3, count, 1).unbind()
        mirrored = flip.bool()
        if not self._shifts:
            mirrored = mirrored.view(count, 1, 1, 1)
            return self.normalise(torch.where(mirrored, images.flip(3), images) if self._flip else images)
        columns = torch.arange(width, device=images.device)
        if self._flip:
            columns = torch.where(mirrored, width - 1 - columns, columns)
        rows = (torch.arange(height, device=images.device) + down).clamp_(0, height - 1)
        columns = (columns + right).clamp_(0, width - 1)
        pixel = (rows.unsqueeze(2) * width + columns.unsqueeze(1)).view(count, 1, -1).expand(-1, channels, -1)
        picked = images.reshape(count, channels, -1).gather(2, pixel).view(count, channels, height, width)
        return self.normalise(picked)
