"""How a cell is shown to a person: rounded, with its interval and its marks. A CSV keeps the raw numbers."""

from __future__ import annotations

import math

from bench.render.language import number
from bench.render.table import Column, Language, Value


def cell(value: Value, column: Column, language: Language) -> str:
    """Number with ± or [low, high] and marks, or the text that stands in its place; "" for an empty cell."""
    if value.text or value.number is None:
        return value.text + value.mark
    return f"{rounded(value.number, column, language)}{spread(value, column, language)}{value.mark}"


def rounded(raw: float, column: Column, language: Language) -> str:
    """A number in the column's unit and format; never "-0.0", and "0" where the format has an exponent."""
    scaled = raw * column.scale
    if math.isinf(scaled):
        return "∞"
    if scaled == 0 and column.format.endswith("e"):
        return "0"
    shown = number(scaled, column.format, language)
    return number(0.0, column.format, language) if scaled < 0 and not any(c in "123456789" for c in shown) else shown


def spread(value: Value, column: Column, language: Language) -> str:
    """`` ± 0.012``, or `` [0.98, 1.02]`` where it is not symmetric or the column has it so; "" where there is none."""
    if column.spread == "half" and value.half_width is not None:
        return f" ± {rounded(value.half_width, column, language)}"
    if column.spread and value.low is not None:
        return f" {limits(value.low, value.high, column, language)}"
    return ""


def limits(low: float, high: float | None, column: Column, language: Language) -> str:
    """``[0.98, 1.02]``; ``[12, ∞)`` where there is no upper limit."""
    between = "; " if language == "lv" else ", "
    upper = "∞)" if high is None else f"{rounded(high, column, language)}]"
    return f"[{rounded(low, column, language)}{between}{upper}"
