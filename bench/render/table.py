"""What a table is: raw numbers with their intervals and their runs, and how each column is shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from bench.render.language import Joined, Text
from bench.render.language import Language as Language

Kind: TypeAlias = Literal["text", "number", "maths"]
Spread: TypeAlias = Literal["", "half", "limits"]
Better: TypeAlias = Literal["lower", "higher"] | None
ROUNDING = 1e-12
"""Relative differences that are no larger come from rounding."""


@dataclasses.dataclass(frozen=True)
class Value:
    """One cell. All of it is raw: nothing is rounded here.

    Attributes:
        number: None in a column of text, and where nothing was measured.
        low, high: limits of its 95% interval; None where there is none, as for a single run. An interval that has no
            upper limit has only `low`.
        text: shown in place of the number if it is not empty ("never", "< resolution"), or the text of a text column.
        mark: shown after it, as "†"; the table's notes explain every mark.
        runs: ids of the runs that the number comes from; each is the name of a record.
    """

    number: float | None = None
    low: float | None = None
    high: float | None = None
    text: Text = ""
    mark: str = ""
    runs: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.number is None and not self.text and not self.mark

    @property
    def shown_text(self) -> Text:
        """The text with its mark."""
        return Joined((self.text, self.mark), "") if self.mark else self.text

    @property
    def half_width(self) -> float | None:
        """What stands behind ± where the interval is symmetric about the number; None for any other, or none."""
        if self.number is None or self.low is None or self.high is None or math.isinf(self.high):
            return None
        half = (self.high - self.low) / 2
        return half if abs((self.low + self.high) / 2 - self.number) <= ROUNDING * max(half, abs(self.number)) else None


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in a CSV; unique in its table.
        heading: what stands above it, without the unit.
        unit: of the numbers as stored in `Value.number` times `scale`: "s", "%", "MB"; "" for none.
        definition: one line; "" for what explains itself.
        kind: whether it holds numbers, text, or formulas: text in LaTeX's math mode.
        format: Python's format of a number as shown: ",.3f".
        scale: what the raw number is multiplied by to be shown in `unit`.
        spread: how the interval is shown: "half" as ± half its width where it is symmetric, else and by "limits" as
            [low, high], by "" not at all.
        better: which direction is good; None where neither is.
        optional: left out where every cell is empty or 0, as worker processes where there are none.
        hidden: in the CSV alone.
        share: percent of the line's width that a text is wrapped to in LaTeX; 0 for the width that it takes.
    """

    key: str
    heading: Text
    unit: Text = ""
    definition: Text = ""
    kind: Kind = "number"
    format: str = ",.3f"
    scale: float = 1.0
    spread: Spread = ""
    better: Better = None
    optional: bool = False
    hidden: bool = False
    share: int = 0

    @property
    def title(self) -> Text:
        """Heading with the unit, as ``epoch, s``."""
        return Joined((self.heading, self.unit), ", ") if self.unit and self.unit != self.heading else self.heading

    @property
    def decimals(self) -> int:
        """Digits behind the point."""
        return int(self.format.rpartition(".")[2].rstrip("ef"))


@dataclasses.dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        cells: a value for each column that has one, by the column's key.
        runs: ids of all runs that the row stands for, those that failed included.
        baseline: whether the others are compared with this one.
    """

    cells: Mapping[str, Value]
    runs: tuple[str, ...] = ()
    baseline: bool = False

    def __getitem__(self, key: str) -> Value:
        """The value of a column; an empty one where there is none."""
        return self.cells.get(key, Value())


@dataclasses.dataclass(frozen=True)
class Table:
    """One table with everything that a renderer needs.

    Attributes:
        key: its name within a report, fit for a file: ``main-convnet-warm``; in a second group ``2-main-convnet-warm``.
        kind: which of the tables it is, such as ``main`` or ``cold-warm``.
        caption: what is shown, of what and on what, in whole sentences.
        label: LaTeX's, ``tab:main-convnet-warm``.
        notes: what a reader must know, among them what every mark means.
        environment, group: the machine's title and number, the same for all tables of a group.
    """

    key: str
    kind: str
    title: Text
    caption: Text
    label: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[Text] = ()
    environment: Text = ""
    group: int = 1

    @property
    def shown(self) -> list[Column]:
        """The columns that hold anything and are not hidden; of the optional ones, those that hold more than zeros."""
        cells = {column.key: [row[column.key] for row in self.rows] for column in self.columns}
        return [
            column
            for column in self.columns
            if not column.hidden
            and any(cell.text or cell.number or not (column.optional or cell.is_empty) for cell in cells[column.key])
        ]

    @property
    def definitions(self) -> list[tuple[Text, Text]]:
        """Title and definition of each shown column that has one."""
        return [(column.title, column.definition) for column in self.shown if column.definition]
