"""What a report is made of: the records, how they are to be shown, and the tables and figures that follow."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records import Foreign, Record
from bench.render.language import Language
from bench.render.table import Table
from bench.report.tables import BASELINE, tables

if TYPE_CHECKING:  # matplotlib takes a second to import: only who draws pays
    from bench.report.figures import Picture


@dataclasses.dataclass(frozen=True)
class Report:
    """What is to be reported, and how."""

    records: Sequence[Record]
    command: str  # what makes the report, to be named in it
    baseline: str = BASELINE  # loader, with or without its options, that the others are compared with
    language: Language = "en"
    mix: bool = False  # put records of different environments into one table, with a warning
    foreign: Sequence[Foreign] = ()  # files beside the records that were none
    gradients: Path | None = None  # folder of a gradient audit, to be shown on the HTML page

    @functools.cached_property
    def tables(self) -> list[Table]:
        """All tables."""
        return tables(self.records, self.baseline, self.mix)

    @functools.cached_property
    def pictures(self) -> list[Picture]:
        """All figures, not drawn yet."""
        from bench.report.figures import plan

        return plan(self.records, self.baseline, self.mix)

    def place(self, name: str) -> str:
        """A file's or folder's name; in another language than English it ends in that."""
        stem, dot, ending = name.partition(".")
        return name if self.language == "en" else f"{stem}-{self.language}{dot}{ending}"
