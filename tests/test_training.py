"""Training learns, evaluation leaves the network as it was, and the timeline adds up."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from bench.augment import Transform
from bench.batching import cut, epoch_order
from bench.models import build_model
from bench.training import Trainer
from loaders import Batch
from loaders.batch import Indices

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 96)
# Each class has its own brightness: learnable at once.
IMAGES = (RANDOM.integers(0, 60, (96, 3, 16, 16)) + 80 * LABELS[:, None, None, None]).astype(np.uint8)


def batches_of(order: list[Indices]) -> Iterator[Batch]:
    return (Batch(torch.from_numpy(IMAGES[i]), torch.from_numpy(LABELS[i])) for i in order)


def trainer(steps: int = 30, **changes: Any) -> Trainer:
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4} | changes
    transform = Transform([0.4] * 3, [0.25] * 3, device=CPU, channels_last=settings.get("channels_last", False))
    model = build_model("convnet", 3, 16, seed=0)
    return Trainer(model, transform, device=CPU, steps=steps, seed=0, **settings)


@pytest.mark.parametrize("changes", [{}, {"channels_last": True}, {"amp": True}, {"momentum": 0.0}], ids=str)
def test_learns(changes: dict[str, Any]) -> None:
    subject = trainer(**changes)
    losses = []
    for epoch in range(10):
        order = cut(epoch_order(96, 0, epoch), 32)
        result = subject.train_epoch(functools.partial(batches_of, order), order, epoch)
        assert result.images == 96
        losses.append(result.train_loss)
    scores = subject.evaluate(batches_of(cut(np.arange(96), 40)), 3)
    assert losses[-1] < losses[0] / 2
    assert scores.accuracy > 0.9
    assert scores.macro_f1 > 0.9


def test_the_network_trains_on_after_an_evaluation() -> None:
    subject = trainer()
    order = cut(np.arange(96), 32)
    subject.train_epoch(lambda: batches_of(order), order, 0)
    assert subject.model.training
    before = copy.deepcopy(subject.model.state_dict())
    subject.evaluate(batches_of(order), 3)
    assert all(module.training for module in subject.model.modules())
    after = subject.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)  # batch norm's averages too
    tracked = after["1.num_batches_tracked"].clone()
    subject.train_epoch(lambda: batches_of(order), order, 1)
    assert subject.model.state_dict()["1.num_batches_tracked"] == tracked + 3


def test_evaluation_does_not_see_the_batch_size() -> None:
    subject = trainer()
    assert subject.evaluate(batches_of(cut(np.arange(96), 96)), 3) == subject.evaluate(
        batches_of(cut(np.arange(96), 7)), 3
    )


def test_warming_up_changes_nothing() -> None:
    subject = trainer()
    before = copy.deepcopy(subject.model.state_dict())
    subject.warm_up((3, 16, 16), [32, 5], 3)
    assert all(torch.equal(before[key], value) for key, value in subject.model.state_dict().items())
    assert all(p.grad is None for p in subject.model.parameters())


def test_the_parts_of_an_epoch_are_timed_apart_and_add_up() -> None:
    order = cut(np.arange(96), 8)
    result = trainer().train_epoch(lambda: batches_of(order), order, 0)
    host = result.host
    parts = [host.fetch.total, host.transfer.total, host.compute.total, host.other.total]
    assert all(part > 0 for part in parts)
    assert sum(parts) <= host.wall.total
    assert len(host.waits) == 12
    epochs = (trainer().train_epoch(lambda: batches_of(order), order, 0) for _ in range(5))
    assert min(epoch.host.gap for epoch in epochs) < 0.01  # one may be interrupted between two parts
    assert result.device == {"device_copy_s": None, "device_compute_s": None, "device_idle_s": None}


def test_an_iterator_that_gives_too_much_is_noticed() -> None:
    order = cut(np.arange(96), 32)
    with pytest.raises(RuntimeError, match="more batches than were asked for"):
        trainer().train_epoch(lambda: batches_of([*order, order[0]]), order, 0)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_run_may_be_very_short(steps: int) -> None:
    subject = trainer(steps=steps)
    order = cut(np.arange(8 * steps), 8)
    assert np.isfinite(subject.train_epoch(lambda: batches_of(order), order, 0).train_loss)
