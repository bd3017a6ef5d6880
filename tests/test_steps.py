"""The cycle and the optimiser are PyTorch's, steps can be undone, and a captured step gets the same data."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from bench.train.models import build_model
from bench.train.steps import Captured, Cycle, DeviceSGD, EagerSGD, Step


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.floats(1e-6, 10), st.sampled_from([0.0, 0.5, 0.9, 0.95]))
def test_the_cycle_is_pytorch_s_to_the_last_bit(steps: int, lr: float, momentum: float) -> None:
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    sgd = torch.optim.SGD([weight], lr=lr, momentum=momentum)
    total = max(steps, 10)
    schedule = OneCycleLR(sgd, max_lr=lr, total_steps=total, base_momentum=momentum * 0.9, max_momentum=momentum)
    cycle = Cycle(steps, lr, momentum)
    for step in range(total):
        assert cycle.at(step) == (sgd.param_groups[0]["lr"], sgd.param_groups[0]["momentum"])
        sgd.step()
        if step < total - 1:
            schedule.step()
    assert cycle.at(total + 5) == cycle.at(total - 1)


def trained(
    kind: type[EagerSGD | DeviceSGD], momentum: float, weight_decay: float, steps: int = 25
) -> list[torch.Tensor]:
    model = build_model("convnet", 3, 16, seed=0)
    cycle = Cycle(steps, 0.1, momentum)
    optimiser = kind(model, cycle, weight_decay)
    numbers = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimiser.aim(*cycle.at(step))
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=numbers)
        optimiser.step()
    return [p.detach() for p in model.parameters()]


def test_the_device_s_optimiser_is_pytorch_s() -> None:
    for momentum, weight_decay in ((0.0, 0.0), (0.0, 0.01), (0.9, 0.0), (0.9, 0.01)):
        mine, theirs = (trained(kind, momentum, weight_decay) for kind in (DeviceSGD, EagerSGD))
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        assert not torch.equal(mine[0], build_model("convnet", 3, 16, seed=0).state_dict()["0.weight"])


def a_step(kind: type[EagerSGD | DeviceSGD]) -> tuple[nn.Module, Step]:
    model = build_model("convnet", 3, 16, seed=0)
    cycle = Cycle(30, 0.05, 0.9)
    step = Step(
        model, lambda images, _: model(images.float() / 99), nn.CrossEntropyLoss(), kind(model, cycle, 5e-4), cycle
    )
    return model, step


def batch(number: int, size: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(number)
    images = torch.from_numpy(random.integers(0, 256, (size, 3, 16, 16), dtype=np.uint8))
    return images, torch.from_numpy(random.integers(0, 3, size)), torch.zeros(3, size, dtype=torch.int32)


@pytest.mark.parametrize(("kind", "before"), [(EagerSGD, 0), (EagerSGD, 3), (DeviceSGD, 3)])
def test_undone_steps_leave_no_trace(kind: type[EagerSGD | DeviceSGD], before: int) -> None:
    outcomes = []
    for detour in (0, 4):
        model, step = a_step(kind)
        losses = [step(*batch(number)).item() for number in range(before)]
        model.eval()
        with step.undone():
            model.train()
            for number in range(detour):
                step(*batch(50 + number))
        assert not model.training
        assert all(p.grad is None for p in model.parameters())
        model.train()
        losses += [step(*batch(number)).item() for number in range(before, before + 5)]
        outcomes.append((losses, step.taken, copy.deepcopy(model.state_dict())))
    (first, taken, state), (second, again, other) = outcomes
    assert (first, taken) == (second, again)
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_steps_are_undone_after_an_error_too() -> None:
    model, step = a_step(EagerSGD)
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ZeroDivisionError), step.undone():
        step(*batch(0))
        raise ZeroDivisionError
    assert step.taken == 0
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


class PlayedGraph:
    """Stands for ``torch.cuda.CUDAGraph``: what was captured is done again by calling it."""

    def __init__(self) -> None:
        self.work: Callable[[], None] = lambda: None
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        self.work()


class NoStream:
    def wait_stream(self, other: Any) -> None:
        pass


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of CUDA's interface as a capture needs, on the CPU."""

    @contextlib.contextmanager
    def within(*_: Any, **__: Any) -> Iterator[None]:
        yield

    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, NoStream)
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "graph", within)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", PlayedGraph)


def test_a_captured_step_gets_each_batch_and_its_place_in_the_cycle(no_cuda: None) -> None:
    _, plain = a_step(DeviceSGD)
    losses = [plain(*batch(n, 5 if n == 4 else 8)).item() for n in range(9)]
    _, step = a_step(DeviceSGD)
    with step.undone():
        captured = Captured(step, batch(99), warm_up=3)
    graph: Any = captured._graph
    graph.work = lambda: captured._loss.copy_(step.work(*captured._inputs))
    address = captured._inputs[0].data_ptr()
    assert step.taken == 0
    again = []
    for n in range(9):
        images, labels, drawn = batch(n, 5 if n == 4 else 8)
        kept = images.clone()
        again.append(captured(images, labels, drawn).item())
        assert torch.equal(images, kept)
        if n != 4:  # the smaller one takes the plain step
            assert torch.equal(captured._inputs[0], images)
    assert again == losses
    assert (graph.replays, step.taken) == (8, 9)
    assert captured._inputs[0].data_ptr() == address
