"""The gradient audit's results as tables of the page, as `bench gradcheck` stored them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bench.errors import BenchError
from bench.render.stored import STORED, loads
from bench.render.table import Table
from bench.report.page.words import Words


def gradient_tables(folder: Path, words: Words) -> list[Table]:
    """The tables that the audit left in the folder, headed in the page's language; none if it left none.

    Raises:
        BenchError: the file is not one that the audit writes.
    """
    path = folder / STORED
    if not path.is_file():
        return []
    try:
        return [
            dataclasses.replace(
                table,
                key=f"gradients-{table.key}",
                title=words[f"gradients_{table.key}"],
                caption=words[f"gradients_{table.key}_caption"],
                language=words.language,
            )
            for table in loads(path.read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, LookupError) as error:
        raise BenchError(f"{path} is not of `bench gradcheck` ({error!r}); give its --out folder") from error
