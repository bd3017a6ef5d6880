"""Trains and evaluates a network on a stream of batches; knows nothing of where they come from."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from bench.augment import Transform, draw
from bench.batching import to_device
from bench.measure.stopwatch import DeviceTimeline, HostTimeline
from bench.metrics import Scores, score
from loaders import Batch
from loaders.batch import Indices

Fetch = Callable[[], Iterator[Batch]]


class EpochResult(NamedTuple):
    """One training epoch.

    Attributes:
        train_loss: mean loss per sample over the epoch.
        images: samples seen.
        host: where the host's time went.
        device: where the device's time went, None on the CPU.
    """

    train_loss: float
    images: int
    host: HostTimeline
    device: dict[str, float | None]


class _Descent:
    """A network with its optimiser and schedule: SGD with Nesterov momentum, one cycle over the whole run."""

    def __init__(self, model: nn.Module, *, steps: int, lr: float, momentum: float, weight_decay: float) -> None:
        self.model = model
        self._optimiser = torch.optim.SGD(
            model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0
        )
        # Fewer steps than the cycle has phases would divide by nothing; such a run just begins its cycle.
        self._schedule = OneCycleLR(
            self._optimiser, max_lr=lr, total_steps=max(steps, 10), base_momentum=momentum * 0.9, max_momentum=momentum
        )

    def step(self) -> None:
        """Update the parameters from their gradients, forget those, and go on in the cycle."""
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._schedule.step()


class Trainer:
    """Trains one network on one device, and evaluates it."""

    def __init__(
        self,
        model: nn.Module,
        transform: Transform,
        *,
        device: torch.device,
        steps: int,
        seed: int,
        lr: float,
        momentum: float,
        weight_decay: float,
        channels_last: bool = False,
        amp: bool = False,
    ) -> None:
        """Args: steps counts the batches of the whole run; the rest is as in ``RunConfig``."""
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(device, memory_format=memory_format)  # type: ignore[call-overload]
        self.device = device
        self._transform = transform
        self._seed = seed
        self._amp = amp
        self._loss = nn.CrossEntropyLoss()
        self._descend = functools.partial(_Descent, steps=steps, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self._descent = self._descend(self.model)

    def warm_up(self, shape: tuple[int, int, int], batch_sizes: Sequence[int], classes: int, steps: int = 3) -> None:
        """Run steps on made-up batches with a copy of the network, so that the first real epoch can be timed."""
        spare = self._descend(copy.deepcopy(self.model), steps=steps * len(batch_sizes))
        for size in batch_sizes:
            batch = self._made_up(size, shape, classes)
            for _ in range(steps):
                self._step(spare, batch, np.arange(size), 0)
        self.synchronise()

    def ceiling(self, shape: tuple[int, int, int], batch_size: int, classes: int, steps: int) -> float:
        """Seconds of so many training steps on batches that lie on the device already, with a copy of the network.

        A step is the very one of ``train_epoch``, conversion and augmentation included. Eight made-up batches take
        turns, so that none stays in the processor's cache.
        """
        spare = self._descend(copy.deepcopy(self.model), steps=steps)
        spare.model.train()
        made_up = [self._made_up(batch_size, shape, classes) for _ in range(min(steps, 8))]
        indices = [np.arange(batch_size) + number * batch_size for number in range(len(made_up))]
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.synchronise()
        started = time.perf_counter()
        for step in range(steps):
            turn = step % len(made_up)
            loss_sum += self._step(spare, made_up[turn], indices[turn], 0).double() * batch_size
        self.synchronise()
        return time.perf_counter() - started

    def _made_up(self, size: int, shape: tuple[int, int, int], classes: int) -> Batch:
        pixels = torch.randint(0, 256, (size, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(size))
        return Batch(pixels.to(self.device), torch.arange(size, device=self.device) % classes)

    def train_epoch(
        self, fetch: Fetch, batches: Sequence[Indices], epoch: int, *, on_device: bool = False
    ) -> EpochResult:
        """Train on every batch once.

        Args:
            fetch: starts the epoch's iterator; its creation is part of the epoch.
            batches: the indices of the batches that it will give, for the augmentation.
            epoch: number of the epoch, for the augmentation.
            on_device: fetching a batch is itself the device's work, and counts as copying on its timeline.
        """
        self.model.train()
        host, device = HostTimeline(), DeviceTimeline(self.device)
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        images = 0
        with host.wall:
            with host.fetch:
                stream = fetch()
            for indices in batches:
                with host.fetch:
                    if on_device:
                        device.mark("copy")
                    batch = next(stream)
                with host.transfer:
                    if not on_device:
                        device.mark("copy")
                    moved = to_device(batch, self.device)
                with host.compute:
                    device.mark("compute")
                    loss = self._step(self._descent, moved, indices, epoch)
                    loss_sum += loss.double() * len(indices)
                    device.mark("end")
                with host.other:
                    images += len(indices)
                    host.waits.append(host.fetch.last)
            with host.fetch:  # whatever the iterator does at its end belongs to the data path
                if next(stream, None) is not None:
                    raise RuntimeError("the loader gave more batches than were asked for")
            with host.compute:
                self.synchronise()
        return EpochResult(float(loss_sum) / max(images, 1), images, host, device.seconds())

    @torch.inference_mode()
    def evaluate(self, batches: Iterator[Batch], classes: int) -> Scores:
        """Accuracy and macro-F1. The network is in training mode again afterwards if it was before."""
        training = self.model.training
        self.model.eval()
        try:
            predicted, truth = [], []
            for batch in batches:
                moved = to_device(batch, self.device)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
                    logits = self.model(self._transform.normalise(moved.images))
                predicted.append(logits.argmax(1))
                truth.append(moved.labels)
        finally:
            self.model.train(training)
        return score(torch.cat(predicted), torch.cat(truth), classes)

    def synchronise(self) -> None:
        """Wait until the device has done everything asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _step(self, descent: _Descent, batch: Batch, indices: Indices, epoch: int) -> torch.Tensor:
        """One step of training on a batch that lies on the device; gives its loss."""
        inputs = self._transform.augment(batch.images, draw(self._seed, epoch, indices))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
            logits = descent.model(inputs)
        loss: torch.Tensor = self._loss(logits.float(), batch.labels)
        loss.backward()
        descent.step()
        return loss.detach()
