"""What a table is: raw numbers with their intervals and their runs, and how each column is shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from bench.render.language import Joined, Text

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

    An interval is shown by ``spread`` "half" as ± half its width where it is symmetric, else and by "limits" as
    [low, high], by "" not at all.
    """

    key: str  # its name in a CSV; unique in its table
    heading: Text  # without the unit
    unit: Text = ""  # of the numbers as stored in `Value.number` times `scale`: "s", "%", "MB"; "" for none
    definition: Text = ""  # one line; "" for what explains itself
    kind: Literal["text", "number", "maths"] = "number"  # maths is text in LaTeX's math mode
    format: str = ",.3f"  # Python's format of a number as shown
    scale: float = 1.0  # what the raw number is multiplied by to be shown in `unit`
    spread: Literal["", "half", "limits"] = ""
    better: Better = None  # which direction is good; None where neither is
    optional: bool = False  # left out where every cell is empty or 0, as worker processes where there are none
    hidden: bool = False  # in the CSV alone
    share: int = 0  # percent of the line's width that a text is wrapped to in LaTeX; 0 for the width that it takes

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
    """One row."""

    cells: Mapping[str, Value]  # of each column that has one, by its key
    runs: tuple[str, ...] = ()  # ids of all runs that the row stands for, those that failed included
    baseline: bool = False  # whether the others are compared with this one

    def __getitem__(self, key: str) -> Value:
        """The value of a column; an empty one where there is none."""
        return self.cells.get(key, Value())


@dataclasses.dataclass(frozen=True)
class Table:
    """One table with everything that a renderer needs; its key is fit for a file.

    The tables of a group share its number and the title of its machine, and have its number in their keys from 2 on:
    ``main-convnet-warm``, ``2-main-convnet-warm``.
    """

    key: str
    kind: str  # such as ``main`` or ``cold-warm``
    title: Text
    caption: Text  # what is shown, of what and on what, in whole sentences
    label: str  # LaTeX's, ``tab:main-convnet-warm``
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[Text] = ()  # what a reader must know, among them what every mark means
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
