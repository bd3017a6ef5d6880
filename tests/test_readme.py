"""The README's numbers are those of the committed records, and its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import Foreign, read_records
from bench.render.language import translated
from bench.render.text import cell
from bench.report.tables import tables
from loaders.testing import RaggedSamples

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the README's table whose header begins so; the header first."""
    lines = README[README.index(f"| {heading} ") :].splitlines()
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return [found[0], *found[2:]]


TABLES = [("summary", "loader", "cifar10")]


def test_tables_are_the_records() -> None:
    records = []
    for item in read_records(ROOT / "results" / "cpu"):
        assert not isinstance(item, Foreign), item
        records.append(item[1])
    made = {table.key: table for table in tables(records)}
    for key, heading, dataset in TABLES:
        header, *shown = rows(heading)
        columns = {translated(column.title, "en"): column for column in made[key].columns}
        chosen = [columns[title] for title in header]
        assert shown == [
            [cell(row[column.key], column, "en") for column in chosen]
            for row in made[key].rows
            if translated(row["dataset"].text, "en").startswith(dataset)
        ], key


def test_commands_exist() -> None:
    from bench.cli.commands import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    named = set(re.findall(r"\bbench (\w+)", README)) - {"loaders"}
    assert named <= known, named - known
    for script in re.findall(r"\./(scripts/[\w-]+)", README):
        assert (ROOT / script).exists(), script


def test_the_library_s_examples_run(tmp_path: Path) -> None:
    samples = RaggedSamples(60, seed=2)
    for i, (file, label) in enumerate(zip(samples.files, samples.labels.tolist(), strict=True)):
        place = tmp_path / "photos" / ("train" if i % 4 else "val") / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.jpg").write_bytes(file)
    for place in (tmp_path / "photos" / "train").iterdir():  # both parts have the same classes
        other = tmp_path / "photos" / "val" / place.name
        if not other.exists():
            other.mkdir()
            (other / "0.jpg").write_bytes(samples.files[0])
    blocks = re.findall(r"```python\n(.*?)```", README + (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:  # each in an interpreter of its own, as a user would
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["audit.md", "mutants.txt"])
def test_the_gradients_summary_is_the_committed_one(page: str) -> None:
    text = (ROOT / "results" / "gradients" / page).read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if re.match(r"\d+ (entries|of)", line))
    summary = re.split(r"\. |; \d+\.\d s$", line)[0]
    assert summary + "; " in " ".join(README.split())  # the README goes on with the seconds that its own run took
