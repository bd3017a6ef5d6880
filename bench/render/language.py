"""The report's languages: every text of a table is written in English and looked up in the other."""

from __future__ import annotations

from typing import Any, TypeAlias, get_args

from bench.render.latvian import LATVIAN
from bench.render.table import Language

Note: TypeAlias = tuple[str, dict[str, Any]]
"""A text in English and what to fill in: the arguments of `say`."""

LANGUAGES: tuple[str, ...] = get_args(Language)
_MARKS = {
    "en": {},
    "lv": str.maketrans({",": "\N{NO-BREAK SPACE}", ".": ","}),
}
"""Python's marks of thousands and decimals, and what a language has for them."""


def say(text: str, language: Language, **values: Any) -> str:
    """The text in a language, its ``{names}`` filled in.

    Args:
        text: in English, as it stands in ``latvian.LATVIAN``.
        language: of the answer.
        values: what to fill in; a number is written in the language's way before.

    Raises:
        KeyError: the text has no translation, which a test excludes for all texts of the report.
    """
    chosen = text if language == "en" else LATVIAN[text]
    return chosen.format(**values) if values else chosen


def number(value: float, format_: str, language: Language) -> str:
    """A number by one of Python's formats, with the language's decimal mark and its mark between thousands."""
    return format(value, format_).translate(_MARKS[language])
