"""One step of training: forward, loss, backward and update; as it comes, or captured once and replayed on CUDA."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from bench.train.transfer import Tensors

Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Cycle(NamedTuple):
    """One cycle over the whole run, as ``torch.optim.lr_scheduler.OneCycleLR`` has it; pure: any step may be asked."""

    steps: int
    lr: float  # the highest, reached after 30% of the steps
    momentum: float  # the highest; where the learning rate is highest, it is nine tenths of that

    def at(self, step: int) -> tuple[float, float]:
        """Learning rate and momentum of a step, from 0; after the last one they stay."""
        steps = max(self.steps, 10)  # fewer than the cycle has phases would divide by nothing; such a run just begins
        step = min(step, steps - 1)
        turn, first, low = 0.3 * steps - 1, self.lr / 25.0, self.momentum * 0.9
        if step <= turn:
            part = step / turn
            return _cosine(first, self.lr, part), _cosine(self.momentum, low, part)
        part = (step - turn) / (steps - 1 - turn)
        return _cosine(self.lr, first / 1e4, part), _cosine(low, self.momentum, part)


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


class EagerSGD(torch.optim.SGD):
    """PyTorch's SGD with Nesterov momentum."""

    def __init__(self, model: nn.Module, cycle: Cycle, weight_decay: float) -> None:
        momentum = cycle.momentum
        super().__init__(model.parameters(), cycle.lr, momentum, weight_decay=weight_decay, nesterov=momentum > 0)

    def aim(self, lr: float, momentum: float) -> None:
        """Set what the next step goes by."""
        self.param_groups[0].update(lr=lr, momentum=momentum)

    def saved(self) -> Callable[[], None]:
        """Copy the momenta, if there are any yet; gives what restores them."""
        kept = {p: {key: value.clone() for key, value in values.items()} for p, values in self.state.items()}

        def restore() -> None:
            self.state.clear()
            self.state.update(kept)

        return restore


class DeviceSGD:
    """The same with learning rate and momentum in device memory, so that a captured step follows the cycle.

    PyTorch's own bakes the momentum into a capture, even where the learning rate is a tensor (``fused=True``).
    """

    def __init__(self, model: nn.Module, cycle: Cycle, weight_decay: float) -> None:
        self._parameters: list[torch.Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._momenta = [torch.zeros_like(p, requires_grad=False) for p in self._parameters if cycle.momentum]
        self._weight_decay = weight_decay
        device = self._parameters[0].device
        self._down, self._momentum = torch.zeros((), device=device), torch.zeros((), device=device)

    def aim(self, lr: float, momentum: float) -> None:
        """Set what the next step goes by: two numbers that travel as arguments of a kernel, in turn with the steps."""
        self._down.fill_(-lr)
        self._momentum.fill_(momentum)

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters."""
        change: list[torch.Tensor] = [p.grad for p in self._parameters if p.grad is not None]
        if self._weight_decay:
            change = list(torch._foreach_add(change, self._parameters, alpha=self._weight_decay))
        if self._momenta:
            torch._foreach_mul_(self._momenta, self._momentum)
            torch._foreach_add_(self._momenta, change)
            ahead = list(torch._foreach_mul(self._momenta, self._momentum))
            torch._foreach_add_(ahead, change)
            change = ahead
        torch._foreach_add_(self._parameters, list(torch._foreach_mul(change, self._down)))

    def saved(self) -> Callable[[], None]:
        """Copy the momenta; gives what restores them, where a capture reads them."""
        kept = [momentum.clone() for momentum in self._momenta]

        def restore() -> None:
            for momentum, value in zip(self._momenta, kept, strict=True):
                momentum.copy_(value)

        return restore


class Step:
    """Trains a network on one batch at a time.

    ``forward`` makes logits of images and draws, by the model, whose parameters the optimiser updates.
    """

    def __init__(
        self, model: nn.Module, forward: Function, loss: Function, optimiser: EagerSGD | DeviceSGD, cycle: Cycle
    ) -> None:
        self._model, self._forward, self._loss = model, forward, loss
        self._optimiser, self._cycle = optimiser, cycle
        self.taken = 0  # steps so far: the place in the cycle

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """One step on a batch that lies on the device; gives its loss, which is good until the next step."""
        self.aim()
        return self.work(images, labels, drawn)

    def aim(self) -> None:
        """The host's part: go on in the cycle."""
        self._optimiser.aim(*self._cycle.at(self.taken))
        self.taken += 1

    def work(self, images: torch.Tensor, labels: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """The device's part; nothing in it depends on a value that the host would have to know."""
        loss = self._loss(self._forward(images, drawn).float(), labels)
        loss.backward()
        self._optimiser.step()
        self._model.zero_grad(set_to_none=True)
        return loss.detach()

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Take steps inside that leave no trace in weights, averages, momenta or cycle."""
        kept = {name: value.clone() for name, value in self._model.state_dict().items()}
        restore, taken, training = self._optimiser.saved(), self.taken, self._model.training
        try:
            yield
        finally:
            self._model.load_state_dict(kept)
            self._model.zero_grad(set_to_none=True)
            self._model.train(training)
            restore()
            self.taken = taken


class Captured:
    """A step as a CUDA graph: captured for batches of one size, replayed for these; others take the plain step."""

    def __init__(self, step: Step, example: Tensors, warm_up: int) -> None:
        """Take ``warm_up`` steps (at least one) that choose algorithms and allocate workspaces, then capture one.

        The caller undoes the steps; the captured one is not taken. ``example``: images, labels and draws on the device.
        """
        self._step = step
        self._inputs = tuple(tensor.clone() for tensor in example)
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        # Libraries keep handles and workspaces by stream: the warm-up takes the stream of the capture.
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            for _ in range(max(warm_up, 1)):
                step(*self._inputs)
        here.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=aside):
            self._loss = step.work(*self._inputs)

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """As `Step`."""
        pairs = list(zip(self._inputs, (images, labels, drawn), strict=True))
        if any(mine.shape != theirs.shape for mine, theirs in pairs):
            return self._step(images, labels, drawn)
        # The graph reads fixed addresses. A copy on the device costs microseconds, and spares a graph for each place
        # that batches come from.
        for mine, theirs in pairs:
            mine.copy_(theirs)
        self._step.aim()
        self._graph.replay()
        return self._loss
