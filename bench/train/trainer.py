"""Trains and evaluates a network on a stream of batches; knows nothing of where they come from."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bench.errors import BenchError
from bench.measure.clocks import DeviceTimeline, HostTimeline
from bench.train.augment import Transform, draw, packed
from bench.train.batching import way_to
from bench.train.scores import Scores, score
from bench.train.steps import Captured, Cycle, DeviceSGD, EagerSGD, Step
from loaders import Batch, Indices

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
        label_smoothing: float = 0.0,
        channels_last: bool = False,
        amp: bool = False,
        compiled: bool = False,
        cuda_graphs: bool = False,
        in_flight: int = 2,
    ) -> None:
        """Args: steps counts the batches of the whole run; the rest is as in ``RunConfig``."""
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(device, memory_format=memory_format)  # type: ignore[call-overload]
        self.device = device
        self.way = way_to(device, in_flight)
        self._transform = transform
        self._seed = seed
        self._amp = amp
        self._compiled = compiled
        self._cuda_graphs = cuda_graphs
        cycle = Cycle(steps, lr, momentum)
        kind = DeviceSGD if cuda_graphs else EagerSGD
        self._plain = Step(
            self.model,
            self._forward_by(compiled),
            nn.CrossEntropyLoss(label_smoothing=label_smoothing),
            kind(self.model, cycle, weight_decay),
            cycle,
        )
        self._step: Step | Captured = self._plain

    def _forward_by(self, compiled: bool) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """From uint8 images to logits."""
        if compiled:
            torch.compiler.reset()  # what an earlier run in this process compiled counts towards PyTorch's limits
        # Code of its own for each size of batch: with sizes left open, kernels are slower.
        compile_ = functools.partial(torch.compile, dynamic=False) if compiled else lambda work: work
        prepare, network = compile_(self._transform.apply), compile_(self.model)

        def forward(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
            inputs = prepare(images, drawn)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
                logits: torch.Tensor = network(inputs)
            return logits

        return forward

    def warm_up(
        self,
        shape: tuple[int, int, int],
        batch_sizes: Sequence[int],
        classes: int,
        test_sizes: Sequence[int] = (),
        steps: int = 3,
    ) -> None:
        """Run steps on made-up batches and undo them, so that the first real epoch can be timed.

        Compiles what is to be compiled, captures what is to be replayed (for the first of the sizes), allocates the
        memory of the transfer, and evaluates batches of the test sizes: cuDNN tries its algorithms, some of which take
        much memory, for each size of batch, and for evaluation anew.

        Raises:
            BenchError: PyTorch's compiler cannot work here.
        """
        largest = max((*batch_sizes, *test_sizes))
        kinds = (((largest, *shape), torch.uint8), ((largest,), torch.int64), ((3, largest), torch.int32))
        self.way.reserve(kinds)
        with self._plain.undone(), _explained(self._compiled):
            self.model.train()
            for size in batch_sizes:
                batch = self._made_up(size, shape, classes)
                example = (*batch, self._drawn(np.arange(size), 0).to(self.device))
                if self._cuda_graphs and size == batch_sizes[0]:
                    self._step = Captured(self._plain, example, steps)
                for _ in range(steps):
                    self._step(*example)
            if test_sizes:
                self.evaluate((self._made_up(size, shape, classes) for size in test_sizes), classes)
            self.synchronise()
        if self._compiled:  # its processes would stay, and count as the run's memory
            from torch._inductor.async_compile import shutdown_compile_workers

            shutdown_compile_workers()

    def ceiling(self, shape: tuple[int, int, int], batch_size: int, classes: int, steps: int) -> float:
        """Seconds of so many training steps on batches that lie on the device already; they are undone.

        A step is the very one of ``train_epoch``, conversion and augmentation included. Eight made-up batches take
        turns, so that none stays in the processor's cache.
        """
        made_up = [self._made_up(batch_size, shape, classes) for _ in range(min(steps, 8))]
        indices = [np.arange(batch_size) + number * batch_size for number in range(len(made_up))]
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        watch = DeviceTimeline(None)
        with self._plain.undone(), self._drained():
            self.model.train()
            self.synchronise()
            started = time.perf_counter()
            for step in range(steps):
                turn = step % len(made_up)
                drawn = self._drawn(indices[turn], 0)
                self.way.room()
                with self.way.send((*made_up[turn], drawn), watch) as there:
                    loss_sum += self._step(*there).double() * batch_size
            self.synchronise()
            return time.perf_counter() - started

    def _made_up(self, size: int, shape: tuple[int, int, int], classes: int) -> Batch:
        pixels = torch.randint(0, 256, (size, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(size))
        return Batch(pixels.to(self.device), torch.arange(size, device=self.device) % classes)

    def _drawn(self, indices: Indices, epoch: int) -> torch.Tensor:
        return packed(draw(self._seed, epoch, indices))

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
        host, device = HostTimeline(), self.way.timeline()
        fetching = device.gathering if on_device else contextlib.nullcontext()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        images = 0
        with self._drained(), host.wall:
            device.begin()
            with host.fetch:
                stream = fetch()
            for indices in batches:
                with host.fetch, fetching:
                    batch = next(stream)
                with host.compute:
                    drawn = self._drawn(indices, epoch)
                    self.way.room()
                with host.transfer:
                    sent = self.way.send((*batch, drawn), device)
                with host.compute, sent as there, device.computing:
                    loss_sum += self._step(*there).double() * len(indices)
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
        """Accuracy and macro-F1. The network is in training mode again afterwards if it was before.

        Never compiled or replayed: nothing here is timed.
        """
        training, watch = self.model.training, DeviceTimeline(None)
        self.model.eval()
        try:
            predicted, truth = [], []
            with self._drained():
                for batch in batches:
                    with self.way.send(tuple(batch), watch) as (images, labels):
                        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
                            logits = self.model(self._transform.normalise(images))
                        predicted.append(logits.argmax(1))
                        truth.append(labels.clone())  # its memory goes back
        finally:
            self.model.train(training)
        return score(torch.cat(predicted), torch.cat(truth), classes)

    def synchronise(self) -> None:
        """Wait until the device has done everything asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextlib.contextmanager
    def _drained(self) -> Iterator[None]:
        """Leave no copy under way behind, whatever happens inside."""
        try:
            yield
        finally:
            self.way.drain()


@contextlib.contextmanager
def _explained(compiled: bool) -> Iterator[None]:
    """Say in one sentence that PyTorch's compiler failed; of anything else say what it says itself."""
    try:
        yield
    except Exception as error:
        if compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise BenchError(
                f"PyTorch cannot compile the network here ({reason}); install a C++ compiler (on a GPU also Triton), "
                "or leave out --compile"
            ) from error
        raise
