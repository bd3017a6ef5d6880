"""The kinds of fault, on small functions, and planting one: what it changes, where, and that it is gone afterwards."""

from __future__ import annotations

import ast
import textwrap
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.gradients.layers import Linear
from bench.gradients.mutation.calls import shifted, swapped_letters
from bench.gradients.mutation.operators import changes
from bench.gradients.mutation.planting import faults, file_of, planted


def changed(body: str, returns: str = "") -> list[tuple[str, str, str]]:
    """Operator, before and after of every fault of a function with this body."""
    source = f"def f(){returns}:\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ")
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    right = ast.unparse(function)
    found: list[tuple[str, str, str]] = []
    for change in changes(function):
        with change.made():
            assert ast.unparse(function) != right
        assert ast.unparse(function) == right
        found.append((change.operator, ast.unparse(change.before), ast.unparse(change.after)))
    return found


SNIPPETS: dict[str, set[tuple[str, str]]] = {
    "y = a + b": {("sign", "a - b")},
    "y = a - b": {("sign", "a + b")},
    "y = (1,) + shape": set(),
    "y = -a": {("sign", "a")},
    "y = f(-2)": {("sign", "2")},
    "return a": {("sign", "-a")},
    "return -a * b": {("sign", "a"), ("dropped factor", "-a"), ("dropped factor", "b")},
    "return a, -b": {("sign", "-a"), ("sign", "b")},
    "return {'w': a, **rest}": {("sign", "-a")},
    "return {k: v for k, v in pairs}": {("sign", "-v")},
    "grads['w'] = a": {("sign", "-a")},
    "self.grad = a": {("sign", "-a")},
    "self.grad += a": {("overwritten", "self.grad = a"), ("sign", "-a")},
    "self.grad -= a": {("overwritten", "self.grad = -a"), ("sign", "-a")},
    "x = x + a": {("overwritten", "x = a"), ("sign", "x - a")},
    "x = x - a": {("overwritten", "x = -a"), ("sign", "x + a")},
    "np.add.at(a, i, v)": {("overwritten", "a[i] = v"), ("sign", "-v")},
    "y = a * b": {("dropped factor", "a"), ("dropped factor", "b")},
    "y = a * a": {("dropped factor", "a")},
    "y = a / b": {("dropped factor", "a"), ("dropped factor", "1 / b")},
    "y = 1.0 / b": {("dropped factor", "1.0")},
    "y = a / n": {("missing 1/N", "a"), ("dropped factor", "1 / n")},
    "y = 1 / len(x)": {("missing 1/N", "1")},
    "y = 1 / x.size": {("missing 1/N", "1")},
    "y = 1 / x.shape[0]": {("missing 1/N", "1")},
    "y = 1 / (rows * columns)": {("missing 1/N", "1"), ("dropped factor", "rows"), ("dropped factor", "columns")},
    "y = a ** 3": {("dropped factor", "a")},
    "a *= b": {("dropped factor", "pass"), ("dropped factor", "a = b")},
    "a /= b": {("dropped factor", "pass")},
    "a /= n": {("missing 1/N", "pass")},
    "y = x.mean(axis=2)": {("missing 1/N", "x.sum(axis=2)"), ("wrong axis", "x.mean(axis=1)")},
    "y = np.mean(x)": {("missing 1/N", "np.sum(x)")},
    "y = np.square(x)": {("dropped factor", "x")},
    "y = a.T": {("transposed", "a")},
    "y = a @ b": {("transposed", "a.mT @ b"), ("transposed", "a @ b.mT")},
    "y = a.T @ b": {("transposed", "a"), ("transposed", "a.T @ b.mT")},
    "y = np.outer(a, b)": {("transposed", "np.outer(b, a)")},
    "y = np.swapaxes(a, 1, 2)": {("transposed", "a")},
    "y = a.transpose(0, 2, -1)": {("transposed", "a")},
    "y = np.moveaxis(a, 1, -1)": {("transposed", "a")},
    "y = x.sum(0)": {("wrong axis", "x.sum(1)")},
    "y = np.sum(x, 1)": {("wrong axis", "np.sum(x, 0)")},
    "y = np.sum(-x)": {("sign", "x")},
    "y = x.sum(axis=-1)": {("wrong axis", "x.sum(axis=-2)")},
    "y = x.sum(axis=None)": set(),
    "y = x.sum(axis=self.axis)": {("wrong axis", "x.sum(axis=self.axis - 1)")},
    "y = x.sum(axis=(0, 2))": {("wrong axis", "x.sum(axis=(1, 2))"), ("wrong axis", "x.sum(axis=(0, 1))")},
    "y = np.tensordot(a, b, axes=((0,), (1,)))": {
        ("wrong axis", "np.tensordot(a, b, axes=((1,), (1,)))"),
        ("wrong axis", "np.tensordot(a, b, axes=((0,), (0,)))"),
    },
    "y = np.einsum('nk,km->nm', a, b)": {
        ("wrong axis", "np.einsum('kn,km->nm', a, b)"),
        ("wrong axis", "np.einsum('nk,mk->nm', a, b)"),
        ("wrong axis", "np.einsum('nk,km->mn', a, b)"),
    },
    "y = x[:, None]": {("wrong axis", "x[None, :]")},
    "y = x[None, :, None]": {("wrong axis", "x[:, None, None]"), ("wrong axis", "x[None, None, :]")},
    "y = x[:, 0]": set(),
    "y = x[-1]": set(),
    "y = x[::-1]": {("sign", "1")},
    "y = x.reshape(-1, n)": set(),
    "y = x > 0": {("branch", "x >= 0"), ("branch", "x <= 0")},
    "y = x <= 0": {("branch", "x < 0"), ("branch", "x > 0")},
    "y = x == 0": {("branch", "x != 0")},
    "y = 0 < x < 1": {
        ("branch", "0 <= x < 1"),
        ("branch", "0 < x <= 1"),
        ("branch", "0 >= x < 1"),
        ("branch", "0 < x >= 1"),
    },
    "y = np.where(m, a, b)": {("branch", "np.where(m, b, a)")},
    "y = np.where(m > 0, a, b)": {("branch", "m >= 0"), ("branch", "m <= 0")},
    "y = np.maximum(a, b)": {("branch", "np.minimum(a, b)")},
    "y = np.clip(a, low, high)": {("branch", "a")},
    "y = ~a & b": {("branch", "a"), ("branch", "~a | b")},
    "y = a and b": {("branch", "a or b")},
    "y = a if m else b": {("branch", "not m")},
    "y = a if not m else b": {("branch", "m")},
    "if m:\n    pass": {("branch", "not m")},
    "y: a * b = c": set(),
}


@pytest.mark.parametrize("body", SNIPPETS)
def test_the_faults_of_a_line(body: str) -> None:
    found = [(operator, after) for operator, _, after in changed(body)]
    assert set(found) == SNIPPETS[body]
    assert len(found) == len(set(found)), "each fault once"


def test_a_dictionary_made_elsewhere_has_no_sign() -> None:
    assert changed("return others(x)", " -> Gradients") == []
    assert changed("return others(x)", " -> Array") == [("sign", "others(x)", "-others(x)")]


@pytest.mark.parametrize(
    ("axes", "others"),
    [
        (0, [1]),
        (1, [0]),
        (3, [2]),
        (-1, [-2]),
        (-2, [-1]),
        ((0, 1), [(2, 1), (0, 2)]),
        ((0, 2, 3), [(1, 2, 3), (0, 1, 3), (0, 2, 1)]),
        ((-2, -1), [(-3, -1), (-2, -3)]),
        (((0,), (0, 1)), [((1,), (0, 1)), ((0,), (2, 1)), ((0,), (0, 2))]),
        (None, []),
        ("x", []),
    ],
)
def test_one_axis_moves_to_a_free_one(axes: Any, others: list[Any]) -> None:
    assert shifted(axes) == others


@pytest.mark.parametrize(
    ("subscripts", "others"),
    [
        ("ij->", []),  # both are summed, in whichever order
        ("ij->i", ["ji->i"]),
        ("ij,ij->", ["ji,ij->"]),  # the same as 'ij,ji->'
        ("nhw->n", ["hnw->n"]),
        ("...ij->...ji", ["...ji->...ji"]),  # the same as '...ij->...ij'
        ("i,i->i", []),
    ],
)
def test_indices_of_one_operand_swap(subscripts: str, others: list[str]) -> None:
    assert swapped_letters(subscripts) == others


@given(st.integers(2, 4), st.data())
@settings(max_examples=40, deadline=None)
def test_swapped_subscripts_give_another_result(n: int, data: st.DataObject) -> None:
    """What is left out as meaning the same is all that does: on random squares the others differ."""
    operands = data.draw(st.lists(st.permutations("ijk").map(lambda p: "".join(p[:2])), min_size=1, max_size=2))
    letters = sorted({letter for operand in operands for letter in operand})
    result = data.draw(st.permutations(letters).map("".join))[: data.draw(st.integers(0, len(letters)))]
    subscripts = f"{','.join(operands)}->{result}"
    arrays = [np.random.default_rng(n).standard_normal((n, n)) for _ in operands]
    arrays = [array + 10 * i for i, array in enumerate(arrays)]
    right = np.einsum(subscripts, *arrays)
    for other in swapped_letters(subscripts):
        assert not np.allclose(np.einsum(other, *arrays), right)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from("abcd"))
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    return f"({left} {draw(st.sampled_from('+-*/@'))} {right})"


@given(expressions())
@settings(max_examples=100, deadline=None)
def test_every_operation_has_its_fault(expression: str) -> None:
    found = changed(f"y = {expression}")
    assert sum(operator == "sign" for operator, _, _ in found) == sum(expression.count(sign) for sign in "+-")
    assert sum(operator == "transposed" for operator, _, _ in found) == 2 * expression.count("@")
    for operator in "*/":
        assert {before for kind, before, _ in found if kind == "dropped factor"} >= {
            ast.unparse(node)
            for node in ast.walk(ast.parse(expression))
            if isinstance(node, ast.BinOp) and isinstance(node.op, {"*": ast.Mult, "/": ast.Div}[operator])
        }


def test_a_signature_and_its_decorators_have_no_faults() -> None:
    (function,) = ast.parse("@wrap(-1)\ndef f(a: -1 = 1 - 2, *, b=-3) -> 1 * 2:\n    pass").body
    assert isinstance(function, ast.FunctionDef)
    assert list(changes(function)) == []


def halved(x: float, by: float = 2.0) -> float:
    """A docstring, so that the line of the fault is not the first."""
    if x == 0:
        raise ZeroDivisionError("nothing to halve")
    return x / by


class Scale:
    """A method to plant a fault into."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def times(self, x: float) -> float:
        return x * self.factor


def test_a_function_runs_with_the_fault_and_without_it_after() -> None:
    own = halved.__code__
    fault = next(fault for fault in faults(halved) if fault.after == "x")
    with planted(halved, fault.code):
        assert halved(3.0) == 3.0
    assert halved(3.0) == 1.5
    assert halved.__code__ is own


def test_a_method_runs_with_the_fault_wherever_it_is_called() -> None:
    scale = Scale(2.0)
    fault = next(fault for fault in faults(Scale.times) if fault.after == "x")
    with planted(Scale.times, fault.code):
        assert scale.times(3.0) == 3.0
    assert scale.times(3.0) == 6.0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_code_is_restored_after_whatever_is_raised(error: type[BaseException]) -> None:
    own = halved.__code__
    with pytest.raises(error), planted(halved, faults(halved)[0].code):
        raise error
    assert halved.__code__ is own


def test_a_fault_keeps_the_place_in_the_file() -> None:
    fault = next(fault for fault in faults(halved) if fault.before == "x == 0")
    first = halved.__code__.co_firstlineno
    assert fault.line == first + 2
    with planted(halved, fault.code), pytest.raises(ZeroDivisionError) as caught:
        halved(1.0)
    frame = traceback.extract_tb(caught.tb)[-1]
    assert (frame.filename, frame.lineno, frame.name) == (halved.__code__.co_filename, first + 3, "halved")
    assert fault.code.co_qualname == "halved"


def test_faults_of_a_method_are_named_with_their_file() -> None:
    assert file_of(Linear._backward) == "bench/gradients/layers/dense.py"
    assert all("\n" not in fault.before + fault.after for fault in faults(Linear._backward))


def closure() -> Callable[[float], float]:
    factor = 2.0

    def scaled(x: float) -> float:
        return x * factor

    return scaled


class Derived(Scale):
    """Calls a method by ``super()``, which is a variable of the class."""

    def times(self, x: float) -> float:
        return -super().times(x)


def endless(x: float) -> float:
    while x > 1:
        x = x / 2
    return x


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (closure(), r"closure.<locals>.scaled uses variables of an enclosing function \(factor\)"),
        (Derived.times, r"Derived.times uses variables of an enclosing function \(__class__\)"),
        (lambda x: -x, "plain functions and methods with a name"),
        (np.sum, "plain functions and methods with a name"),
        (Scale(2.0).times, "plain functions and methods with a name"),
        (endless, "endless has a while loop"),
    ],
)
def test_what_cannot_be_planted_into_is_refused(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        faults(function)
