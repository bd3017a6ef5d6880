"""The loop of one epoch: fetch a batch, send it to where it is computed with, take a step; each part timed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bench.measure.clocks import HostTimeline
from bench.train.augment import draws
from bench.train.transfer import Tensors, Transfer
from loaders import Batch, Indices


class Looped(NamedTuple):
    """One epoch."""

    images: int
    host: HostTimeline
    device: dict[str, float | None]  # seconds by `DeviceTimeline.seconds`
    steady_s: float | None  # by `DeviceTimeline.steady_s`


class Loop(NamedTuple):
    """What the epochs of one run have in common.

    Attributes:
        transfer: brings the batches to the device.
        step: computes with a batch there: images, labels and the draws of the augmentation; and its number of images.
        synchronise: waits until the device has done all that it was given.
        seed: of the augmentation.
    """

    transfer: Transfer
    step: Callable[[Tensors, int], None]
    synchronise: Callable[[], None]
    seed: int

    def epoch(
        self, fetch: Callable[[], Iterator[Batch]], batches: Sequence[Indices], epoch: int, *, on_device: bool = False
    ) -> Looped:
        """Take a step for every batch; their indices and the epoch's number serve the augmentation.

        ``fetch`` starts the epoch's iterator, whose creation is part of the epoch. If ``on_device``, fetching is itself
        the device's work, and counts as copying on its timeline.
        """
        transfer, step = self.transfer, self.step
        host, device = HostTimeline(), transfer.timeline()
        fetching = device.gathering if on_device else contextlib.nullcontext()
        images, chances = 0, draws(self.seed, epoch, batches)
        try:
            with host.wall:
                device.begin()
                with host.fetch:
                    stream = fetch()
                for indices in batches:
                    with host.fetch, fetching:
                        batch = next(stream)
                    with host.compute:
                        drawn = next(chances)
                        transfer.room()
                    with host.transfer:
                        sent = transfer.send((*batch, drawn), device)
                    with host.compute, sent as there, device.computing:
                        step(there, len(indices))
                    with host.other:
                        images += len(indices)
                        host.waits.append(host.fetch.last)
                with host.fetch:  # whatever the iterator does at its end belongs to the data path
                    if next(stream, None) is not None:
                        raise RuntimeError("the loader gave more batches than were asked for")
                with host.compute:
                    self.synchronise()
        finally:
            transfer.drain()
        return Looped(images, host, device.seconds(), device.steady_s)
