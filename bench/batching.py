"""What the harness fixes for all loaders: order and batches of an epoch, and the way to the device."""

from __future__ import annotations

import torch

from loaders import Batch
from loaders.stream import BatchStream, cut, epoch_order

__all__ = ["BatchStream", "cut", "epoch_order", "to_device"]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Copy a batch to the device, without waiting where its memory is page-locked, and into ``[B, C, H, W]`` order.

    Decoders give channels-last memory; bringing it into one order is a loader's cost, not the network's.
    """
    images = batch.images.to(device, non_blocking=True).contiguous()
    return Batch(images, batch.labels.to(device, non_blocking=True))
