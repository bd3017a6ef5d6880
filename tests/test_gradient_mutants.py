"""Planted faults: the kinds on small functions, planting one, how the audit notices it, and when it cannot."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients
from bench.gradients.faults import _variants, faults, planted
from bench.gradients.mutants import Mutant, mutants

# The kinds of fault

SNIPPETS: dict[str, set[tuple[str, str]]] = {
    "y = a + b": {("sign", "a - b")},
    "y = a - b": {("sign", "a + b")},
    "y = (1,) + shape": set(),
    "y = -a": {("sign", "a")},
    "return a": {("sign", "return -a")},
    "return a * b": {("sign", "return -(a * b)"), ("dropped factor", "a"), ("dropped factor", "b")},
    "return a, b": {("sign", "return (-a, b)"), ("sign", "return (a, -b)")},
    "return {'w': a, 'b': c}": {("sign", "{'w': -a, 'b': c}"), ("sign", "{'w': a, 'b': -c}")},
    "return others(x)": set(),
    "self.grad += a": {("overwritten", "self.grad = a"), ("sign", "self.grad -= a")},
    "y = a / b": {("dropped factor", "a")},
    "y = a / len(x)": {("missing 1/N", "a")},
    "y = 2 / x.size": {("missing 1/N", "2")},
    "y = a ** 3": {("dropped factor", "a")},
    "y = x.mean(axis=2)": {("missing 1/N", "x.sum(axis=2)"), ("wrong axis", "x.mean(axis=0)")},
    "y = a.T": {("transposed", "a")},
    "y = a @ b": {("transposed", "a.mT @ b"), ("transposed", "a @ b.mT")},
    "y = np.moveaxis(a, 1, -1)": {("transposed", "a")},
    "y = x.sum(axis=(0, 2))": {("wrong axis", "x.sum(axis=(1, 2))"), ("wrong axis", "x.sum(axis=(0, 1))")},
    "y = np.tensordot(a, b, axes=((0,), (2,)))": {
        ("wrong axis", "np.tensordot(a, b, axes=((1,), (2,)))"),
        ("wrong axis", "np.tensordot(a, b, axes=((0,), (1,)))"),
    },
    "y = x.sum(axis=self.axis)": set(),
    "y = x > 0": {("branch", "x >= 0")},
    "y = x <= 0": {("branch", "x < 0")},
    "y = x == 0": {("branch", "x != 0")},
}


def test_the_faults_of_a_line() -> None:
    for line, expected in SNIPPETS.items():
        variants = [variant for node in ast.walk(ast.parse(line)) for variant in _variants(node)]
        found = [(kind, ast.unparse(ast.fix_missing_locations(other))) for kind, other in variants]
        assert set(found) == expected, line
        assert len(found) == len(set(found)), f"each fault once: {line}"


def halved(x: float, by: float = 2 * 1.0) -> float:
    """A docstring, so that the line of the fault is not the first."""
    if x == 0:
        raise ZeroDivisionError("nothing to halve")
    return x / by


class Scale:
    """A method to plant a fault into."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def times(self, x: list[float]) -> float:
        return x[-1] * self.factor


def test_faults_of_a_function_are_those_of_its_body() -> None:
    first = halved.__code__.co_firstlineno
    assert [(fault.kind, fault.line - first, fault.before, fault.after) for fault in faults(halved)] == [
        ("branch", 2, "x == 0", "x != 0"),
        ("sign", 4, "return x / by", "return -(x / by)"),
        ("dropped factor", 4, "x / by", "x"),
    ]


def test_a_function_and_a_method_run_with_the_fault_and_without_it_after() -> None:
    own = halved.__code__
    fault = next(fault for fault in faults(halved) if fault.after == "x")
    with planted(halved, fault.code):
        assert halved(3.0) == 3.0
    assert halved(3.0) == 1.5
    scale = Scale(2.0)
    assert [fault.after for fault in faults(Scale.times)] == ["return -(x[-1] * self.factor)", "x[-1]", "self.factor"]
    with planted(Scale.times, faults(Scale.times)[1].code):
        assert scale.times([3.0]) == 3.0
    assert scale.times([3.0]) == 6.0
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), planted(halved, fault.code):
            raise error
        assert halved.__code__ is own


def closure() -> Callable[[float], float]:
    factor = 2.0

    def scaled(x: float) -> float:
        return x * factor

    return scaled


def test_what_cannot_be_planted_into_is_refused() -> None:
    for function in (closure(), lambda x: -x, np.sum, Scale(2.0).times):
        with pytest.raises(ValueError, match="no fault can be planted into"):
            faults(function)


# How the audit notices


def mean_of_squares(inputs: Arrays) -> Array:
    return np.asarray(np.mean(inputs["x"] ** 2, axis=0))


def mean_of_squares_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"x": 2 * inputs["x"] * g / len(inputs["x"])}


def wrong_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"x": inputs["x"] * g / len(inputs["x"])}


def raising_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"x": inputs["y"] * g}


def delegating_gradient(inputs: Arrays, g: Array) -> Gradients:
    return mean_of_squares_gradient(inputs, g)


def writing_gradient(inputs: Arrays, g: Array) -> Gradients:
    inputs["x"][...] = inputs["x"] * 2
    return {"x": inputs["x"] * g / len(g)}


def sign_of_root_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"x": g * inputs["x"] / np.sqrt(inputs["x"] * inputs["x"])}


def matrix_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"x": 2 * (np.diag(g) @ inputs["x"].T).T / len(inputs["x"])}


SQUARE = np.arange(1.0, 10.0).reshape(3, 3)


def entry_of(values: list[Array], corrected: Any = mean_of_squares_gradient, target: Any = None) -> Entry:
    """The mean over the rows of squares, on these matrices."""

    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for i, value in enumerate(values):
            yield Case(str(i), {"x": value})

    return Entry(
        id="mean-of-squares",
        title="mean of squares",
        formula="",
        corrected_latex="",
        forward=mean_of_squares,
        corrected=corrected,
        torch=lambda tensors: (tensors["x"] ** 2).mean(0),
        cases=cases,
        targets=(target or corrected,),
    )


def survivors(entry: Entry) -> list[str]:
    return [str(mutant) for mutant in mutants(entry) if not mutant.caught]


def test_every_fault_is_caught_where_the_cases_are_telling() -> None:
    results = list(mutants(entry_of([SQUARE])))
    assert results[1:2] == [
        Mutant(
            entry="mean-of-squares",
            function="tests.test_gradient_mutants.mean_of_squares_gradient",
            kind="missing 1/N",
            line=mean_of_squares_gradient.__code__.co_firstlineno + 1,
            before="2 * inputs['x'] * g / len(inputs['x'])",
            after="2 * inputs['x'] * g",
            caught="value",
            wrong=("x",),
        )
    ]
    assert all(mutant.caught for mutant in results)


def test_cases_that_tell_nothing_let_faults_survive() -> None:
    """The check can fail: where N is 1, or all is 0, the audit has to miss some."""
    line = mean_of_squares_gradient.__code__.co_firstlineno + 1
    assert survivors(entry_of([np.array([[3.0]])])) == [
        f"mean-of-squares: tests.test_gradient_mutants.mean_of_squares_gradient, line {line}: "
        "the audit does not notice the fault 2 * inputs['x'] * g / len(inputs['x']) -> 2 * inputs['x'] * g "
        "(missing 1/N)"
    ]
    assert len(survivors(entry_of([np.zeros((2, 2))]))) > 2


def test_a_fault_that_only_raises_is_told_from_one_with_wrong_values() -> None:
    """A transposition left out raises on a rectangle, and on a square gives wrong numbers."""
    rectangle = np.arange(1.0, 7.0).reshape(2, 3)
    for values, caught in (([rectangle], "error"), ([rectangle, SQUARE], "value")):
        by_fault = {mutant.after: mutant.caught for mutant in mutants(entry_of(values, matrix_gradient))}
        assert by_fault["inputs['x']"] == caught


def test_a_fault_may_warn_within_its_audit_only() -> None:
    """x / sqrt(x x) with a factor dropped takes the root of negative numbers, which NumPy warns of."""
    fields = {"forward": lambda i: np.abs(i["x"]), "torch": lambda tensors: tensors["x"].abs()}
    absolute = Entry(**{**vars(entry_of([SQUARE - 4.5], sign_of_root_gradient)), **fields})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = []
        for mutant in mutants(absolute):
            results.append(mutant)
            with pytest.raises(RuntimeWarning):
                np.sqrt(np.array([-1.0]))
    assert all(mutant.caught for mutant in results)


def test_faults_leave_the_cases_as_they_are() -> None:
    """Code may write into its inputs; the next fault sees what the first one saw."""
    once = list(mutants(entry_of([SQUARE.copy()], writing_gradient)))
    assert once == list(mutants(entry_of([SQUARE.copy()], writing_gradient)))


def test_what_shows_nothing_is_refused() -> None:
    for corrected, error, words in (
        (wrong_gradient, ValueError, "mean-of-squares: x wrong as it is"),
        (raising_gradient, KeyError, "y"),
        (delegating_gradient, ValueError, "mean-of-squares: there is nothing in delegating_gradient"),
    ):
        with pytest.raises(error, match=words):
            list(mutants(entry_of([SQUARE], corrected)))


def test_faults_go_into_the_targets_and_are_gone_when_a_run_is_abandoned() -> None:
    own = mean_of_squares_gradient.__code__
    run = mutants(entry_of([SQUARE], delegating_gradient, mean_of_squares_gradient))
    assert next(run).function.endswith("mean_of_squares_gradient")
    assert mean_of_squares_gradient.__code__ is own, "a fault is planted only while it is audited"
    assert {m.wrong for m in mutants(entry_of([SQUARE], target=mean_of_squares))} == {("value",)}
