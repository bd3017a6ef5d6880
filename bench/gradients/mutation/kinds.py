"""The kinds of fault, and what a fault is to a syntax tree: another node in the place of the right one."""

from __future__ import annotations

import ast
from typing import Literal, TypeAlias

Operator = Literal["sign", "missing 1/N", "transposed", "dropped factor", "wrong axis", "overwritten", "branch"]

Node: TypeAlias = ast.expr | ast.stmt

Variant: TypeAlias = tuple[Operator, Node]
"""A kind of fault and the node that takes the place of the right one."""
