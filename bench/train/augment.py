"""Random crop, flip and normalisation on the device, drawn from (seed, epoch, index) and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from loaders import Indices
from loaders.images.crops import sample_bits

PADDING = 4
_AT_ONCE = 32
"""Batches that `draws` decides together."""


def draw(seed: int, epoch: int, indices: Indices) -> torch.Tensor:
    """What chance decides for each sample, by its own number: batch size, order, loader and workers do not matter.

    Returns:
        int32 ``[3, B]``, one tensor so that one copy brings it to the device: shifts down and to the right, both in
        ``[-PADDING, PADDING]``, and 1 where the image is mirrored.
    """
    bits = sample_bits(seed, epoch, indices)
    span = np.uint64(2 * PADDING + 1)
    down = ((bits & np.uint64(0xFFFF)) % span).astype(np.int32) - PADDING
    right = ((bits >> np.uint64(16) & np.uint64(0xFFFF)) % span).astype(np.int32) - PADDING
    flip = (bits >> np.uint64(32) & np.uint64(1)).astype(np.int32)
    return torch.from_numpy(np.stack((down, right, flip)))


def draws(seed: int, epoch: int, batches: Sequence[Indices]) -> Iterator[torch.Tensor]:
    """The same for each batch, many batches at a time: for one alone it would cost as much as a fast loader's batch."""
    for start in range(0, len(batches), _AT_ONCE):
        some = batches[start : start + _AT_ONCE]
        drawn, ends = draw(seed, epoch, np.concatenate(some)), np.cumsum([len(batch) for batch in some])
        for batch, end in zip(some, ends.tolist(), strict=True):
            yield drawn[:, end - len(batch) : end].contiguous()


class Transform:
    """Turns uint8 batches into normalised float32 ones in a fixed memory format."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        device: torch.device,
        channels_last: bool = False,
        shift: bool = True,
    ) -> None:
        """Mean and deviation are per channel, of pixels in [0, 1]; a constant channel is only centred.

        ``channels_last`` is the memory format of the result; without ``shift``, `augment` only mirrors, for images
        that are random crops already.
        """
        spread = torch.tensor([s if s > 0 else 1.0 for s in std], dtype=torch.float64).view(1, -1, 1, 1)
        centre = torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1)
        self._scale = (1 / (255 * spread)).float().to(device)
        self._offset = (-centre / spread).float().to(device)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._shift = shift

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``[B, C, H, W]`` to float32 of mean 0 and deviation 1."""
        # Both steps in a fixed memory format: the result must not depend on how a loader lays out its batches.
        return images.to(torch.float32, memory_format=self._format).mul_(self._scale).add_(self._offset)

    def augment(self, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Crop out of the image padded with its own edge, mirror, and normalise.

        Images are uint8 ``[B, C, H, W]``; they and what `draw` gave lie on the device. One gather does crop, padding
        and mirroring by coordinates. Nothing here depends on a value, so that it can be captured.
        """
        count, channels, height, width = images.shape
        down, right, flip = drawn.view(3, count, 1).unbind()
        mirrored = flip.bool()
        if not self._shift:
            return self.normalise(torch.where(mirrored.view(count, 1, 1, 1), images.flip(3), images))
        columns = torch.arange(width, device=images.device)
        columns = torch.where(mirrored, width - 1 - columns, columns)
        rows = (torch.arange(height, device=images.device) + down).clamp_(0, height - 1)
        columns = (columns + right).clamp_(0, width - 1)
        pixel = (rows.unsqueeze(2) * width + columns.unsqueeze(1)).view(count, 1, -1).expand(-1, channels, -1)
        picked = images.reshape(count, channels, -1).gather(2, pixel).view(count, channels, height, width)
        return self.normalise(picked)
