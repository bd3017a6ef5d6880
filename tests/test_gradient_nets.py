"""The small networks written out by hand: every partial by name, and the trace of one sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.gradients.audit import cases_of
from bench.gradients.entry import Arrays, Entry, Gradients
from bench.gradients.models import net_121, net_321, net_1221
from bench.gradients.models.net_1221 import (
    PARAMETERS,
    SAMPLE,
    as_matrices,
    loss,
    matrix_gradient,
    matrix_loss,
    partials,
    trace,
    values,
)
from bench.gradients.referees import autograd

CPU = torch.device("cpu")
ONE = np.ones(())
UNTIMED = settings(max_examples=30, deadline=None)
numbers = st.floats(-2.0, 2.0, width=32)


def a_batch(x: list[float], parameters: list[float]) -> Arrays:
    named = {name: np.asarray(value) for name, value in zip(PARAMETERS, parameters, strict=True)}
    return {**named, "x": np.array(x), "y": np.linspace(-1.0, 1.0, len(x))}


def test_names_of_the_partials() -> None:
    named, matrix = net_1221.ENTRIES
    assert len(named.wrt) == 13
    assert matrix.wrt == ("W1", "W2", "W3")
    assert len(net_321.NET_321.wrt) == 11


def test_kink_cases_are_at_zero_and_beside_it() -> None:
    seen: dict[str, set[float]] = {"first": set(), "second": set()}
    for case, _ in cases_of(net_1221.NET_1221):
        if case.kind == "kink":
            v = values(case.inputs)
            layer = "first" if "first" in case.name else "second"
            pair = (v["z1"], v["z2"]) if layer == "first" else (v["z3"], v["z4"])
            near = {float(z[0]) for z in pair}
            assert len(near) == 1
            assert {float(np.float32(z)) > 0 for z in near} == {z > 0 for z in near}
            seen[layer] |= near
    assert seen == {"first": {0.0, 1e-9, -1e-9}, "second": {0.0, 1e-9, -1e-9}}


@UNTIMED
@given(st.lists(numbers, min_size=1, max_size=5), st.lists(numbers, min_size=13, max_size=13))
def test_named_and_matrix_form_are_one_network(x: list[float], parameters: list[float]) -> None:
    inputs = a_batch(x, parameters)
    matrices = {**as_matrices(inputs), "x": inputs["x"], "y": inputs["y"]}
    np.testing.assert_allclose(matrix_loss(matrices), loss(inputs), rtol=1e-12, atol=1e-12)
    if min(float(np.min(np.abs(z))) for name, z in values(inputs).items() if name[0] == "z") > 1e-9:
        expected = as_matrices(partials(inputs, ONE))
        for name, gradient in matrix_gradient(matrices, ONE).items():
            np.testing.assert_allclose(gradient, expected[name], rtol=1e-9, atol=1e-9)


@UNTIMED
@given(numbers, numbers, st.lists(numbers, min_size=13, max_size=13))
def test_a_trace_is_what_the_partials_and_autograd_say(x: float, y: float, parameters: list[float]) -> None:
    inputs = {**a_batch([x], parameters), "y": np.array([y])}
    found = trace(inputs)
    by_hand = partials(inputs, ONE)
    _, theirs = autograd(net_1221.NET_1221, inputs, ONE, CPU)
    assert found["L"] == pytest.approx(float(loss(inputs)), rel=1e-12)
    for name in PARAMETERS:
        assert found[f"dL/d{name}"] == by_hand[name]
        assert found[f"dL/d{name}"] == pytest.approx(float(theirs[name]), rel=1e-9, abs=1e-9)
    for bias, z in zip(("b1", "b2", "b3", "b4", "b5"), ("z1", "z2", "z3", "z4", "y_hat"), strict=True):
        assert found[f"dL/d{z}"] == pytest.approx(found[f"dL/d{bias}"], rel=1e-12, abs=1e-12)


def test_the_stated_sample_computed_by_hand() -> None:
    found = trace(SAMPLE)
    assert {name: found[name] for name in SAMPLE} == SAMPLE
    forth = {"z1": 2.0, "z2": -0.5, "a1": 2.0, "a2": 0.0, "z3": 1.25, "z4": 1.5, "a3": 1.25, "a4": 1.5}
    assert {name: found[name] for name in forth} == forth
    assert (found["y_hat"], found["L"]) == (1.0625, 0.9375**2)
    back = {"L": 1.0, "y_hat": -1.875, "z3": -1.875 * 1.25, "z4": 1.875 * 0.5, "a2": 1.875 * 1.25 + 0.9375 * 0.25}
    assert {name: found[f"dL/d{name}"] for name in back} == back
    assert found["dL/dw1"] == -1.875 * (1.25 * 0.75 - 0.5 * 0.5) * 1.5
    assert found["dL/dz2"] == found["dL/dw2"] == found["dL/dw5"] == found["dL/dw6"] == 0.0
    assert not any(value == 0.0 for name, value in found.items() if name.startswith("dL/d") and name[-1] not in "256")


def test_a_trace_differentiates_by_the_input_and_the_activations_too() -> None:
    tensors = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in SAMPLE.items()}
    t = tensors
    a = {"a1": torch.relu(t["w1"] * t["x"] + t["b1"]), "a2": torch.relu(t["w2"] * t["x"] + t["b2"])}
    a["a3"] = torch.relu(t["w3"] * a["a1"] + t["w5"] * a["a2"] + t["b3"])
    a["a4"] = torch.relu(t["w4"] * a["a1"] + t["w6"] * a["a2"] + t["b4"])
    result = (t["y"] - (t["w7"] * a["a3"] + t["w8"] * a["a4"] + t["b5"])) ** 2
    wanted = {"x": t["x"], **a}
    gradients = torch.autograd.grad(result, list(wanted.values()))
    found = trace(SAMPLE)
    for name, gradient in zip(wanted, gradients, strict=True):
        assert found[f"dL/d{name}"] == pytest.approx(float(gradient), rel=1e-12)


@UNTIMED
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=7))
def test_the_slope_of_the_121_network_is_finite_and_autograds(x: list[float]) -> None:
    inputs = {"x": np.array(x)}
    g = np.ones(len(x))
    slope = net_121.slope(inputs, g)["x"]
    _, theirs = autograd(net_121.NET_121, inputs, g, CPU)
    np.testing.assert_allclose(slope, theirs["x"], rtol=1e-6, atol=1e-15)


def test_the_slope_of_the_121_network_at_zero() -> None:
    a1, a2 = 1 / (1 + np.exp(0.1)), 1 / (1 + np.exp(-0.15))
    expected = 0.25 * a1 * (1 - a1) * -1.75 + 0.5 * a2 * (1 - a2) * 0.172
    assert net_121.slope({"x": np.zeros(1)}, np.ones(1))["x"][0] == pytest.approx(expected, rel=1e-12)
    assert net_121.output({"x": np.zeros(1)})[0] == pytest.approx(0.25 * a1 + 0.5 * a2 + 0.2, rel=1e-12)


def first_case(entry: Entry) -> tuple[Arrays, Gradients]:
    case, g = cases_of(entry)[0]
    return case.inputs, entry.corrected(case.inputs, g)


def test_partials_of_the_321_network_follow_from_those_of_the_biases() -> None:
    inputs, found = first_case(net_321.NET_321)
    for i in (1, 2, 3):
        for j in (1, 2):
            assert found[f"w{i}{j}"] == pytest.approx(inputs["x"][0, i - 1] * found[f"b{j}"], rel=1e-12)
