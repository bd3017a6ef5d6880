"""Tables in a JSON file, for another command to read."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import TypeAdapter

from bench.render.table import Table

STORED = "tables.json"
"""The file's name, beside what else was written."""
_TABLES = TypeAdapter(list[Table])


def dumps(tables: Sequence[Table]) -> str:
    """The tables as JSON; infinite numbers are written as Python's json module does."""
    return json.dumps(_TABLES.dump_python(list(tables)), ensure_ascii=False, indent=1) + "\n"


def loads(text: str) -> list[Table]:
    """The tables again.

    Raises:
        ValueError: the text is nothing that ``dumps`` made.
    """
    return _TABLES.validate_json(text)
