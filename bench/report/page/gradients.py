"""The gradient audit's results as tables of the page, as `bench gradcheck` stored them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bench.errors import BenchError
from bench.render.language import message
from bench.render.stored import STORED, loads
from bench.render.table import Table

_TEXTS = {
    "audit": (message("Gradients as written"), message(
        "Every gradient with its verdict, and its worst relative error over all cases: against autograd in float64, "
        "against central differences, and against autograd in float32.")),
    "parity": (message("Models trained on both sides"), message(
        "The same models trained by the hand-written gradients and by autograd: the worst relative distance of any "
        "parameter after any step.")),
    "claims": (message("Claims"), message("What the notes claim, held against computations.")),
}  # fmt: skip
"""Title and caption of each table."""


def gradient_tables(folder: Path) -> list[Table]:
    """The tables that the audit left in the folder, headed in the page's language; none if it left none.

    Raises:
        BenchError: the file is not one that the audit writes.
    """
    path = folder / STORED
    if not path.is_file():
        return []
    try:
        stored = [(table, *_TEXTS[table.key]) for table in loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, LookupError) as error:
        raise BenchError(f"{path} is not of `bench gradcheck` ({error!r}); give its --out folder") from error
    return [
        dataclasses.replace(table, key=f"gradients-{table.key}", title=title, caption=caption)
        for table, title, caption in stored
    ]
