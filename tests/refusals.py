"""What a call is refused with, so that many cases fit one test and a failing one is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.errors import BenchError


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """The sentence of the error that a call raises; of one that raises none, what it returned."""
    try:
        returned = call(*arguments)
    except BenchError as error:
        assert "\n" not in str(error), error
        return f"{type(error).__name__}: {error}"
    return f"no error but {returned!r}"


def silent(*_: object) -> None:
    """Progress that nobody sees."""
