"""SGD against torch.optim.SGD, step by step, and settings that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.gradients.layers import MSE, SGD, Linear, Sequential, Tanh, Variable
from tests.against_torch import assert_same, normal

momenta = st.sampled_from([0.0, 0.5, 0.9])
dtypes = st.sampled_from([np.float64, np.float32])


@settings(max_examples=25, deadline=None)
@given(momenta, dtypes, st.integers(1, 4), st.integers(1, 4), st.sampled_from([1e-3, 0.1, 2.0]), st.integers(0, 99))
def test_steps_are_those_of_pytorch(
    momentum: float, dtype: type, rows: int, columns: int, rate: float, seed: int
) -> None:
    ours = {"W": Variable(normal(rows, columns).astype(dtype)), "b": Variable(normal(rows).astype(dtype))}
    theirs = {name: torch.tensor(v.value, requires_grad=True) for name, v in ours.items()}
    sgd, reference = SGD(ours, rate, momentum), torch.optim.SGD(theirs.values(), rate, momentum)
    for step in range(4):
        for name, variable in ours.items():
            variable.grad += normal(*variable.value.shape, seed=seed + step).astype(dtype)
            theirs[name].grad = torch.tensor(variable.grad)
        sgd.step()
        reference.step()
        if step != 1:  # once, gradients add up over two steps
            sgd.zero_grad()
        for name, variable in ours.items():
            assert_same(f"{name} after step {step}", variable.value, theirs[name])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_is_that_of_pytorch(momentum: float) -> None:
    x, y = normal(8, 3), normal(8, 1)
    parameters = {"0.W": normal(4, 3), "0.b": normal(4), "2.W": normal(1, 4), "2.b": normal(1)}
    model = Sequential(
        [Linear(parameters["0.W"], parameters["0.b"]), Tanh(), Linear(parameters["2.W"], parameters["2.b"])]
    )
    twin = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    twin.load_state_dict(
        {n.replace("W", "weight").replace("b", "bias"): torch.tensor(v) for n, v in parameters.items()}
    )
    loss, sgd = MSE(), SGD(model.parameters(), 0.05, momentum)
    optimiser = torch.optim.SGD(twin.parameters(), 0.05, momentum)
    for _ in range(50):
        sgd.zero_grad()
        loss.forward(model.forward(x), y)
        model.backward(loss.backward())
        sgd.step()
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(twin(torch.tensor(x)), torch.tensor(y)).backward()
        optimiser.step()
    for ours, theirs in zip(model.parameters().values(), twin.parameters(), strict=True):
        assert_same("parameter", ours.value, theirs)


def test_arrays_that_parameters_were_made_of_stay_as_they_are() -> None:
    value = np.ones(3)
    variable = Variable(value)
    variable.grad += 1
    SGD({"w": variable}, 0.5).step()
    assert value.tolist() == [1, 1, 1]
    assert variable.value.tolist() == [0.5, 0.5, 0.5]
    assert variable.grad.tolist() == [1, 1, 1]


def test_every_gradient_is_forgotten() -> None:
    variables = [Variable(np.ones(2)), Variable(np.ones((1, 2)))]
    for variable in variables:
        variable.grad += 1
    SGD(dict(zip("ab", variables, strict=True)), 0.5).zero_grad()
    assert not any(variable.grad.any() for variable in variables)


def test_settings_that_are_refused() -> None:
    settings: list[tuple[Any, Any, str]] = [
        (0, 0, "the rate of SGD must be positive and finite, not 0.0"),
        (-0.1, 0, "the rate of SGD must be positive and finite, not -0.1"),
        (np.nan, 0, "the rate of SGD must be positive and finite, not nan"),
        ("fast", 0, "the rate of SGD must be one number, not 'fast'"),
        (0.1, 1, "the momentum of SGD must be at least 0 and less than 1, not 1.0"),
        (0.1, -0.5, "the momentum of SGD must be at least 0 and less than 1, not -0.5"),
        (0.1, np.inf, "the momentum of SGD must be finite, not inf"),
        (0.1, [0.9], "the momentum of SGD must be one number"),
    ]
    for rate, momentum, message in settings:
        with pytest.raises(ValueError, match=message):
            SGD({"w": Variable(np.ones(1))}, rate, momentum)


def test_parameters_that_are_refused() -> None:
    with pytest.raises(ValueError, match="SGD needs at least one parameter"):
        SGD({}, 0.1)
    variable = Variable(np.ones(1))
    with pytest.raises(ValueError, match="the same parameter twice"):
        SGD({"W": variable, "b": variable}, 0.1)
