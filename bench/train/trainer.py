"""Trains and evaluates a network on a stream of batches; knows nothing of where they come from."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bench.config import RunConfig
from bench.errors import BenchError
from bench.measure.clocks import DeviceTimeline, HostTimeline
from bench.train.augment import Transform, draw
from bench.train.loop import Loop
from bench.train.models import build_model
from bench.train.scores import Scores, score
from bench.train.steps import Captured, Cycle, DeviceSGD, EagerSGD, Step
from bench.train.transfer import Tensors, transfer_to
from loaders import Batch, Indices, SplitInfo


class EpochResult(NamedTuple):
    """One training epoch."""

    train_loss: float  # mean per sample over the epoch
    images: int
    host: HostTimeline
    device: dict[str, float | None]  # seconds by `DeviceTimeline.seconds`


class Trainer:
    """Trains one network on one device, and evaluates it."""

    def __init__(self, config: RunConfig, split: SplitInfo, classes: int, steps: int) -> None:
        """Build the network on the device for a whole run of so many steps.

        The device is "cpu" or "cuda", images of many sizes have an ``image_size``. ``split`` is the training split, for
        the shape, mean and deviation of its images.
        """
        side = config.image_size or 0
        self._shape = split.shape or (3, side, side)
        self._config, self._classes = config, classes
        self._device = torch.device(config.device)
        self.transfer = transfer_to(self._device, config.in_flight)
        settings = {"channels_last": config.channels_last, "shift": split.shape is not None}
        self._transform = Transform(split.mean, split.std, device=self._device, **settings)
        assert config.model is not None  # of an emulated accelerator alone
        model = build_model(config.model, classes, self._shape[1], config.seed, self._shape[0])
        memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(self._device, memory_format=memory_format)  # type: ignore[call-overload]
        cycle = Cycle(steps, config.lr, config.momentum)
        optimiser = (DeviceSGD if config.cuda_graphs else EagerSGD)(self.model, cycle, config.weight_decay)
        loss = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
        self._plain = Step(self.model, self._forward(), loss, optimiser, cycle)
        self._step: Step | Captured = self._plain

    def _forward(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """From uint8 images to logits, compiled where that is asked for."""
        prepare: Callable[..., torch.Tensor] = self._transform.augment
        network: Callable[..., torch.Tensor] = self.model
        if self._config.compile:
            torch.compiler.reset()  # what an earlier run in this process compiled counts towards PyTorch's limits
            # Code of its own for each size of batch: with sizes left open, kernels are slower.
            compile_ = functools.partial(torch.compile, dynamic=False)
            prepare, network = compile_(prepare), compile_(network)

        def forward(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
            inputs = prepare(images, drawn)
            with self._autocast():
                return network(inputs)

        return forward

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._config.amp)

    def warm_up(self, batch_sizes: Sequence[int], test_sizes: Sequence[int] = (), steps: int = 3) -> None:
        """Run steps on made-up batches and undo them, so that the first real epoch can be timed.

        Compiles, captures (for the first of the sizes), and allocates the memory of the transfer. cuDNN tries its
        algorithms, some of which take much memory, for each size of batch, and for evaluation anew.

        Raises:
            BenchError: PyTorch's compiler cannot work here.
        """
        largest = max((*batch_sizes, *test_sizes))
        kinds = (((largest, *self._shape), torch.uint8), ((largest,), torch.int64), ((3, largest), torch.int32))
        self.transfer.reserve(kinds)
        with self._plain.undone(), self._explained():
            self.model.train()
            for size in batch_sizes:
                example = (*self._made_up(size), draw(self._config.seed, 0, np.arange(size)).to(self._device))
                if self._config.cuda_graphs and size == batch_sizes[0]:
                    self._step = Captured(self._plain, example, steps)
                for _ in range(steps):
                    self._step(*example)
            if test_sizes:
                self.evaluate(self._made_up(size) for size in test_sizes)
            self._synchronise()
        if self._config.compile:  # its processes would stay, and count as the run's memory
            from torch._inductor.async_compile import shutdown_compile_workers

            shutdown_compile_workers()

    def ceiling(self, batch_size: int, steps: int) -> float:
        """Seconds of so many training steps on batches that lie on the device already; they are undone.

        The steps are those of ``train_epoch``. Eight made-up batches take turns: none stays in the processor's cache.
        """
        made_up = [self._made_up(batch_size) for _ in range(min(steps, 8))]
        indices = [np.arange(batch_size) + number * batch_size for number in range(len(made_up))]
        loss_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        watch = DeviceTimeline(None)
        with self._plain.undone(), self._drained():
            self.model.train()
            self._synchronise()
            started = time.perf_counter()
            for step in range(steps):
                turn = step % len(made_up)
                drawn = draw(self._config.seed, 0, indices[turn])
                self.transfer.room()
                with self.transfer.send((*made_up[turn], drawn), watch) as there:
                    loss_sum += self._step(*there).double() * batch_size
            self._synchronise()
            return time.perf_counter() - started

    def _made_up(self, size: int) -> Batch:
        random = torch.Generator().manual_seed(size)
        pixels = torch.randint(0, 256, (size, *self._shape), dtype=torch.uint8, generator=random)
        return Batch(pixels.to(self._device), torch.arange(size, device=self._device) % self._classes)

    def train_epoch(
        self, fetch: Callable[[], Iterator[Batch]], batches: Sequence[Indices], epoch: int, *, on_device: bool = False
    ) -> EpochResult:
        """Train on every batch once.

        ``fetch`` and ``on_device`` are as `Loop.epoch` takes them.
        """
        self.model.train()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self._device)

        def step(there: Tensors, images: int) -> None:
            nonlocal loss_sum
            loss_sum += self._step(*there).double() * images

        loop = Loop(self.transfer, step, self._synchronise, self._config.seed)
        images, host, device, _ = loop.epoch(fetch, batches, epoch, on_device=on_device)
        return EpochResult(float(loss_sum) / max(images, 1), images, host, device)

    @torch.inference_mode()
    def evaluate(self, batches: Iterable[Batch]) -> Scores:
        """Accuracy and macro-F1. The network is in training mode again afterwards if it was before.

        Never compiled or replayed: nothing here is timed.
        """
        training, watch = self.model.training, DeviceTimeline(None)
        self.model.eval()
        predicted, truth = [], []
        try:
            with self._drained():
                for batch in batches:
                    with self.transfer.send(tuple(batch), watch) as (images, labels):
                        with self._autocast():
                            logits = self.model(self._transform.normalise(images))
                        predicted.append(logits.argmax(1))
                        truth.append(labels.clone())  # its memory is used again
        finally:
            self.model.train(training)
        return score(torch.cat(predicted), torch.cat(truth), self._classes)

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @contextlib.contextmanager
    def _drained(self) -> Iterator[None]:
        """Leave no copy under way behind, whatever happens inside."""
        try:
            yield
        finally:
            self.transfer.drain()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in one sentence that PyTorch's compiler failed; of anything else say what it says itself."""
        try:
            yield
        except Exception as error:
            if not (self._config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))):
                raise
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise BenchError(
                f"PyTorch cannot compile the network here ({reason}); install a C++ compiler (on a GPU also Triton), "
                "or leave out --compile"
            ) from error
