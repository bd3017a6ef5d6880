"""Every entry of the catalogue before its referees, and what the notes' reader wants to see there."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import torch

from bench.gradients.audit import TOLERANCE, Finding, cases_of, judge
from bench.gradients.catalogue import ENTRIES
from bench.gradients.catalogue.draw import BESIDE, LARGE
from bench.gradients.entry import Array, Case, Entry, Verdict, Written
from bench.gradients.mutants import mutants
from bench.gradients.referees import relative_error

BY_ID = {entry.id: entry for entry in ENTRIES}
OF_THE_NOTES = [
    *("power", "dot", "rotation", "translation", "scale", "linear", "cubic"),
    *("sigmoid", "tanh", "relu", "leaky-relu", "softmax", "composite-sigmoid", "composite-tanh", "composite-relu"),
    *("mse", "halved-squared-error", "mae", "absolute-error-sum", "huber"),
    *("binary-cross-entropy", "categorical-cross-entropy", "sgd"),
]
OF_THE_CONVNET = ["conv2d", "max-pool", "avg-pool", "batch-norm", "flatten"]


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


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_an_entry_has_no_fault_and_every_fault_in_it_is_caught(entry: Entry) -> None:
    judged = findings(entry.id)
    assert [fault for finding in judged.values() for fault in finding.faults] == []
    assert list(judged) == ["", *(form.name for form in entry.written)]
    assert judged[""].autograd < 1e-13
    results = list(mutants(entry))
    assert [str(mutant) for mutant in results if not mutant.caught] == []
    # A gradient that no fault makes wrong would be computed outside of the code that faults are planted into.
    assert {name for mutant in results for name in mutant.wrong} >= set(entry.wrt)
    if entry.group in {"layer", "loss"}:  # where all extents are the same, a wrong axis raises nothing
        assert [str(mutant) for mutant in results if mutant.caught != "value"] == []


def test_entries_are_named_and_cover_the_notes() -> None:
    assert set(OF_THE_NOTES) | set(OF_THE_CONVNET) <= BY_ID.keys()
    assert len(BY_ID) == len(ENTRIES) == 46
    assert sum(len(entry.written) for entry in ENTRIES) == 41
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in BY_ID)
    assert all(entry.title for entry in ENTRIES)


def test_forms_have_names_formulas_and_causes() -> None:
    for entry in ENTRIES:
        names = [form.name for form in entry.written]
        assert len({*names, "corrected"}) == len(names) + 1, entry.id
        for formula in (entry.formula, entry.corrected_latex, *(form.latex for form in entry.written)):
            assert formula.strip(), entry.id
            assert formula.isascii(), entry.id
            assert "$" not in formula, entry.id
            for part in formula.split(r"\quad"):  # each is set in a box of its own
                assert len(re.findall(r"(?<!\\)\{", part)) == len(re.findall(r"(?<!\\)\}", part)), part
                assert len(re.findall(r"\\left\b", part)) == len(re.findall(r"\\right\b", part)), part
                assert re.findall(r"\\begin\{(\w+)\}", part) == re.findall(r"\\end\{(\w+)\}", part), part
                assert r"\|" not in part, "no bar of a table"
        for form in entry.written:
            assert bool(form.cause) == (form.expected is not Verdict.AGREES), form.name
            assert "\n" not in form.cause + form.remark, form.name
            assert form.remark or not form.overflows, form.name


def test_cases_have_names_kinks_one_sample_and_many_and_large_numbers() -> None:
    for entry in ENTRIES:
        cases = [case for case, _ in cases_of(entry)]
        assert len({case.name for case in cases}) == len(cases), entry.id
        assert bool(entry.kink) == any(case.kind == "kink" for case in cases), entry.id
        assert {case.kind for case in cases} >= {"regular"}, entry.id
        if entry.id in (*OF_THE_NOTES, *OF_THE_CONVNET):
            assert len({case.inputs[entry.wrt[0]].size for case in cases}) > 1, entry.id
            assert any(case.name.startswith(("batch of 1", "one row")) for case in cases), entry.id
            assert any("square" in case.name for case in cases), entry.id
            assert any(case.kind == "extreme" for case in cases), entry.id


def test_what_the_notes_have_wrong_is_shown_as_wrong() -> None:
    for (entry, form), wrong in {
        ("sigmoid", "class"): ("x",),
        ("mse", "class"): ("prediction",),
        ("mae", "chain"): ("prediction",),
        ("mae", "without the bars"): ("value", "prediction"),
        ("cubic", "dW and db as for the linear model"): ("W",),
        ("house-cubic", "as for the linear model"): ("W",),
        ("sgd-together", "one after another"): ("value", "W", "b"),
        ("net-3-2-1", "one line"): BY_ID["net-3-2-1"].wrt,
        ("robot-arm-absolute", "the whole loop"): ("angles",),
        ("robot-arm-relative", "the factor, one rotation"): ("angles",),
    }.items():
        finding = findings(entry)[form]
        assert (finding.verdict, finding.wrong) == (Verdict.WRONG, wrong), (entry, form)
        assert min(finding.autograd, finding.differences, finding.float32) > 0.1, (entry, form)
        assert findings(entry)[""].autograd < TOLERANCE


def test_a_convention_is_seen_at_its_kinks_alone() -> None:
    for (entry, form), cases in {
        ("relu", "first source"): {"at and beside 0"},
        ("net-1-2-2-1", "13 partials, relu'(0) = 1"): {f"the {n} layer at its kinks" for n in ("first", "second")},
    }.items():
        finding = findings(entry)[form]
        assert finding.verdict is Verdict.CONVENTION
        assert {check.case for check in finding.checks if check.autograd > TOLERANCE} == cases
    assert findings("relu")["second source"].verdict is Verdict.AGREES


def test_written_forms_lack_what_is_said_of_them() -> None:
    for case, written, right in compared("sigmoid", "class"):
        assert relative_error(-np.exp(-case.inputs["x"]) * written, right) < 1e-14
        assert relative_error(-written, right) > 0.01  # the sign alone does not mend it
    for case, written, right in compared("mse", "class"):
        assert relative_error(written, right.size * right) < 1e-15
        assert (relative_error(written, right) < 1e-15) == (case.name == "batch of 1, 1 feature")
    for _, written, right in compared("mae", "chain"):
        assert relative_error(-written / written.size, right) < 1e-15
        assert relative_error(written / written.size, right) == pytest.approx(1)  # 1/N alone does not mend it


def test_written_forms_that_overflow_do_so_where_the_corrected_ones_do_not() -> None:
    overflowing = {(entry.id, form.name) for entry in ENTRIES for form in entry.written if form.overflows}
    assert overflowing >= {("tanh", "quotient"), ("binary-cross-entropy", "derivation")}
    for entry, _ in overflowing:
        for case, g in cases_of(BY_ID[entry]):
            assert all(np.isfinite(gradient).all() for gradient in BY_ID[entry].corrected(case.inputs, g).values())
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


def test_the_updates_counterpart_is_pytorchs_optimiser_as_it_is_used() -> None:
    rng = np.random.default_rng(5)
    start, steps = rng.standard_normal((2, 3)), rng.standard_normal((6, 2, 3))
    for momentum in (0.0, 0.9):
        parameter = torch.nn.Parameter(torch.tensor(start))
        optimiser = torch.optim.SGD([parameter], lr=0.25, momentum=momentum)
        for gradient in steps:
            parameter.grad = torch.tensor(gradient)
            optimiser.step()
        inputs = {"W": start, "dW": steps, "rate": np.array(0.25), "momentum": np.array(momentum)}
        counterpart = BY_ID["sgd-momentum"].torch({name: torch.tensor(value) for name, value in inputs.items()})
        np.testing.assert_array_equal(counterpart.numpy(), parameter.detach().numpy())


def test_every_fault_in_the_optimiser_shows_in_the_values_of_the_update() -> None:
    results = [mutant for mutant in mutants(BY_ID["sgd-momentum"]) if mutant.function.endswith("SGD.step")]
    assert len(results) > 5
    assert [str(m) for m in results if m.caught == "value" and "value" not in m.wrong] == []


def test_points_beside_a_kink_are_so_in_float32_too() -> None:
    assert (BESIDE.astype(np.float32) != 0).sum() == (BESIDE != 0).sum()
    assert (BESIDE == 0).sum() == 2
    assert (LARGE != 0).all()
    tied = [case.inputs["x"] for case, _ in cases_of(BY_ID["max-pool"]) if case.kind == "kink"]
    assert all(len(np.unique(x)) < x.size / 2 for x in tied)
    untied = [case.inputs["x"] for case, _ in cases_of(BY_ID["max-pool"]) if case.kind == "regular"]
    assert all(len(np.unique(x)) == x.size for x in untied)
