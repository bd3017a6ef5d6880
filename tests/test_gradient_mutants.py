"""Planted faults: how the audit of an entry notices them, when it cannot, and that it does in all of the catalogue."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench.gradients.catalogue import ENTRIES
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients
from bench.gradients.mutants import Count, Mutant, counts, mutants, survivors


def mean_of_squares(inputs: Arrays) -> Array:
    return np.asarray(np.mean(inputs["x"] ** 2, axis=0))


def mean_of_squares_gradient(inputs: Arrays, g: Array) -> Gradients:
    x = inputs["x"]
    return {"x": 2 * x * g[None, :] / len(x)}


def wrong_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"x": inputs["x"] * g[None, :] / len(inputs["x"])}


def sign_of_root(inputs: Arrays) -> Array:
    return np.asarray(np.abs(inputs["x"]))


def sign_of_root_gradient(inputs: Arrays, g: Array) -> Gradients:
    x = inputs["x"]
    return {"x": g * x / np.sqrt(x * x)}


def entry_of(values: list[Array], corrected: Any = mean_of_squares_gradient, targets: tuple[Any, ...] = ()) -> Entry:
    """The mean over the rows of squares, on these matrices."""

    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for i, value in enumerate(values):
            yield Case(str(i), {"x": value})

    return Entry(
        id="mean-of-squares",
        title="mean of squares",
        group="building block",
        formula="",
        corrected_latex="",
        forward=mean_of_squares,
        corrected=corrected,
        torch=lambda tensors: (tensors["x"] ** 2).mean(0),
        wrt=("x",),
        cases=cases,
        targets=targets,
    )


SQUARE = np.arange(1.0, 10.0).reshape(3, 3)


def test_every_fault_is_caught_where_the_cases_are_telling() -> None:
    results = list(mutants([entry_of([SQUARE])]))
    line = mean_of_squares_gradient.__code__.co_firstlineno + 2
    assert (
        Mutant(
            entry="mean-of-squares",
            function="mean_of_squares_gradient",
            operator="missing 1/N",
            file="tests/test_gradient_mutants.py",
            line=line,
            before="2 * x * g[None, :] / len(x)",
            after="2 * x * g[None, :]",
            caught="value",
            wrong=("x",),
        )
        in results
    )
    assert all(mutant.caught for mutant in results)
    assert survivors(results) == []


def test_a_case_with_one_row_and_column_lets_faults_survive() -> None:
    """The check can fail: where N is 1 and a transposition changes nothing, the audit has to miss them."""
    results = list(mutants([entry_of([np.array([[3.0]])])]))
    line = mean_of_squares_gradient.__code__.co_firstlineno + 2
    where = (
        f"mean-of-squares: tests/test_gradient_mutants.py:{line}, mean_of_squares_gradient: the audit does not notice"
    )
    assert survivors(results) == [
        f"{where} the fault 2 * x * g[None, :] / len(x) -> 2 * x * g[None, :] (missing 1/N)",
        f"{where} the fault g[None, :] -> g[:, None] (wrong axis)",
    ]


def test_cases_of_zeros_let_faults_survive() -> None:
    results = list(mutants([entry_of([np.zeros((2, 2))])]))
    assert {mutant.after for mutant in results if not mutant.caught} > {"-(2 * x * g[None, :] / len(x))", "2 * x"}


def test_a_fault_that_only_raises_is_told_from_one_with_wrong_values() -> None:
    """Broadcasting along the wrong axis raises on a rectangle, and on a square gives wrong numbers."""
    rectangle = np.arange(1.0, 7.0).reshape(2, 3)
    alone, both = ({m.after: m.caught for m in mutants([entry_of(c)])} for c in ([rectangle], [rectangle, SQUARE]))
    assert alone["g[:, None]"] == "error"
    assert both["g[:, None]"] == "value"


def test_a_fault_may_warn_within_its_audit_only() -> None:
    """x / sqrt(x x) with a factor dropped takes the root of negative numbers, which NumPy warns of."""
    entry = entry_of([SQUARE - 4.5], sign_of_root_gradient)
    absolute = Entry(**{**vars(entry), "forward": sign_of_root, "torch": lambda tensors: tensors["x"].abs()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = []
        for mutant in mutants([absolute]):
            results.append(mutant)
            with pytest.raises(RuntimeWarning):
                np.sqrt(np.array([-1.0]))
    assert {mutant.after for mutant in results} >= {"x", "g * x", "1 / np.sqrt(x * x)"}
    assert survivors(results) == []


def test_faults_leave_the_cases_as_they_are() -> None:
    """A fault may make the code write into its inputs; the next fault sees what the first one saw."""
    once = list(mutants([entry_of([SQUARE.copy()], writing_gradient)]))
    assert once == list(mutants([entry_of([SQUARE.copy()], writing_gradient)]))
    assert survivors(once) == []


def writing_gradient(inputs: Arrays, g: Array) -> Gradients:
    twice = inputs["x"] * 2
    twice *= g[None, :]
    return {"x": twice / len(twice)}


def test_a_gradient_that_is_wrong_as_it_is_shows_nothing() -> None:
    with pytest.raises(ValueError, match="mean-of-squares: x wrong as it is"):
        list(mutants([entry_of([SQUARE], wrong_gradient)]))


def raising_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"x": inputs["y"] * g}


def test_an_error_without_a_fault_is_no_catch() -> None:
    with pytest.raises(KeyError, match="y"):
        list(mutants([entry_of([SQUARE], raising_gradient)]))


def delegating_gradient(inputs: Arrays, g: Array) -> Gradients:
    return mean_of_squares_gradient(inputs, g)


def test_a_target_without_a_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="mean-of-squares: there is nothing in delegating_gradient"):
        list(mutants([entry_of([SQUARE], delegating_gradient)]))


def test_faults_go_into_the_targets() -> None:
    entry = entry_of([SQUARE], delegating_gradient, targets=(mean_of_squares_gradient,))
    assert {mutant.function for mutant in mutants([entry])} == {"mean_of_squares_gradient"}


def test_an_abandoned_run_restores_the_code() -> None:
    run = mutants([entry_of([np.arange(1.0, 7.0).reshape(2, 3)])])
    own = mean_of_squares_gradient.__code__
    next(run)
    assert mean_of_squares_gradient.__code__ is own, "a fault is planted only while it is audited"


def test_a_fault_of_the_function_itself_shows_in_its_value() -> None:
    results = list(mutants([entry_of([SQUARE], targets=(mean_of_squares,))]))
    assert {mutant.after for mutant in results} >= {"inputs['x']", "np.sum(inputs['x'] ** 2, axis=0)"}
    assert {mutant.wrong for mutant in results} == {("value",)}


def test_results_come_one_at_a_time() -> None:
    """A wrong entry after a right one stops nothing before it is its turn."""
    run = mutants([entry_of([SQUARE]), entry_of([SQUARE], wrong_gradient)])
    assert next(run).caught


def test_counts() -> None:
    rectangle = np.arange(1.0, 7.0).reshape(2, 3)
    results = list(mutants([entry_of([rectangle])]))
    by_operator = counts(results, lambda mutant: mutant.operator)
    assert by_operator["wrong axis"] == Count(planted=1, values=0, errors=1)
    assert by_operator["missing 1/N"] == Count(planted=1, values=1, errors=0)
    assert list(counts(results, lambda mutant: mutant.entry)) == ["mean-of-squares"]
    assert sum(count.planted for count in by_operator.values()) == len(results)
    assert all(count.caught == count.planted for count in by_operator.values())
    assert counts([], lambda mutant: mutant.entry) == {}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_fault_in_the_catalogue_is_caught(entry: Entry) -> None:
    results = list(mutants([entry]))
    assert survivors(results) == []
    # A gradient that no fault makes wrong would be computed outside of the code that faults are planted into.
    assert {name for mutant in results for name in mutant.wrong} >= set(entry.wrt)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.group in {"layer", "loss"}], ids=lambda entry: entry.id)
def test_every_fault_of_a_layer_gives_wrong_numbers_somewhere(entry: Entry) -> None:
    """Where all extents are the same, a transposed matrix or a wrong axis raises nothing, and is still noticed."""
    assert [mutant for mutant in mutants([entry]) if mutant.caught != "value"] == []
