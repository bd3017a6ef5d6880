"""Faults to be planted into a function: its syntax tree with one thing changed, compiled in its place for a while."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal

Kind = Literal["sign", "missing 1/N", "transposed", "dropped factor", "wrong axis", "overwritten", "branch"]

COUNTS = ("len", "size", "rows * columns")  # what a gradient that belongs to a mean is divided by
_NEIGHBOURS: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Gt: ast.GtE(),
    ast.GtE: ast.Gt(),
    ast.Lt: ast.LtE(),
    ast.LtE: ast.Lt(),
    ast.Eq: ast.NotEq(),
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """Code to take the place of a function's own, with the line of the file that was changed, before and after."""

    kind: Kind
    line: int
    before: str
    after: str
    code: types.CodeType


@functools.cache
def faults(function: Callable[..., Any]) -> tuple[Fault, ...]:
    """Every fault of a function, in the order of its text; ``ValueError`` if its code cannot be swapped."""
    code = _plain(function).__code__
    lines, first = inspect.getsourcelines(code)
    source = ast.increment_lineno(ast.parse(textwrap.dedent("".join(lines))), first - 1)
    every: list[Fault] = []
    for place in itertools.count():
        plant = _Plant(place)
        tree = copy.deepcopy(source)
        plant.visit(tree)
        if plant.planted is None:
            return tuple(every)
        kind, before, after = plant.planted
        module = compile(ast.fix_missing_locations(tree), code.co_filename, "exec", dont_inherit=True)
        (changed,) = (c for c in module.co_consts if isinstance(c, types.CodeType) and c.co_name == code.co_name)
        every.append(Fault(kind, before.lineno, _text(before), _text(after), changed))
    raise AssertionError("there is no end of faults")


@contextlib.contextmanager
def planted(function: Callable[..., Any], code: types.CodeType) -> Iterator[None]:
    """Run ``code`` wherever ``function`` is called, as long as the ``with`` block lasts; not for several threads."""
    plain = _plain(function)
    own = plain.__code__
    try:
        plain.__code__ = code
        yield
    finally:
        plain.__code__ = own


def _plain(function: Callable[..., Any]) -> types.FunctionType:
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>" or function.__code__.co_freevars:
        raise ValueError(
            f"no fault can be planted into {getattr(function, '__qualname__', function)}; "
            "name plain functions or methods without variables of an enclosing function in the entry's targets"
        )
    return function


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


class _Plant(ast.NodeTransformer):
    """Puts one fault into a function's body: the one with this place in the order of the text."""

    def __init__(self, place: int) -> None:
        self.left = place
        self.planted: tuple[Kind, ast.expr | ast.stmt, ast.AST] | None = None

    def visit(self, node: ast.AST) -> ast.AST:
        """Put the fault in the place of the node, or look for its place within."""
        if self.planted is None and isinstance(node, ast.expr | ast.stmt):
            for kind, other in _variants(node):
                if self.left == 0:
                    self.planted = kind, node, other
                    return ast.copy_location(other, node)
                self.left -= 1
        changed: ast.AST = super().visit(node)
        return changed

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """The body alone: no argument, annotation or decorator."""
        node.decorator_list = []
        node.body = [self.visit(statement) for statement in node.body]  # type: ignore[misc]
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """What is indexed alone: a sign there means the other end."""
        node.value = self.visit(node.value)  # type: ignore[assignment]
        return node


def _variants(node: ast.AST) -> Iterator[tuple[Kind, ast.AST]]:
    """What may stand in the place of an expression or statement, each with the kind of fault that it is."""
    match node:
        case ast.BinOp(left=ast.Tuple()):  # these are joined, not added
            pass
        case ast.BinOp(left, ast.Add(), right):
            yield "sign", ast.BinOp(left, ast.Sub(), right)
        case ast.BinOp(left, ast.Sub(), right):
            yield "sign", ast.BinOp(left, ast.Add(), right)
        case ast.UnaryOp(ast.USub(), ast.Constant(int())):  # counts from an end
            pass
        case ast.UnaryOp(ast.USub(), operand):
            yield "sign", operand
        case ast.Return(value=ast.Tuple(values)):
            yield from (("sign", ast.Return(ast.Tuple(others, ast.Load()))) for others in _one_negated(values))
        case ast.Dict(keys, values):
            yield from (("sign", ast.Dict(keys, others)) for others in _one_negated(values))
        case ast.Return(value=ast.Dict() | ast.DictComp() | ast.Call(func=ast.Name())):  # a function's may be a dict
            pass
        case ast.Return(value=ast.expr() as value):
            yield "sign", ast.Return(ast.UnaryOp(ast.USub(), value))
        case ast.AugAssign(target, ast.Add(), value):
            yield "sign", ast.AugAssign(target, ast.Sub(), value)
            yield "overwritten", ast.Assign([target], value)
        case ast.BinOp(left, ast.Mult(), right):
            yield "dropped factor", left
            yield "dropped factor", right
        case ast.BinOp(left, ast.Div(), right):
            yield "missing 1/N" if any(count in _text(right) for count in COUNTS) else "dropped factor", left
        case ast.BinOp(left, ast.Pow(), _):
            yield "dropped factor", left
        case ast.BinOp(left, ast.MatMult(), right):
            yield "transposed", ast.BinOp(ast.Attribute(left, "mT", ast.Load()), ast.MatMult(), right)
            yield "transposed", ast.BinOp(left, ast.MatMult(), ast.Attribute(right, "mT", ast.Load()))
        case ast.Attribute(value, "T"):
            yield "transposed", value
        case ast.Compare(left, [op], right) if type(op) in _NEIGHBOURS:
            yield "branch", ast.Compare(left, [_NEIGHBOURS[type(op)]], right)
        case ast.Call(ast.Attribute(value, name), arguments, keywords):
            if name == "mean":
                yield "missing 1/N", ast.Call(ast.Attribute(value, "sum", ast.Load()), arguments, keywords)
            if name == "moveaxis":
                yield "transposed", arguments[0]
            for keyword in keywords:
                for axes in _other_axes(keyword.value) if keyword.arg in ("axis", "axes") else ():
                    others = [ast.keyword(k.arg, axes if k is keyword else k.value) for k in keywords]
                    yield "wrong axis", ast.Call(node.func, arguments, others)


def _one_negated(values: list[ast.expr]) -> Iterator[list[ast.expr]]:
    for i, value in enumerate(values):
        yield [*values[:i], ast.UnaryOp(ast.USub(), value), *values[i + 1 :]]


def _other_axes(axes: ast.expr) -> Iterator[ast.expr]:
    """The axes with each number in turn replaced by the first that is not among them."""
    numbers = [node.value for node in ast.walk(axes) if isinstance(node, ast.Constant)]
    free = next(number for number in itertools.count() if number not in numbers)
    for i in range(len(numbers)):
        others = copy.deepcopy(axes)
        [node for node in ast.walk(others) if isinstance(node, ast.Constant)][i].value = free
        yield others
