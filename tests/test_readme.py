"""The README's numbers are those of the committed records, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from bench.records import Foreign, read_records
from bench.report.tables import cells, tables

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def committed() -> list[pd.DataFrame]:
    """The report's tables over results/cpu, as text."""
    records = []
    for item in read_records(ROOT / "results" / "cpu"):
        assert not isinstance(item, Foreign), item
        records.append(item[1])
    return [pd.DataFrame(cells(t.frame), columns=t.frame.columns).astype(str) for t in tables(records)]


def rows(heading: str) -> list[list[str]]:
    """The cells of the README's table whose header begins so; the header first."""
    lines = README[README.index(f"| {heading} ") :].splitlines()
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return [found[0], *found[2:]]


@pytest.mark.parametrize(("number", "heading"), [(0, "dataset"), (1, "loader, CIFAR-10 twin")])
def test_tables_are_the_records(number: int, heading: str) -> None:
    header, *shown = rows(heading)
    frame = committed()[number]
    if number:
        frame = frame[frame["dataset"].str.startswith("cifar10")].rename(columns={"loader": heading})
    expected = frame[header].to_numpy().tolist()
    assert shown == expected


def test_commands_exist() -> None:
    from bench.cli import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    named = set(re.findall(r"\bbench (\w+)", README)) - {"loaders"}
    assert named <= known, named - known
    for script in re.findall(r"\./(scripts/\w+)", README):
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("page", ["audit.md", "mutants.md"])
def test_the_gradients_summary_is_the_committed_one(page: str) -> None:
    text = (ROOT / "results" / "gradients" / page).read_text(encoding="utf-8")
    summary, _, _ = next(line for line in text.splitlines() if re.match(r"\d+ (entries|of)", line)).partition(".")
    assert summary + "; " in README  # the README goes on with the seconds, which no file keeps
