"""What a reader gets by dividing or subtracting two printed numbers is the third, in every format."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records import Record
from bench.render.csv import csv_text
from bench.render.language import Text
from bench.render.latex import _fields, fragment
from bench.render.markdown import markdown
from bench.render.table import Table
from bench.render.terminal import tables_of
from bench.report.groups import groups
from bench.report.page.grid import grid
from bench.report.page.links import Links
from bench.report.tables import tables
from bench.report.tables.against import Side, against
from tests.record_samples import a_whole_sweep

Rows: TypeAlias = list[dict[str, str]]
"""What is printed of a table, by the columns' keys."""
IMAGES: dict[Any, int] = {"digits": 1437, "cifar10": 1437}  # of an epoch, as the samples have it


class Printed(NamedTuple):
    """A number with what its rounding may hide."""

    value: float
    half: float

    @classmethod
    def read(cls, text: str) -> Printed | None:
        """The number that a cell begins with, as far as it prints one; a CSV's is not rounded."""
        found = re.match(r"-?[\d,]+(?:\.(\d+))?(?:e-?\d+)?", text.replace("\\", ""))
        if found is None:
            return None
        exact = len(found[1] or "") > 8 or "e" in found[0]
        value = float(found[0].replace(",", ""))
        return cls(value, 1e-9 * abs(value) if exact else 0.5 * 10.0 ** -len(found[1] or "") + 1e-9)

    def over(self, other: Printed) -> tuple[float, float]:
        """Between what the quotient lies."""
        ends = [(self.value + a * self.half) / (other.value + b * other.half) for a in (-1, 1) for b in (-1, 1)]
        return min(ends), max(ends)

    def less(self, other: Printed) -> tuple[float, float]:
        """Between what the difference lies."""
        half = self.half + other.half
        return self.value - other.value - half, self.value - other.value + half


def in_markdown(table: Table, _: Sequence[Record]) -> Rows:
    lines = [line for line in markdown([table], "x", "en").splitlines() if line.startswith("| ")]
    return [
        dict(zip((c.key for c in table.shown), (cell.strip() for cell in line[1:-1].split(" | ")), strict=True))
        for line in lines[2:]
    ]


def in_csv(table: Table, _: Sequence[Record]) -> Rows:
    return list(csv.DictReader(io.StringIO(csv_text(table))))


def in_latex(table: Table, _: Sequence[Record]) -> Rows:
    columns = [c for c in table.shown if c.key not in ("model", "cache", "dataset", "flags", "remark")]
    keys = [column.key for column in columns for _ in _fields(column, table, "en")]
    lines = [line for line in fragment(table, "x").splitlines() if line.endswith(r" \\") and " & " in line]
    rows = []
    for line in lines:
        cells = line.removesuffix(r" \\").split(" & ")
        assert len(cells) == len(keys), (keys, cells)
        found: dict[str, str] = {}
        for key, cell in zip(keys, cells, strict=True):
            found.setdefault(key, cell)
        rows.append(found)
    return rows


def in_html(table: Table, records: Sequence[Record]) -> Rows:
    made = grid(table, Links(records, groups(records)), "en")
    return [dict(zip((c.key for c in table.shown), (c.text for c in cells), strict=True)) for cells, _ in made.rows]


def in_the_terminal(table: Table, _: Sequence[Record]) -> Rows:
    keys = [column.key for column in table.shown if column.key != "flags"]
    ((shown, _notes),) = tables_of([table])
    by_column = [[str(cell) for cell in column.cells] for column in shown.columns]
    return [dict(zip(keys, row, strict=True)) for row in zip(*by_column, strict=True)]


FORMATS: dict[str, Callable[[Table, Sequence[Record]], Rows]] = {
    "md": in_markdown, "csv": in_csv, "latex": in_latex, "html": in_html, "terminal": in_the_terminal,
}  # fmt: skip
QUOTIENTS = {
    "stages": [
        ("fetch_s", "epoch_s", "fetch_pct", 100),
        ("stall_s", "epoch_s", "stall_pct", 100),
        ("ceiling_s", "epoch_s", "au_pct", 100),
        ("device_compute_s", "epoch_s", "device_busy_pct", 100),
    ],
    "rates": [("loader_rate", "raw_rate", "efficiency", 1)],
    "cost": [("prepare_s", "saved_s", "break_even_epochs", 1)],
    "statistics": [("sd", "mean", "spread_pct", 100)],
    "compare": [("epoch_s_b", "epoch_s_a", "ratio", 1), ("loader_rate_a", "loader_rate_b", "ratio", 1)],
}


def agree(name: str, bounds: tuple[float, float], third: Printed, factor: float = 1) -> None:
    low, high = sorted(factor * bound for bound in bounds)
    slack = third.half + 1e-9 * abs(third.value)
    assert low - slack <= third.value <= high + slack, (name, bounds, third)


def check(made: Sequence[Table], records: Sequence[Record], name: str) -> set[str]:
    """Compare every triple of every table; gives the third numbers' keys."""
    show = FORMATS[name]
    kinds = {"main", "rates", "compare"} if name == "terminal" else {table.kind for table in made}
    printed = {table.key: show(table, records) for table in made if table.kind in kinds}
    seen = set()
    for table in made:
        for number, row in enumerate(printed.get(table.key, [])):
            for above, below, third, factor in QUOTIENTS.get(table.kind, []):
                a, b, c = (Printed.read(row.get(key, "")) for key in (above, below, third))
                if a and b and c and abs(b.value) > b.half:
                    agree(f"{name} {table.key} {third}", a.over(b), c, factor)
                    seen.add(third)
            if table.kind == "main":
                seen |= _main(table, number, printed, name, cut=any(r.config.device == "cuda" for r in records))
            if table.kind == "cold-warm" and not table.rows[number]["fetch_stall_s"].text:
                cold, warm, stall = (Printed.read(row.get(f"{key}_s", "")) for key in SIDES)
                if cold and warm and stall and stall.value > 0:
                    agree(f"{name} {table.key} fetch_stall_s", cold.less(warm), stall)
                    seen.add("fetch_stall_s")
    return seen


SIDES = ("cold_total", "warm_total", "fetch_stall")


def _main(table: Table, number: int, printed: dict[str, Rows], name: str, *, cut: bool) -> set[str]:
    """The row's images/s, and the time saved that another table has, unless stalls may be ``cut`` at 0."""
    rows, dataset = printed[table.key], table.rows[number]["dataset"].text
    epoch, speed = (Printed.read(rows[number].get(key, "")) for key in ("epoch_s", "images_per_s"))
    assert epoch and speed
    agree(f"{name} images/s", Printed(IMAGES[dataset], 0).over(epoch), speed)
    base = next((i for i, row in enumerate(table.rows) if row.baseline and row["dataset"].text == dataset), None)
    if base is None or base == number or cut:
        return {"images_per_s"}
    ours, theirs = (Printed.read(rows[i].get("stall_s", "")) for i in (number, base))
    assert ours
    assert theirs
    for row, cost in zip(printed.get(table.key.replace("main", "cost"), []), _cost_rows(table), strict=False):
        if cost == (dataset, table.rows[number]["loader"].text) and (saved := Printed.read(row.get("saved_s", ""))):
            agree(f"{name} saved", theirs.less(ours), saved)
    return {"images_per_s"}


def _cost_rows(table: Table) -> Iterator[tuple[Text, Text]]:
    return ((row["dataset"].text, row["loader"].text) for row in table.rows)


@st.composite
def sweeps(draw: st.DrawFn) -> list[Record]:
    """Real in form, with noise of any size, outliers and runs that are missing."""
    rounds, device = draw(st.integers(1, 5)), draw(st.sampled_from(["cpu", "cuda"]))
    documents = a_whole_sweep(draw(st.integers(0, 2**31)), rounds, device)
    rng, noise = np.random.default_rng(draw(st.integers(0, 2**31))), draw(st.sampled_from([0.0, 0.1, 2.0]))
    lost = draw(st.sampled_from([0.0, 0.3]))
    kept = []
    for document in documents:
        if document["epochs"]:
            _stretch(document, float(np.exp(rng.normal(0, noise))))
        if rng.random() >= lost:
            kept.append(Record.model_validate(document))
    return kept


def _stretch(document: dict[str, Any], factor: float) -> None:
    for epoch in document["epochs"]:
        for key in ("wall_s", "fetch_s", "compute_s"):
            epoch[key] *= factor


@settings(max_examples=6, deadline=None, derandomize=True)
@given(sweeps())
def test_printed_neighbours_give_the_third(records: list[Record]) -> None:
    if records:
        made = tables(records)
        for name in FORMATS:
            check(made, records, name)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(sweeps(), sweeps())
def test_a_comparison_s_neighbours_give_its_ratio(a: list[Record], b: list[Record]) -> None:
    if a and b:
        sides = [Side(side, groups(records, mix=True)[0]) for side, records in (("a", a), ("b", b))]
        made = against(sides[0], sides[1])
        for name in FORMATS:
            check(made, [*a, *b], name)


def test_every_triple_is_looked_at() -> None:
    records = [Record.model_validate(document) for document in a_whole_sweep(0, 5, "cuda")]
    made, side = tables(records), groups(records)[0]
    compared = against(Side("a", side), Side("b", side))
    for name in FORMATS:
        everything = {"images_per_s", "efficiency"}
        if name != "terminal":
            everything |= {"fetch_pct", "stall_pct", "au_pct", "device_busy_pct", "spread_pct"}
        assert check(made, records, name) >= everything, name
        assert check(compared, records, name) == {"ratio"}, name


def test_limits_are_factors_where_a_lower_one_would_be_below_0() -> None:
    """Of one wild run of five the mean is not told from 0: ± would speak of negative seconds."""
    documents = [d for d in a_whole_sweep(0) if d["config"].get("cache", "warm") == "warm" and d["epochs"]]
    for document in documents:
        if document["config"]["repeat"] == 3 and document["loader"]["name"] == "filesystem":
            _stretch(document, 30.0)
    records = [Record.model_validate(document) for document in documents]
    (main,) = [table for table in tables(records) if table.kind == "main"]
    rows = {row["loader"]: row for row in in_markdown(main, records) if row["dataset"] == "digits"}
    assert re.fullmatch(r"[\d.]+ \\\[[1-9][\d.]*, [\d.]+\\\].*", rows["filesystem"]["epoch_s"])
    assert " ± " in rows["mmap"]["epoch_s"]
    assert rows["mmap"]["verdict"] == "no difference found"
