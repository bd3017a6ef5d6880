"""What an expression stands for in its function: a result, a condition, or a position counted from the end."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bench.gradients.mutation.calls import REARRANGEMENTS, REDUCTIONS, added_at


def results(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """The expressions whose values the function gives: returned, put into something, or added to what is there."""
    gives_dict = function.returns is not None and ast.unparse(function.returns).startswith(("dict", "Gradients"))
    for node in ast.walk(function):
        match node:
            case ast.Return(value=ast.Tuple() as value):
                yield from value.elts
            case ast.Return(value=ast.expr() as value) if not (
                gives_dict or isinstance(value, ast.Dict | ast.DictComp)
            ):
                yield value
            case ast.Dict():
                yield from (value for key, value in zip(node.keys, node.values, strict=True) if key is not None)
            case ast.DictComp():
                yield node.value
            case ast.Assign(targets=[ast.Subscript() | ast.Attribute()], value=value):
                yield value
            case ast.AugAssign(op=ast.Add() | ast.Sub(), value=value):
                yield value
            case ast.Expr(value=value):
                if found := added_at(value):
                    yield found[2]


def tests(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """The conditions that are no comparison and have no ``not``, ``and`` or ``or`` which could be changed."""
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.IfExp) and not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield node.test


def has_minus(node: ast.expr) -> bool:
    """Whether a minus sign can be dropped from the product, which is the same fault as a minus before all of it."""
    match node:
        case ast.UnaryOp(op=ast.USub()):
            return True
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() | ast.MatMult(), right=right):
            return has_minus(left) or has_minus(right)
    return False


def positions(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Negative integers that count from the end of something: their minus is no quantity's sign."""
    for node in ast.walk(function):
        match node:
            case ast.keyword(arg="axis" | "axes", value=value):
                yield from ast.walk(value)
            case ast.Subscript(slice=ast.UnaryOp(operand=ast.Constant()) as index):
                yield index
            case ast.Call(func=ast.Attribute(attr=name)) if name in REARRANGEMENTS | REDUCTIONS | {"reshape"}:
                for argument in node.args:
                    for part in argument.elts if isinstance(argument, ast.Tuple) else [argument]:
                        if isinstance(part, ast.UnaryOp) and isinstance(part.operand, ast.Constant):
                            yield part
