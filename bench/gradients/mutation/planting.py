"""From a function to its faults as code, and one of them in the function's place for a while."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.gradients.mutation.kinds import Operator
from bench.gradients.mutation.operators import changes


@dataclasses.dataclass(frozen=True)
class Fault:
    """A function's code with one thing wrong in it.

    Attributes:
        operator: the kind of fault.
        line: line number in the function's file.
        before, after: the expression or statement as it is and as it was changed, on one line.
        code: takes the place of the function's own.
    """

    operator: Operator
    line: int
    before: str
    after: str
    code: types.CodeType


@functools.cache
def faults(function: Callable[..., Any]) -> tuple[Fault, ...]:
    """Every fault of a function, in the order of its text.

    Raises:
        ValueError: the function's code cannot be swapped: no plain function or method of Python with a name, wrapped
            by a decorator, or with variables of an enclosing function (as ``super()`` makes, too). Or it has a
            ``while`` loop, which a fault may keep from ending.
    """
    code = _plain(function).__code__
    lines, first = inspect.getsourcelines(code)
    tree = ast.increment_lineno(ast.parse(textwrap.dedent("".join(lines))), first - 1)
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef)
    if any(isinstance(node, ast.While) for node in ast.walk(definition)):
        raise ValueError(f"{function.__qualname__} has a while loop, which a fault may keep from ending")
    definition.decorator_list = []
    found = []
    for change in changes(definition):
        with change.made():
            changed = _compiled(tree, code)
        found.append(Fault(change.operator, change.before.lineno, _text(change.before), _text(change.after), changed))
    return tuple(found)


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


def file_of(function: Callable[..., Any]) -> str:
    """The function's file from the top of its package: "bench/gradients/layers/linear.py"."""
    file = Path(_plain(function).__code__.co_filename)
    depth = function.__module__.count(".") + 1 + (file.stem == "__init__")
    return "/".join(file.parts[-depth:])


def _plain(function: Callable[..., Any]) -> types.FunctionType:
    name = getattr(function, "__qualname__", repr(function))
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise ValueError(f"faults can be planted into plain functions and methods with a name, not into {name}")
    if hasattr(function, "__wrapped__"):
        raise ValueError(f"{name} is wrapped by a decorator; faults go into a function's own code")
    if function.__code__.co_freevars:
        free = ", ".join(function.__code__.co_freevars)
        raise ValueError(
            f"{name} uses variables of an enclosing function ({free}), so its code cannot be swapped; "
            "name plain functions in the entry's targets"
        )
    return function


def _compiled(tree: ast.Module, own: types.CodeType) -> types.CodeType:
    module = compile(tree, own.co_filename, "exec", dont_inherit=True)
    (code,) = (c for c in module.co_consts if isinstance(c, types.CodeType) and c.co_name == own.co_name)
    return code.replace(co_qualname=own.co_qualname)


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())
