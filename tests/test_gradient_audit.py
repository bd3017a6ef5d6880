"""The audit can fail: entries made up with one thing wrong."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from bench.gradients.audit import (
    CORRECTED,
    DIFFERENCES_TOLERANCE,
    FLOAT32_TOLERANCE,
    TOLERANCE,
    Finding,
    cases_of,
    judge,
)
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict, Written

CPU = torch.device("cpu")


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("batch of 1", {"x": rng.uniform(1, 2, (1, 3)), "y": rng.uniform(1, 2, (1, 3))})
    yield Case("many", {"x": rng.uniform(1, 2, (5, 2)), "y": rng.uniform(1, 2, (5, 2))})


def _gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"x": 2 * inputs["x"] * inputs["y"] * g, "y": inputs["x"] ** 2 * g}


def _wrong_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {**_gradient(inputs, g), "x": inputs["x"] * inputs["y"] * g}


SOUND = Entry(
    id="made-up",
    title="x squared times y",
    formula="x^2 y",
    corrected_latex="2 x y, x^2",
    forward=lambda i: i["x"] ** 2 * i["y"],
    corrected=_gradient,
    torch=lambda t: t["x"] ** 2 * t["y"],
    wrt=("x", "y"),
    cases=_cases,
)


def _relu_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("away from 0", {"x": np.array([-2.0, 3.0])})
    yield Case("at 0", {"x": np.array([0.0, 1.0])}, kind="kink")


RELU = Entry(
    id="made-up-relu",
    title="relu",
    formula=r"\max(0, x)",
    corrected_latex="[x > 0]",
    forward=lambda i: np.maximum(i["x"], 0),
    corrected=lambda i, g: {"x": g * (i["x"] > 0)},
    torch=lambda t: torch.relu(t["x"]),
    cases=_relu_cases,
    kink="at 0",
)


def corrected(entry: Entry) -> Finding:
    return judge(entry, CPU)[0]


def written(entry: Entry, form: Written) -> Finding:
    finding = judge(dataclasses.replace(entry, written=(form,)), CPU)[1]
    assert finding.written is form
    return finding


def form(gradient: Any, expected: Verdict, **other: Any) -> Written:
    return Written(name="form", latex="?", gradient=gradient, expected=expected, **other)


def with_extreme(entry: Entry, inputs: Arrays) -> Entry:
    return dataclasses.replace(entry, cases=lambda rng: [*entry.cases(rng), Case("large", inputs, kind="extreme")])


def test_a_sound_entry_has_no_fault_and_keeps_its_raw_values() -> None:
    finding = corrected(SOUND)
    assert finding.faults == ()
    assert finding.verdict is Verdict.AGREES
    assert finding.cases == 2
    assert [(c.form, c.case, c.gradient) for c in finding.checks] == [
        (CORRECTED, case, name) for case in ("batch of 1", "many") for name in ("value", "x", "y")
    ]
    assert finding.autograd == max(c.autograd for c in finding.checks) < 1e-15
    assert 0 < finding.differences < 1e-8
    assert 0 < finding.float32 < 1e-6


def test_the_value_is_not_differenced_and_neither_are_kinks() -> None:
    assert {c.gradient for c in corrected(SOUND).checks if c.differences is None} == {"value"}
    assert {(c.kind, c.gradient) for c in corrected(RELU).checks if c.differences is not None} == {("regular", "x")}


def test_a_wrong_corrected_form_is_a_fault_that_names_entry_and_gradient() -> None:
    finding = corrected(dataclasses.replace(SOUND, corrected=_wrong_gradient))
    assert finding.verdict is Verdict.WRONG
    assert finding.wrong == ("x",)
    assert finding.faults == ("made-up: the corrected gradient of x is wrong",)
    assert finding.autograd == pytest.approx(1 / 3)  # of a gradient twice as large


def test_a_corrected_form_that_is_wrong_at_a_kink_is_a_fault() -> None:
    finding = corrected(dataclasses.replace(RELU, corrected=lambda i, g: {"x": g * (i["x"] >= 0)}))
    assert finding.faults == ("made-up-relu: the corrected gradient of x is wrong",)


def test_a_function_with_other_values_than_pytorch_is_a_fault() -> None:
    finding = corrected(dataclasses.replace(SOUND, forward=lambda i: i["x"] ** 2 * i["y"] + 1e-6))
    assert finding.wrong == ("value",)


def test_what_autograd_agrees_with_central_differences_may_reject() -> None:
    def half(inputs: Arrays, g: Array) -> Gradients:
        return {"x": inputs["x"] * inputs["y"] * g, "y": inputs["x"] ** 2 * g}

    entry = dataclasses.replace(SOUND, corrected=half, torch=lambda t: t["x"] * t["x"].detach() * t["y"])
    finding = corrected(entry)
    assert finding.autograd < 1e-15
    assert finding.wrong == ("x",)


def test_what_is_right_in_float64_may_be_wrong_in_float32() -> None:
    def rough(inputs: Arrays, g: Array) -> Gradients:
        factor = 1.001 if g.dtype == np.float32 else 1.0
        return {name: gradient * factor for name, gradient in _gradient(inputs, g).items()}

    finding = corrected(dataclasses.replace(SOUND, corrected=rough))
    assert finding.autograd < 1e-15
    assert finding.wrong == ("x", "y")


def test_a_gradient_that_is_zero_in_every_case_is_a_fault() -> None:
    entry = dataclasses.replace(
        SOUND,
        forward=lambda i: i["x"] ** 2,
        torch=lambda t: t["x"] ** 2,
        corrected=lambda i, g: {"x": 2 * i["x"] * g, "y": np.zeros_like(i["y"])},
    )
    assert corrected(entry).faults == ("made-up: the gradient of y is zero in every case, so it is not checked",)
    assert corrected(entry).verdict is Verdict.AGREES


def test_a_gradient_that_is_zero_in_one_case_is_none() -> None:
    zero = Case("at 0", {"x": np.zeros((1, 1)), "y": np.ones((1, 1))})
    assert corrected(dataclasses.replace(SOUND, cases=lambda rng: [zero, *_cases(rng)])).faults == ()


def test_an_entry_without_cases_is_a_fault() -> None:
    assert "made-up: there are no cases" in corrected(dataclasses.replace(SOUND, cases=lambda _: [])).faults


def test_another_shape_and_what_is_not_finite_are_infinite_errors() -> None:
    def spoilt(gradient: Array, value: float) -> Array:
        gradient[0, 0] = value
        return gradient

    for change in (
        lambda x: x.T,
        lambda x: x[:1],
        lambda x: x.sum(axis=0),
        lambda x: x[np.newaxis],
        lambda x: spoilt(x, math.nan),
        lambda x: spoilt(x, -math.inf),
    ):

        def gradient(inputs: Arrays, g: Array, change: Any = change) -> Gradients:
            return {**_gradient(inputs, g), "x": change(_gradient(inputs, g)["x"])}

        finding = corrected(dataclasses.replace(SOUND, corrected=gradient))
        assert finding.autograd == finding.differences == math.inf
        assert finding.wrong == ("x",)


def test_a_written_form_with_the_expected_verdict_is_no_fault() -> None:
    assert written(SOUND, form(_gradient, Verdict.AGREES)).faults == ()
    assert written(SOUND, form(_wrong_gradient, Verdict.WRONG)).faults == ()


def test_an_unexpected_verdict_is_a_fault() -> None:
    for gradient, verdict in ((_gradient, Verdict.AGREES), (_wrong_gradient, Verdict.WRONG)):
        for expected in set(Verdict) - {verdict}:
            finding = written(SOUND, form(gradient, expected))
            assert finding.verdict is verdict
            sentence = f"made-up (form): the verdict is {verdict.value!r}, expected was {expected.value!r}"
            assert finding.faults == (sentence,)


def test_a_written_form_gives_the_gradients_that_it_writes() -> None:
    finding = written(SOUND, form(lambda i, g: {"y": i["x"] ** 2 * g}, Verdict.AGREES))
    assert {check.gradient for check in finding.checks} == {"value", "y"}
    assert finding.faults == ()


def test_a_written_function_of_its_own_is_compared_by_value_too() -> None:
    same = form(_gradient, Verdict.AGREES, forward=lambda i: i["x"] * i["x"] * i["y"])
    other = form(_gradient, Verdict.WRONG, forward=lambda i: i["x"] ** 2 * i["y"] + 1)
    assert written(SOUND, same).faults == ()
    assert written(SOUND, other).wrong == ("value",)


def test_a_form_is_judged_on_the_cases_it_is_written_for() -> None:
    def one_sample(inputs: Arrays, g: Array) -> Gradients:
        return {"x": 2 * inputs["x"] * inputs["y"] * g * len(g)}

    assert written(SOUND, form(one_sample, Verdict.WRONG)).cases == 2
    finding = written(SOUND, form(one_sample, Verdict.AGREES, applies=lambda case: len(case.inputs["x"]) == 1))
    assert finding.cases == 1
    assert finding.faults == ()


def test_a_form_that_no_case_is_for_is_a_fault() -> None:
    finding = written(SOUND, form(_gradient, Verdict.AGREES, applies=lambda _: False))
    assert finding.faults == ("made-up (form): there are no cases",)


def test_a_difference_at_a_kink_alone_is_a_convention() -> None:
    finding = written(RELU, form(lambda i, g: {"x": g * (i["x"] >= 0)}, Verdict.CONVENTION))
    assert finding.verdict is Verdict.CONVENTION
    assert finding.wrong == ("x",)
    assert finding.faults == ()


def test_a_difference_away_from_a_kink_is_none() -> None:
    at_0 = Case("at 0", {"x": np.array([0.0, 1.0])})
    for case in (at_0, dataclasses.replace(at_0, kind="extreme")):

        def cases(_: np.random.Generator, case: Case = case) -> list[Case]:
            return [case]

        entry = dataclasses.replace(RELU, cases=cases)
        assert written(entry, form(lambda i, g: {"x": g * (i["x"] >= 0)}, Verdict.WRONG)).faults == (), case.kind


def _overflowing(inputs: Arrays, g: Array) -> Gradients:
    """inf/inf where x is large."""
    large = np.exp(inputs["x"])
    return {"x": 2 * inputs["x"] * inputs["y"] * g * large / large}


LARGE = {"x": np.full((1, 1), 1e3), "y": np.ones((1, 1))}


def test_an_overflow_that_is_declared_and_seen_is_no_fault() -> None:
    finding = written(with_extreme(SOUND, LARGE), form(_overflowing, Verdict.AGREES, overflows=True))
    assert finding.faults == ()
    assert finding.autograd < 1e-15
    assert finding.cases == 3


def test_an_overflow_that_is_declared_and_not_seen_is_a_fault() -> None:
    expected = ("made-up (form): it is said to overflow, and does not",)
    declared = form(_gradient, Verdict.AGREES, overflows=True)
    assert written(with_extreme(SOUND, LARGE), declared).faults == expected
    assert written(SOUND, form(_overflowing, Verdict.AGREES, overflows=True)).faults == expected


def test_an_overflow_that_is_not_declared_makes_the_form_wrong() -> None:
    finding = written(with_extreme(SOUND, LARGE), form(_overflowing, Verdict.AGREES))
    assert finding.verdict is Verdict.WRONG
    assert finding.autograd == math.inf
    assert len(finding.faults) == 1


def test_an_overflow_excuses_nothing_in_other_cases() -> None:
    def wrong(inputs: Arrays, g: Array) -> Gradients:
        return {"x": _overflowing(inputs, g)["x"] / 2}

    assert written(with_extreme(SOUND, LARGE), form(wrong, Verdict.AGREES, overflows=True)).verdict is Verdict.WRONG


def test_a_form_must_give_gradients_of_the_entrys_inputs() -> None:
    for gradient in (lambda _i, _g: {}, lambda _, g: {"z": g}, lambda i, g: {**_gradient(i, g), "z": g}):
        with pytest.raises(ValueError, match=r"made-up \(form\) gives the gradients"):
            written(SOUND, form(gradient, Verdict.AGREES))


def test_the_corrected_form_must_give_every_gradient() -> None:
    entry = dataclasses.replace(SOUND, corrected=lambda i, g: {"y": i["x"] ** 2 * g})
    with pytest.raises(ValueError, match=r"made-up \(corrected\) gives the gradients \['y'\], autograd \['x', 'y'\]"):
        corrected(entry)


def test_all_forms_are_judged_in_order() -> None:
    findings = judge(dataclasses.replace(SOUND, written=(form(_gradient, Verdict.AGREES),)), CPU)
    assert [finding.written and finding.written.name for finding in findings] == [None, "form"]


def test_cases_are_the_same_each_time_and_upstream_gradients_random() -> None:
    (case, g), (_, other) = cases_of(SOUND)
    (again, g_again), _ = cases_of(SOUND)
    np.testing.assert_array_equal(case.inputs["x"], again.inputs["x"])
    np.testing.assert_array_equal(g, g_again)
    assert g.shape == (1, 3)
    assert len({*g.ravel(), *other.ravel()}) == 13
    renamed, _ = cases_of(dataclasses.replace(SOUND, id="another"))[0]
    assert not np.array_equal(case.inputs["x"], renamed.inputs["x"])


def test_a_gradient_off_by_a_billionth_is_a_fault() -> None:
    def close(inputs: Arrays, g: Array) -> Gradients:
        return {name: gradient * (1 + 1e-9) for name, gradient in _gradient(inputs, g).items()}

    finding = corrected(dataclasses.replace(SOUND, corrected=close))
    assert finding.autograd == pytest.approx(5e-10, rel=1e-3)
    assert finding.wrong == ("x", "y")


def test_the_tolerances_are_those_that_the_audit_promises() -> None:
    assert (TOLERANCE, DIFFERENCES_TOLERANCE, FLOAT32_TOLERANCE) == (1e-10, 1e-6, 1e-4)
