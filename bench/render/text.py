"""What is shown in a cell, and text made safe for where it is written: nothing breaks out of its place."""

from __future__ import annotations

import math
import re

from bench.render.language import Language, Number, translated
from bench.render.table import Column, Value

_SPACE = re.compile("[^\\S\N{NO-BREAK SPACE}]+")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """The text in one line; a sign that is none, such as an escape or half a surrogate pair, is replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _SPACE.sub(" ", text).strip())


def plain(text: str) -> str:
    """Text for Markdown that neither breaks out of its cell nor is taken for Markdown."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)  # an underscore within a word is harmless


def cell(value: Value, column: Column, language: Language) -> str:
    """Number with ± or [low, high] and marks, or the text that stands in its place; "" for an empty cell."""
    if value.text or value.number is None:
        return translated(value.shown_text, language)
    return f"{rounded(value.number, column, language)}{spread(value, column, language)}{value.mark}"


def rounded(raw: float, column: Column, language: Language) -> str:
    """A number in the column's unit and format; never "-0.0", and "0" where the format has an exponent."""
    if math.isinf(raw):
        return "∞"
    if raw == 0 and column.format.endswith("e"):
        return "0"
    shown = translated(Number(raw * column.scale, column.format), language)
    return shown if any(digit in "123456789" for digit in shown) else shown.removeprefix("-")


def spread(value: Value, column: Column, language: Language) -> str:
    """`` ± 0.012``, or `` [0.98, 1.02]`` where it is not symmetric or the column has it so; "" where there is none.

    Where there is no upper limit: `` [12, ∞)``.
    """
    if column.spread == "half" and value.half_width is not None:
        return f" ± {rounded(value.half_width, column, language)}"
    if not column.spread or value.low is None:
        return ""
    between = "; " if language == "lv" else ", "
    upper = "∞)" if value.high is None else f"{rounded(value.high, column, language)}]"
    return f" [{rounded(value.low, column, language)}{between}{upper}"
