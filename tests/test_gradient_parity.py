"""NumPy and PyTorch train alike, for every model; and what would part them is told."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.gradients.entry import Array, Arrays, Entry, Gradients, Trainable
from bench.gradients.models import TRAINABLES, convnet, house, mlp, net_1221, variable_oop
from bench.gradients.models.net_1221 import values
from bench.gradients.parity import LOST, OPTIMUM_TOLERANCE, TOLERANCE, Parity, _distance, train

IDS = [trainable.entry.id for trainable in TRAINABLES]
every = pytest.mark.parametrize("trainable", TRAINABLES, ids=IDS)
LINEAR, SIGMOID, CUBIC = house.TRAINABLES


@functools.cache
def trained(entry_id: str) -> Parity:
    return train(TRAINABLES[IDS.index(entry_id)])


def with_gradient(trainable: Trainable, change: Callable[[str, Array], Array], **fields: Any) -> Trainable:
    """The trainable with each hand-written gradient, by name, put through ``change``."""
    right = trainable.entry.corrected

    def changed(inputs: Arrays, g: Array) -> Gradients:
        return {name: change(name, gradient) for name, gradient in right(inputs, g).items()}

    return dataclasses.replace(trainable, entry=dataclasses.replace(trainable.entry, corrected=changed), **fields)


@every
def test_both_sides_stay_together_and_away_from_kinks(trainable: Trainable) -> None:
    parity = trained(trainable.entry.id)
    assert parity.faults == ()
    assert parity.worst <= TOLERANCE
    assert parity.parameter in trainable.parameters
    assert len(parity.losses) == len(parity.torch_losses) == trainable.epochs
    assert parity.losses == pytest.approx(parity.torch_losses, rel=1e-9, abs=1e-12)
    assert parity.losses[-1] < 0.7 * parity.losses[0]
    if trainable.entry is convnet.ENTRY:
        assert parity.steps == 30
    else:
        assert trainable.epochs == 300
        assert parity.steps >= 300
    # As each ``kink`` says: farther than the sides' distance could ever make them differ.
    assert bool(trainable.kink) == bool(trainable.entry.kink) == (parity.margin is not None)
    if parity.margin is not None:
        assert parity.margin > max(1e-9, 1e6 * parity.worst)


def test_trainings_learn() -> None:
    for entry_id, least in {"net-1-2-2-1": 0.1, "net-3-2-1": 0.1, "robot-arm-absolute": 1e-12}.items():
        losses = trained(entry_id).losses
        assert losses[-1] < losses[0] * least, entry_id
    (trainable,) = net_1221.TRAINABLES
    computed = values({**trainable.data(), **trained("net-1-2-2-1").trained})
    units = [computed[name] for name in net_1221.UNITS]
    assert all((z > 0).any() for z in units)


def test_the_least_squares_optimum_is_reached() -> None:
    for trainable, power in ((LINEAR, 1), (CUBIC, 3)):
        parity = trained(trainable.entry.id)
        assert parity.optimum is not None
        assert parity.optimum <= OPTIMUM_TOLERANCE
        data = trainable.data()
        slope, offset = np.polyfit(data["x"] ** power, data["y"], 1)
        assert (float(parity.trained["W"]), float(parity.trained["b"])) == pytest.approx((slope, offset), rel=1e-6)


@every
def test_one_gradient_that_is_a_thousandth_off_is_noticed(trainable: Trainable) -> None:
    for name in trainable.parameters:

        def off(key: str, gradient: Array, name: str = name) -> Array:
            return np.asarray(gradient * (1.001 if key == name else 1.0))

        (fault, *_) = train(with_gradient(trainable, off, epochs=1)).faults
        assert f"{trainable.entry.id}: " in fault, name
        assert "from PyTorch's, more than 1e-09" in fault, name


def test_a_lost_sign_ends_the_training_before_anything_overflows() -> None:
    for trainable in (LINEAR, SIGMOID, *variable_oop.TRAINABLES):
        parity = train(with_gradient(trainable, lambda _, gradient: -gradient))
        assert len(parity.losses) == len(parity.torch_losses) < trainable.epochs
        assert LOST < parity.worst < 1e3
        assert any("parts by" in fault for fault in parity.faults)


def test_a_gradient_that_was_wrong_once_is_noticed_though_both_reach_the_optimum() -> None:
    steps = iter(range(10**6))

    def once(name: str, gradient: Array) -> Array:
        return np.asarray(gradient * 1.001) if name == "W" and next(steps) == 0 else gradient

    parity = train(with_gradient(LINEAR, once))
    assert parity.optimum is not None
    assert parity.optimum < OPTIMUM_TOLERANCE
    assert parity.worst > 1e-6
    assert parity.faults


def test_where_theirs_is_zero_anything_else_is_infinitely_far() -> None:
    assert _distance(np.array([1.0, 0.0]), np.zeros(2)) == np.inf
    assert _distance(np.zeros(2), np.zeros(2)) == 0
    assert _distance(np.array([3.0]), np.array([2.0])) == 0.5


def test_a_gradient_that_is_not_finite_parts_by_infinity() -> None:
    parity = train(with_gradient(SIGMOID, lambda _, gradient: np.asarray(gradient * np.nan)))
    assert (parity.worst, parity.steps) == (np.inf, 1)
    assert parity.faults[0] == "house-sigmoid: W parts by inf from PyTorch's, more than 1e-09"


def test_another_loss_with_the_same_gradient_is_noticed() -> None:
    entry = dataclasses.replace(house.LINEAR, forward=lambda inputs: house.LINEAR.forward(inputs) + 1e-6)
    parity = train(dataclasses.replace(LINEAR, entry=entry))
    assert parity.worst <= TOLERANCE
    (fault,) = parity.faults
    assert fault.startswith("house-linear: the losses part by 1.0e-06 from PyTorch's, starting at ")


def test_too_few_epochs_do_not_reach_the_optimum() -> None:
    parity = train(dataclasses.replace(LINEAR, epochs=10))
    (fault,) = parity.faults
    assert parity.optimum is not None
    assert fault == f"house-linear: training ends {parity.optimum:.1e} from the closed solution, more than 1e-06"


def test_a_loss_that_rises_is_noticed() -> None:
    parity = train(dataclasses.replace(LINEAR, epochs=5, rate=1.5, optimum=None))
    (fault,) = parity.faults
    assert fault == f"house-linear: the loss does not fall, from {parity.losses[0]:.3g} to {parity.losses[-1]:.3g}"


# --- batches, on a model whose forward is seen from outside ----------------------------------------------------------


class Seen:
    """A line through the origin, of which only the slope counts; keeps the ``x`` of every batch on both sides."""

    def __init__(self) -> None:
        self.ours: list[Array] = []
        self.theirs: list[Array] = []

    def forward(self, inputs: Arrays) -> Array:
        self.ours.append(inputs["x"].copy())
        return np.asarray(np.mean((inputs["w"] * inputs["x"] - inputs["y"]) ** 2))

    def corrected(self, inputs: Arrays, g: Array) -> Gradients:
        x = inputs["x"]
        delta = g * 2 * (inputs["w"] * x - inputs["y"]) / x.size
        return {"w": np.asarray(np.sum(delta * x)), "unused": np.zeros(2)}

    def torch(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        self.theirs.append(tensors["x"].cpu().numpy())
        return torch.mean((tensors["w"] * tensors["x"] - tensors["y"]) ** 2) + 0 * tensors["unused"].sum()

    def trainable(self, **change: Any) -> Trainable:
        entry = Entry(
            id="seen",
            title="a line",
            formula="wx",
            corrected_latex="x",
            forward=self.forward,
            corrected=self.corrected,
            torch=self.torch,
            wrt=("w", "unused"),
            cases=lambda _: (),
        )
        fields: dict[str, Any] = {
            "parameters": ("w",),
            "start": lambda _: {"w": np.array(0.5)},
            "data": lambda: {"x": np.arange(10.0), "y": np.arange(10.0), "unused": np.zeros(2)},
            "batched": ("x", "y"),
            "batch_size": 4,
            "epochs": 3,
            "rate": 0.001,
            "about_data": "0 to 9",
        }
        return Trainable(entry, **{**fields, **change})


def test_both_sides_see_the_same_batches_in_an_order_drawn_for_each_epoch() -> None:
    seen = Seen()
    parity = train(seen.trainable())
    assert parity.faults == ()
    assert parity.steps == 9
    assert [len(x) for x in seen.ours] == [4, 4, 2] * 3
    assert all(np.array_equal(mine, other) for mine, other in zip(seen.ours, seen.theirs, strict=True))
    epochs = [np.concatenate(seen.ours[first : first + 3]) for first in (0, 3, 6)]
    assert all(np.array_equal(np.sort(epoch), np.arange(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    again = Seen()
    assert train(again.trainable()).losses == parity.losses
    assert all(np.array_equal(mine, other) for mine, other in zip(seen.ours, again.ours, strict=True))


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples() -> None:
    """With a rate that moves nothing to speak of, each epoch's is the loss of all samples, whatever the batches."""
    parity = train(Seen().trainable(rate=1e-15, epochs=1))
    assert parity.losses[0] == pytest.approx(np.mean((0.5 * np.arange(10)) ** 2), rel=1e-12)
    assert parity.torch_losses[0] == pytest.approx(parity.losses[0], rel=1e-12)


def test_a_whole_batch_keeps_its_order() -> None:
    seen = Seen()
    parity = train(seen.trainable(batch_size=None, rate=0.01, momentum=0.5))
    assert parity.faults == ()
    assert parity.steps == 3
    assert all(np.array_equal(x, np.arange(10)) for x in seen.ours)


def test_momentum_counts() -> None:
    without, with_it = (train(Seen().trainable(momentum=momentum)) for momentum in (0.0, 0.9))
    assert without.faults == with_it.faults == ()
    assert not np.array_equal(without.trained["w"], with_it.trained["w"])


def test_a_parameter_that_never_moves_is_noticed() -> None:
    fields: dict[str, Any] = {
        "parameters": ("w", "unused"),
        "start": lambda _: {"w": np.array(0.5), "unused": np.zeros(2)},
        "data": lambda: {"x": np.arange(10.0), "y": np.arange(10.0)},
    }
    parity = train(Seen().trainable(**fields))
    assert parity.faults == ("seen: unused never moves, so its training is not compared",)


def test_the_margin_is_the_smallest_of_all_steps() -> None:
    margins = iter([3.0, 1.0, 2.0])
    parity = train(Seen().trainable(batch_size=None, margin=lambda _: next(margins)))
    assert parity.margin == 1.0
    assert trained("house-linear").margin is None


def test_what_cannot_be_trained() -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"start": lambda _: {"v": np.array(0.5)}}, r"seen starts with \['v'\], but \['w'\] are trained"),
        ({"start": lambda _: {"w": np.array(0.5, np.float32)}}, "seen is given w as float32; parity is measured in"),
        (
            {"data": lambda: {"x": np.ones(3, np.float32), "y": np.ones(3), "unused": np.zeros(2)}},
            "seen is given x as float32",
        ),
        ({"epochs": 0}, "seen is to be trained for 0 epochs; at least one is needed"),
        ({"batch_size": 0}, r"seen cannot be cut into batches of 0: its data have \[10\] rows"),
        ({"batched": ()}, r"seen cannot be cut into batches of 4: its data have \[\] rows"),
        (
            {"data": lambda: {"x": np.ones(3), "y": np.ones(4), "unused": np.zeros(2)}},
            r"batches of 4: its data have \[3, 4\] rows",
        ),
        (
            {"data": lambda: {"x": np.ones(0), "y": np.ones(0), "unused": np.zeros(2)}},
            r"batches of 4: its data have \[0\] rows",
        ),
        ({"rate": 0.0}, "the rate of SGD must be positive"),
        ({"momentum": 1.0}, "the momentum of SGD must be at least 0 and less than 1"),
    ]
    for change, sentence in changes:
        with pytest.raises(ValueError, match=sentence):
            train(Seen().trainable(**change))


def test_what_is_no_loss() -> None:
    entry = dataclasses.replace(house.LINEAR, forward=house.linear)
    with pytest.raises(ValueError, match=r"house-linear gives the shape \(20,\), which is no loss to descend along"):
        train(dataclasses.replace(LINEAR, entry=entry))


@pytest.mark.cuda
@pytest.mark.parametrize(
    "trainable", [LINEAR, *mlp.TRAINABLES, *convnet.TRAINABLES], ids=["linear", "relu", "tanh-leaky", "convnet"]
)
def test_pytorch_on_a_gpu_stays_with_numpy(trainable: Trainable) -> None:
    assert train(trainable, torch.device("cuda")).faults == ()
