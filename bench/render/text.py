"""Text from records made safe for where it is written: nothing breaks out of its place."""

from __future__ import annotations

import re
from typing import Any

_SPACE = re.compile("[^\\S\N{NO-BREAK SPACE}]+")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """The text in one line; a sign that is none, such as an escape or half a surrogate pair, is replaced."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _SPACE.sub(" ", text).strip())


def one_line(value: Any) -> Any:
    """Text without line ends, which tear the rows of a CSV; anything else as it is."""
    return printable(value) if isinstance(value, str) else value


def plain(text: str) -> str:
    """Text for Markdown that neither breaks out of its cell nor is taken for Markdown."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)  # an underscore within a word is harmless
