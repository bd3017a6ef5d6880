"""Two languages: texts are written in English as `Message`s, and translated where a table or figure is rendered."""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Literal, TypeAlias, get_args

Language: TypeAlias = Literal["en", "lv"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_MARKS = {"en": {}, "lv": str.maketrans({",": "\N{NO-BREAK SPACE}", ".": ","})}
"""Python's marks of thousands and decimals, and what a language has for them."""


@dataclasses.dataclass(frozen=True)
class Number:
    """A number within a text, with Python's format of it: ``Number(0.25, ".1f")``."""

    value: float
    format: str


@dataclasses.dataclass(frozen=True)
class Message:
    """A text in English with ``{names}`` and the values that fill them in; ``locale/lv.po`` has its translation."""

    text: str
    values: Mapping[str, Text] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class Joined:
    """Several texts, one after the other; as a sentence with a capital letter and a full stop."""

    parts: tuple[Text, ...]
    by: str = " "
    is_sentence: bool = False


Text: TypeAlias = str | int | Number | Message | Joined
"""What can be shown. A plain ``str`` is a name of something: it reads the same in every language."""


def message(text: str, /, **values: Text) -> Message:
    """A text in English, translated when it is rendered: a literal, which a test looks for in ``locale/lv.po``."""
    return Message(text, values)


def joined(parts: Iterable[Text], by: str = " ") -> Text:
    """Texts one after the other, without those that are empty; "" if all are."""
    kept = tuple(part for part in parts if part != "")
    return Joined(kept, by) if len(kept) > 1 else kept[0] if kept else ""


def translated(text: Text, language: Language) -> str:
    """A text as it is read in a language.

    Raises:
        KeyError: a message without translation, which a test excludes.
    """
    if isinstance(text, Message):
        known = text.text if language == "en" else _catalogue(language)[text.text]
        return known.format(**{name: translated(value, language) for name, value in text.values.items()})
    if isinstance(text, Joined):
        line = text.by.join(translated(part, language) for part in text.parts)
        return f"{line[:1].upper()}{line[1:]}." if text.is_sentence else line
    if isinstance(text, Number):
        return format(text.value, text.format).translate(_MARKS[language])
    return str(text)


@functools.cache
def _catalogue(language: Language) -> dict[str, str]:
    return entries(files("bench.render").joinpath(f"locale/{language}.po").read_text(encoding="utf-8"))


def entries(po: str) -> dict[str, str]:
    """What a ``.po`` file says: each ``msgid`` with its ``msgstr``, the header left out."""
    found: list[dict[str, str]] = []
    key = ""
    for line in po.splitlines():
        tag, _, quoted = line.partition(" ") if line.startswith("msg") else (key, "", line)
        if tag == "msgid" and tag != key:
            found.append({"msgid": "", "msgstr": ""})
        key = tag
        if quoted.startswith('"'):
            found[-1][key] += ast.literal_eval(quoted)
    return {entry["msgid"]: entry["msgstr"] for entry in found if entry["msgid"]}
