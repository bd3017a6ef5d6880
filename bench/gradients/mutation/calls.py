"""Faults in calls of NumPy: another axis, a sum for a mean, an axis order left out, the other branch."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from bench.gradients.mutation.kinds import Variant

REDUCTIONS = frozenset({"sum", "mean", "max", "min", "prod", "std", "var", "argmax", "argmin", "cumsum"})
REARRANGEMENTS = frozenset({"transpose", "swapaxes", "moveaxis", "flip"})
PIECEWISE = frozenset({"abs", "sign", "clip"})
OPPOSITES = {
    "maximum": "minimum",
    "minimum": "maximum",
    "argmax": "argmin",
    "argmin": "argmax",
    "max": "min",
    "min": "max",
}


def call_variants(call: ast.Call) -> Iterator[Variant]:
    """Every fault of a call as a whole."""
    if not isinstance(call.func, ast.Attribute):
        return
    name = call.func.attr
    of_numpy = isinstance(call.func.value, ast.Name) and call.func.value.id == "np"
    # The array that is worked on, and the arguments after it.
    array, rest = (call.args[0] if call.args else None, call.args[1:]) if of_numpy else (call.func.value, call.args)
    if name == "mean":
        yield "missing 1/N", _renamed(call, "sum")
    if name in REARRANGEMENTS and array is not None:
        yield "transposed", array
    if name == "square" and array is not None:
        yield "dropped factor", array
    if name in PIECEWISE and array is not None:
        yield "branch", array
    if of_numpy and name in {"outer", "matmul", "dot"}:
        yield "transposed", _with_args(call, [call.args[1], call.args[0]])
    if of_numpy and name == "where" and len(call.args) == 3 and not isinstance(call.args[0], ast.Compare):
        yield "branch", _with_args(call, [call.args[0], call.args[2], call.args[1]])
    if name in OPPOSITES:
        yield "branch", _renamed(call, OPPOSITES[name])
    if of_numpy and name == "einsum":
        yield from _other_subscripts(call)
    yield from _other_axes(call, rest[0] if name in REDUCTIONS and rest else None)


def added_at(call: ast.expr) -> tuple[ast.expr, ast.expr, ast.expr] | None:
    """Array, index and value of ``np.add.at(array, index, value)``; ``None`` for anything else."""
    if isinstance(call, ast.Call) and ast.unparse(call.func) in {"np.add.at", "np.subtract.at"}:
        array, index, value = call.args
        return array, index, value
    return None


def _other_axes(call: ast.Call, positional: ast.expr | None) -> Iterator[Variant]:
    named = next((keyword for keyword in call.keywords if keyword.arg in {"axis", "axes"}), None)
    for value in _shifts(named.value if named is not None else positional):
        if named is not None:
            keywords = [ast.keyword(k.arg, value if k is named else k.value) for k in call.keywords]
            yield "wrong axis", ast.Call(call.func, call.args, keywords)
        else:
            yield "wrong axis", _with_args(call, [value if arg is positional else arg for arg in call.args])


def _shifts(axes: ast.expr | None) -> Iterator[ast.expr]:
    """Other axes: those of ``shifted`` where they are literals, and one less where an expression gives one."""
    try:
        literal = ast.literal_eval(axes) if axes is not None else None
    except ValueError:
        assert axes is not None
        yield ast.BinOp(axes, ast.Sub(), ast.Constant(1))
        return
    for other in shifted(literal):
        yield ast.parse(repr(other), mode="eval").body


def shifted(axes: Any) -> list[Any]:
    """The axes with one of them moved to the nearest that is not among them, counted from the same end.

    Args:
        axes: an axis, a tuple of them, or a tuple of such tuples, as ``np.tensordot`` takes; for others there is none.
    """
    if type(axes) is int:
        return [other for (other,) in shifted((axes,))]
    if not isinstance(axes, tuple):
        return []
    if all(type(axis) is int for axis in axes):
        return [(*axes[:i], _nearest(axis, axes), *axes[i + 1 :]) for i, axis in enumerate(axes)]
    return [(*axes[:i], other, *axes[i + 1 :]) for i, own in enumerate(axes) for other in shifted(own)]


def _nearest(axis: int, taken: Sequence[int]) -> int:
    inward = range(axis - 1, -1, -1) if axis >= 0 else range(axis + 1, 0)
    outward = range(axis + 1, axis + len(taken) + 1) if axis >= 0 else range(axis - 1, axis - len(taken) - 1, -1)
    return next(other for other in itertools.chain(inward, outward) if other not in taken)


def _other_subscripts(call: ast.Call) -> Iterator[Variant]:
    if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
        for other in swapped_letters(call.args[0].value):
            yield "wrong axis", _with_args(call, [ast.Constant(other), *call.args[1:]])


def swapped_letters(subscripts: str) -> list[str]:
    """The subscripts of ``einsum`` with two neighbouring indices of one operand, or of the result, swapped.

    Left out are those that mean the same, as do ``ij->`` and ``ji->``, and repetitions under other letters.
    """
    seen = {_spelled_alike(subscripts)}
    found = []
    for i in range(len(subscripts) - 1):
        a, b = subscripts[i], subscripts[i + 1]
        if not (a.isalpha() and b.isalpha()):
            continue
        other = subscripts[:i] + b + a + subscripts[i + 2 :]
        if _spelled_alike(other) not in seen:
            seen.add(_spelled_alike(other))
            found.append(other)
    return found


def _spelled_alike(subscripts: str) -> str:
    """The subscripts with their letters renamed in the order in which they appear."""
    letters = dict.fromkeys(c for c in subscripts if c.isalpha())
    return subscripts.translate({ord(letter): chr(ord("a") + i) for i, letter in enumerate(letters)})


def _renamed(call: ast.Call, name: str) -> ast.Call:
    assert isinstance(call.func, ast.Attribute)
    return ast.Call(ast.Attribute(call.func.value, name, ast.Load()), call.args, call.keywords)


def _with_args(call: ast.Call, args: Sequence[ast.expr]) -> ast.Call:
    return ast.Call(call.func, list(args), call.keywords)
