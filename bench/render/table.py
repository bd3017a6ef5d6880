"""What a table of the report is: raw numbers with their intervals and their runs, and how each column is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

from bench.render.language import Language as Language
from bench.stats.intervals import half_width

Kind: TypeAlias = Literal["text", "number", "maths"]
Spread: TypeAlias = Literal["", "half", "limits"]


@dataclasses.dataclass(frozen=True)
class Value:
    """What stands in one cell of a table. All of it is raw: nothing is rounded here.

    Attributes:
        number: the number; None in a column of text, and where nothing was measured.
        low, high: limits of its 95% interval; None where there is none, as for a single run. An interval that has no
            upper limit has only `low`.
        text: shown in place of the number if it is not empty ("never", "< resolution"), or the text of a text column;
            already in the table's language.
        mark: shown after it, as "†"; the table's notes explain every mark.
        runs: ids of the runs that the number comes from; each is the name of a record.
    """

    number: float | None = None
    low: float | None = None
    high: float | None = None
    text: str = ""
    mark: str = ""
    runs: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.number is None and not self.text and not self.mark

    @property
    def half_width(self) -> float | None:
        """What stands behind ± where the interval is symmetric."""
        return half_width(self.number, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in a CSV; the same in every language. Unique in its table.
        heading: what stands above it, in the table's language, without the unit.
        unit: of the numbers as stored in `Value.number` times `scale`: "s", "%", "MB"; "" for none.
        definition: one line, in the table's language; "" for what explains itself.
        kind: whether it holds numbers, text, or formulas: text in LaTeX's math mode.
        format: Python's format of a number as shown: ",.3f".
        scale: what the raw number is multiplied by to be shown in `unit`.
        spread: how the interval is shown: "half" as ± half its width where it is symmetric, else and by "limits" as
            [low, high], by "" not at all.
        better: which direction is good, for a reader's eye or a sort; None where neither is.
        optional: left out where every cell is empty or 0, as worker processes where there are none.
        hidden: in the CSV alone.
        share: percent of the line's width that a text is wrapped to in LaTeX; 0 for the width that it takes.
    """

    key: str
    heading: str
    unit: str = ""
    definition: str = ""
    kind: Kind = "number"
    format: str = ",.3f"
    scale: float = 1.0
    spread: Spread = ""
    better: Literal["lower", "higher"] | None = None
    optional: bool = False
    hidden: bool = False
    share: int = 0

    @property
    def title(self) -> str:
        """Heading with the unit, as ``epoch, s``."""
        return f"{self.heading}, {self.unit}" if self.unit and self.unit != self.heading else self.heading

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

    cells: dict[str, Value]
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
        kind: which of the tables it is: ``main``, ``stages``, ``cold-warm``, ``rates``, ``cost``, ``resources``,
            ``statistics``, ``setup``.
        title: a heading.
        caption: what is shown, of what and on what, in whole sentences.
        label: LaTeX's, ``tab:main-convnet-warm``.
        columns: in order.
        rows: in order.
        notes: what a reader must know, among them what every mark means; in the table's language.
        environment: the machine's title, the same for all tables of a group.
        language: of all its text: "en" or "lv".
    """

    key: str
    kind: str
    title: str
    caption: str
    label: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str]
    environment: str
    language: Language = "en"

    @property
    def shown(self) -> list[Column]:
        """The columns that hold anything and are not hidden; of the optional ones, those that hold more than zeros."""
        columns = (column for column in self.columns if not column.hidden)
        return [column for column in columns if any(_holds(row[column.key], column) for row in self.rows)]

    @property
    def definitions(self) -> list[tuple[str, str]]:
        """Title and definition of each shown column that has one."""
        return [(column.title, column.definition) for column in self.shown if column.definition]


def _holds(value: Value, column: Column) -> bool:
    return bool(value.text or value.number) if column.optional else not value.is_empty
