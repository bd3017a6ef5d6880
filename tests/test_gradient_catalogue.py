"""Every entry of the catalogue before its referees, and what the notes' reader wants to see there."""

from __future__ import annotations

import dataclasses
import functools
import re

import numpy as np
import pytest
import torch

from bench.gradients.audit import TOLERANCE, Finding, cases_of, judge
from bench.gradients.catalogue import ENTRIES
from bench.gradients.catalogue.draw import BESIDE, LARGE
from bench.gradients.entry import Array, Case, Entry, Verdict, Written
from bench.gradients.layers import SGD
from bench.gradients.mutation.planting import faults, planted
from bench.gradients.referees import relative_error

BY_ID = {entry.id: entry for entry in ENTRIES}
FORMS = [(entry.id, form.name) for entry in ENTRIES for form in entry.written]
OF_THE_NOTES = [
    *("power", "dot", "rotation", "translation", "scale", "linear", "cubic"),
    *("sigmoid", "tanh", "relu", "leaky-relu", "softmax", "composite-sigmoid", "composite-tanh", "composite-relu"),
    *("mse", "halved-squared-error", "mae", "absolute-error-sum", "huber"),
    *("binary-cross-entropy", "categorical-cross-entropy", "sgd"),
]
OF_THE_CONVNET = ["conv2d", "max-pool", "avg-pool", "batch-norm", "flatten"]

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)


@functools.cache
def findings(entry: str) -> dict[str, Finding]:
    """By the form's name; the corrected one's is empty."""
    return {f.written.name if f.written else "": f for f in judge(BY_ID[entry], torch.device("cpu"))}


def form_of(entry: str, form: str) -> Written:
    return next(written for written in BY_ID[entry].written if written.name == form)


def compared(entry: str, form: str) -> list[tuple[Case, Array, Array]]:
    """In each regular case, the first input's gradient as written and as corrected."""
    e, written = BY_ID[entry], form_of(entry, form).gradient
    cases = [(case, g) for case, g in cases_of(e) if case.kind == "regular"]
    return [(c, written(c.inputs, g)[e.wrt[0]], e.corrected(c.inputs, g)[e.wrt[0]]) for c, g in cases]


@each_entry
def test_the_audit_finds_no_fault(entry: Entry) -> None:
    assert [fault for finding in findings(entry.id).values() for fault in finding.faults] == []


def test_every_row_of_the_notes_has_an_entry() -> None:
    assert set(OF_THE_NOTES) | set(OF_THE_CONVNET) <= BY_ID.keys()


def test_ids_are_unique() -> None:
    assert len(BY_ID) == len(ENTRIES)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in BY_ID)


@each_entry
def test_forms_and_cases_have_names_of_their_own(entry: Entry) -> None:
    forms = [form.name for form in entry.written]
    cases = [case.name for case, _ in cases_of(entry)]
    assert len(set(forms)) == len(forms)
    assert len(set(cases)) == len(cases)
    assert "corrected" not in forms


@each_entry
def test_formulas_are_plain_latex(entry: Entry) -> None:
    formulas = [entry.formula, entry.corrected_latex, *(form.latex for form in entry.written)]
    for formula in formulas:
        assert formula.strip()
        assert formula.isascii()
        assert "$" not in formula
        assert len(re.findall(r"(?<!\\)\{", formula)) == len(re.findall(r"(?<!\\)\}", formula))
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula))
        assert re.findall(r"\\begin\{(\w+)\}", formula) == re.findall(r"\\end\{(\w+)\}", formula)
    assert entry.title


@pytest.mark.parametrize(("entry", "form"), FORMS)
def test_a_cause_is_given_where_one_is_needed(entry: str, form: str) -> None:
    written = form_of(entry, form)
    assert bool(written.cause) == (written.expected is not Verdict.AGREES)
    assert "\n" not in written.cause + written.remark
    assert written.remark or not written.overflows


@each_entry
def test_kinks_are_declared_and_met(entry: Entry) -> None:
    assert bool(entry.kink) == any(case.kind == "kink" for case, _ in cases_of(entry))


@each_entry
def test_faults_can_be_planted_into_every_target(entry: Entry) -> None:
    assert entry.targets
    for function in entry.targets:
        assert faults(function)


@pytest.mark.parametrize("name", [*OF_THE_NOTES, *OF_THE_CONVNET])
def test_cases_have_one_sample_and_many_and_large_numbers(name: str) -> None:
    cases = [case for case, _ in cases_of(BY_ID[name])]
    sizes = {case.inputs[BY_ID[name].wrt[0]].size for case in cases}
    assert len(sizes) > 1
    assert any(case.name.startswith(("batch of 1", "one row")) for case in cases)
    assert any("square" in case.name for case in cases)
    assert any(case.kind == "extreme" for case in cases)


@pytest.mark.parametrize(
    ("entry", "form", "wrong"),
    [
        ("sigmoid", "class", ("x",)),
        ("mse", "class", ("prediction",)),
        ("mae", "chain", ("prediction",)),
        ("mae", "without the bars", ("value", "prediction")),
        ("cubic", "dW and db as for the linear model", ("W",)),
        ("sgd-together", "one after another", ("value", "W", "b")),
    ],
)
def test_what_the_notes_have_wrong_is_shown_as_wrong(entry: str, form: str, wrong: tuple[str, ...]) -> None:
    finding = findings(entry)[form]
    assert finding.verdict is Verdict.WRONG
    assert finding.wrong == wrong
    assert finding.autograd > 0.1
    assert finding.differences > 0.1
    assert finding.float32 > 0.1
    assert findings(entry)[""].autograd < TOLERANCE


def test_the_first_sources_rectifier_is_a_matter_of_convention() -> None:
    finding = findings("relu")["first source"]
    assert finding.verdict is Verdict.CONVENTION
    assert {check.case for check in finding.checks if check.autograd > TOLERANCE} == {"at and beside 0"}
    assert findings("relu")["second source"].verdict is Verdict.AGREES


def test_the_sigmoid_class_lacks_minus_the_exponential() -> None:
    for case, written, right in compared("sigmoid", "class"):
        assert relative_error(-np.exp(-case.inputs["x"]) * written, right) < 1e-14
        assert relative_error(-written, right) > 0.01  # the sign alone does not mend it


def test_the_mse_class_is_n_times_too_large_and_right_for_one_sample() -> None:
    for case, written, right in compared("mse", "class"):
        assert relative_error(written, right.size * right) < 1e-15
        assert (relative_error(written, right) < 1e-15) == (case.name == "batch of 1, 1 feature")


def test_the_mae_chain_lacks_the_inner_minus_one_and_1_over_n() -> None:
    for _, written, right in compared("mae", "chain"):
        assert relative_error(-written / written.size, right) < 1e-15
        assert relative_error(written / written.size, right) == pytest.approx(1)  # 1/N alone does not mend it


def test_written_forms_that_overflow_do_so_where_the_corrected_ones_do_not() -> None:
    overflowing = {name for name in FORMS if form_of(*name).overflows}
    assert overflowing >= {("tanh", "quotient"), ("binary-cross-entropy", "derivation")}
    for entry, _ in overflowing:
        for case, g in cases_of(BY_ID[entry]):
            assert all(np.isfinite(gradient).all() for gradient in BY_ID[entry].corrected(case.inputs, g).values())


def test_the_tanh_quotient_overflows_where_its_remark_says() -> None:
    quotient = form_of("tanh", "quotient").gradient
    for dtype, most in ((np.float64, 354), (np.float32, 44)):
        with np.errstate(over="ignore", invalid="ignore"):
            below, above = (quotient({"x": np.array([x], dtype)}, np.ones(1, dtype))["x"] for x in (most, most + 1))
        assert np.isfinite(below).all()
        assert np.isnan(above).all()


def test_the_leak_from_b_to_w_vanishes_for_centred_features() -> None:
    entry = BY_ID["sgd-together"]
    leaking = form_of("sgd-together", "one after another").forward
    assert leaking
    for case, _ in cases_of(entry):
        x = case.inputs["x"]
        centred = {**case.inputs, "x": x - x.mean(axis=0)}
        assert relative_error(leaking(centred), entry.forward(centred)) < 1e-12
        assert relative_error(leaking(case.inputs)[:-1], entry.forward(case.inputs)[:-1]) > 1e-5


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_updates_counterpart_is_pytorchs_optimiser_as_it_is_used(momentum: float) -> None:
    rng = np.random.default_rng(5)
    start, steps = rng.standard_normal((2, 3)), rng.standard_normal((6, 2, 3))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = torch.optim.SGD([parameter], lr=0.25, momentum=momentum)
    for gradient in steps:
        parameter.grad = torch.tensor(gradient)
        optimiser.step()
    inputs = {"W": start, "dW": steps, "rate": np.array(0.25), "momentum": np.array(momentum)}
    counterpart = BY_ID["sgd-momentum"].torch({name: torch.tensor(value) for name, value in inputs.items()})
    np.testing.assert_array_equal(counterpart.numpy(), parameter.detach().numpy())


def test_every_fault_in_the_optimiser_shows_in_the_values_of_the_update() -> None:
    entry, seen = BY_ID["sgd-momentum"], 0
    for fault in faults(SGD.step):
        with planted(SGD.step, fault.code):
            try:
                (finding,) = judge(entry, torch.device("cpu"))
            except ValueError:  # a value that is no parameter's any more
                continue
            seen += 1
            assert "value" in finding.wrong, f"{fault.before} -> {fault.after}"
    assert seen > 5


def test_points_beside_a_kink_are_so_in_float32_too() -> None:
    assert (BESIDE.astype(np.float32) != 0).sum() == (BESIDE != 0).sum()
    assert (BESIDE == 0).sum() == 2
    assert (LARGE != 0).all()


def test_max_pool_cases_have_ties() -> None:
    tied = [case.inputs["x"] for case, _ in cases_of(BY_ID["max-pool"]) if case.kind == "kink"]
    assert all(len(np.unique(x)) < x.size / 2 for x in tied)
    untied = [case.inputs["x"] for case, _ in cases_of(BY_ID["max-pool"]) if case.kind == "regular"]
    assert all(len(np.unique(x)) == x.size for x in untied)


def test_a_fault_in_an_entry_names_it() -> None:
    entry = dataclasses.replace(BY_ID["softmax"], corrected=BY_ID["sigmoid"].corrected)
    (finding,) = judge(entry, torch.device("cpu"))
    assert finding.faults == ("softmax: the corrected gradient of x is wrong",)
