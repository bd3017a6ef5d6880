"""Every fault of a function: its syntax tree walked, and each node's variants made in place, one at a time."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from bench.gradients.mutation.calls import added_at, call_variants
from bench.gradients.mutation.kinds import Node, Operator, Variant
from bench.gradients.mutation.roles import has_minus, positions, results, tests

COUNTS = frozenset({"n", "N", "count", "batch", "samples", "rows", "columns", "len", "size", "shape"})
"""Names that stand for a number of samples or elements."""

_NEIGHBOURS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
}
_INVERSES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclasses.dataclass(frozen=True)
class Change:
    """One fault that can be made in a tree and undone.

    Attributes:
        operator: the kind of fault.
        before, after: the node that is right and the one that takes its place.
    """

    operator: Operator
    before: Node
    after: Node
    _put: Callable[[ast.AST], None]

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """The tree has the fault inside the ``with`` block."""
        try:
            self._put(self.after)
            yield
        finally:
            self._put(self.before)


def changes(function: ast.FunctionDef) -> Iterator[Change]:
    """Every fault of the function's body, in the order of its text; its signature and decorators stay as they are."""
    given, places, conditions = ({id(node) for node in role(function)} for role in (results, positions, tests))
    for node, put in _places(function):
        if not isinstance(node, ast.expr | ast.stmt):
            continue
        variants = list(_variants(node, id(node) in places))
        if isinstance(node, ast.expr) and id(node) in given and not has_minus(node):
            variants.append(("sign", ast.UnaryOp(ast.USub(), node)))
        if isinstance(node, ast.expr) and id(node) in conditions:
            variants.append(("branch", ast.UnaryOp(ast.Not(), node)))
        seen = set()
        for operator, variant in variants:
            if not hasattr(variant, "lineno"):  # a part of what it replaces has a place of its own
                ast.fix_missing_locations(ast.copy_location(variant, node))
            if (text := ast.unparse(variant)) not in seen:
                seen.add(text)
                yield Change(operator, node, variant, put)


def _places(root: ast.AST) -> Iterator[tuple[ast.AST, Callable[[ast.AST], None]]]:
    """Every node of the body, and what puts another in its place."""
    for field, value in ast.iter_fields(root):
        if field in {"args", "annotation", "returns", "decorator_list"} and not isinstance(root, ast.Call):
            continue
        if isinstance(value, ast.AST):
            yield value, _setter(root, field)
            yield from _places(value)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield item, _item_setter(value, i)
                    yield from _places(item)


def _setter(owner: ast.AST, field: str) -> Callable[[ast.AST], None]:
    return lambda node: setattr(owner, field, node)


def _item_setter(items: list[Any], i: int) -> Callable[[ast.AST], None]:
    return lambda node: items.__setitem__(i, node)


def _variants(node: Node, is_position: bool) -> Iterator[Variant]:
    match node:
        case ast.BinOp():
            yield from _binary(node)
        case ast.UnaryOp(op=ast.USub()) if not is_position:
            yield "sign", node.operand
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield "branch", node.operand
        case ast.Attribute(attr="T" | "mT"):
            yield "transposed", node.value
        case ast.Call():
            yield from call_variants(node)
        case ast.Subscript(slice=ast.Tuple() as axes):
            yield from (("wrong axis", ast.Subscript(node.value, other, node.ctx)) for other in _other_orders(axes))
        case ast.Compare():
            yield from _comparison(node)
        case ast.BoolOp():
            yield "branch", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.AugAssign():
            yield from _augmented(node)
        case ast.Assign(targets=[target], value=ast.BinOp(op=ast.Add() | ast.Sub()) as total):
            if ast.unparse(target) == ast.unparse(total.left):
                yield "overwritten", ast.Assign([target], _with_sign_of(total.op, total.right))
        case ast.Expr(value=value):
            if found := added_at(value):
                array, index, added = found
                yield "overwritten", ast.Assign([ast.Subscript(array, index, ast.Store())], added)


def _binary(node: ast.BinOp) -> Iterator[Variant]:
    left, right = node.left, node.right
    match node.op:
        case ast.Add() | ast.Sub():
            if not any(isinstance(side, ast.Tuple | ast.List) for side in (left, right)):  # these are joined, not added
                yield "sign", ast.BinOp(left, ast.Sub() if isinstance(node.op, ast.Add) else ast.Add(), right)
        case ast.Mult():
            yield "dropped factor", left
            yield "dropped factor", right
        case ast.Div():
            yield "missing 1/N" if _is_count(right) else "dropped factor", left
            if not (isinstance(left, ast.Constant) and left.value == 1):
                yield "dropped factor", ast.BinOp(ast.Constant(1), ast.Div(), right)
        case ast.Pow():
            yield "dropped factor", left
        case ast.MatMult():
            if not _is_transposed(left):  # else it loses its transposition
                yield "transposed", ast.BinOp(ast.Attribute(left, "mT", ast.Load()), ast.MatMult(), right)
            if not _is_transposed(right):
                yield "transposed", ast.BinOp(left, ast.MatMult(), ast.Attribute(right, "mT", ast.Load()))
        case ast.BitAnd() | ast.BitOr():
            yield "branch", ast.BinOp(left, ast.BitOr() if isinstance(node.op, ast.BitAnd) else ast.BitAnd(), right)


def _is_transposed(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in {"T", "mT"}


def _is_count(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in COUNTS or name.startswith("n_")
        case ast.Subscript(value=value):
            return _is_count(value)
        case ast.Call(func=function):
            return _is_count(function)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _is_count(left) and _is_count(right)
    return False


def _comparison(node: ast.Compare) -> Iterator[Variant]:
    for others in (_NEIGHBOURS, _INVERSES):
        for i, op in enumerate(node.ops):
            if other := others.get(type(op)):
                yield "branch", ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators)


def _augmented(node: ast.AugAssign) -> Iterator[Variant]:
    match node.op:
        case ast.Add() | ast.Sub():
            yield "overwritten", ast.Assign([node.target], _with_sign_of(node.op, node.value))
        case ast.Mult():
            yield "dropped factor", ast.Pass()
            yield "dropped factor", ast.Assign([node.target], node.value)
        case ast.Div():
            yield "missing 1/N" if _is_count(node.value) else "dropped factor", ast.Pass()


def _with_sign_of(op: ast.operator, value: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.USub(), value) if isinstance(op, ast.Sub) else value


def _other_orders(index: ast.Tuple) -> Iterator[ast.Tuple]:
    """``x[:, None]`` for ``x[None, :]``: an index of whole axes and new ones, with two neighbours swapped."""
    texts = [ast.unparse(item) for item in index.elts]
    if set(texts) <= {":", "None", "..."}:
        for i in range(len(texts) - 1):
            if texts[i] != texts[i + 1]:
                elts = [*index.elts[:i], index.elts[i + 1], index.elts[i], *index.elts[i + 2 :]]
                yield ast.Tuple(elts, index.ctx)
