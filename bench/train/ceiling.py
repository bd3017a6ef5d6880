"""The compute ceiling of a run: training steps without a data path, half before the epochs and half after them."""

from __future__ import annotations

from bench.records import CeilingPart
from bench.train.trainer import Trainer


class Ceiling:
    """Times two blocks of steps, since machines drift."""

    def __init__(self, trainer: Trainer, batch_size: int, steps: int) -> None:
        self._trainer, self._batch_size = trainer, batch_size
        self._blocks = [block for block in (steps // 2, steps - steps // 2) if block]
        self._seconds: list[float] = []

    def first_half(self) -> None:
        """Time the block before the epochs; a single step is left for the second."""
        self._time(self._blocks[:-1])

    def second_half(self, images: int) -> CeilingPart | None:
        """Time the block after them; gives both, scaled to an epoch of so many images, or None for no steps."""
        self._time(self._blocks[-1:])
        if not self._blocks:
            return None
        epoch_s = sum(self._seconds) / (sum(self._blocks) * self._batch_size) * images
        return CeilingPart(
            batch_size=self._batch_size, block_steps=self._blocks, block_s=self._seconds, epoch_s=epoch_s
        )

    def _time(self, blocks: list[int]) -> None:
        self._seconds += [self._trainer.ceiling(self._batch_size, steps) for steps in blocks]
