"""What the harness fixes for all loaders: order and batches of an epoch, and the way to the device."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch

from bench.measure.clocks import DeviceTimeline
from bench.train.carrier import CudaCarrier
from bench.train.transfer import Staging, Tensors
from loaders import BatchStream, cut, epoch_order

__all__ = ["BatchStream", "Direct", "Way", "cut", "epoch_order", "way_to"]


class Way(Protocol):
    """How batches come to where the network is."""

    def reserve(self, batch: Sequence[tuple[Sequence[int], torch.dtype]]) -> None:
        """Get ready for batches of these shapes and types, so that nothing is allocated while a clock runs."""

    def room(self) -> None:
        """Wait until the next batch may be sent. The device is what is waited for, so this counts as computing."""

    def send(self, tensors: Tensors, watch: DeviceTimeline) -> AbstractContextManager[Tensors]:
        """Begin to bring tensors there; what computes with them belongs into the context.

        Images come out in ``[B, C, H, W]`` order: decoders give channels-last memory, and changing that is a loader's
        cost, not the network's. The memory is used again for a later batch: whoever keeps something must copy it.
        """

    def drain(self) -> None:
        """Wait until nothing is under way or in use: at the end of an epoch, whatever ended it."""

    def timeline(self) -> DeviceTimeline:
        """A timeline by the device's clock."""


class Direct:
    """The way to the processor: batches are there."""

    def reserve(self, batch: Sequence[tuple[Sequence[int], torch.dtype]]) -> None:
        """Needs nothing."""

    def room(self) -> None:
        """There is always some."""

    def send(self, tensors: Tensors, watch: DeviceTimeline) -> AbstractContextManager[Tensors]:  # noqa: ARG002
        """The tensors themselves."""
        return contextlib.nullcontext(tuple(tensor.contiguous() for tensor in tensors))

    def drain(self) -> None:
        """Nothing is under way."""

    def timeline(self) -> DeviceTimeline:
        """A timeline that notes nothing."""
        return DeviceTimeline(None)


def way_to(device: torch.device, in_flight: int) -> Way:
    """The way to a device, with so many batches on it at once."""
    return Staging(CudaCarrier(device), in_flight) if device.type == "cuda" else Direct()
