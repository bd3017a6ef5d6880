"""Two folders against each other: same work with same work, and no verdict that the runs do not carry."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import BenchError, UsageError
from bench.records import Record, write_record
from bench.render.table import Row, Table
from bench.report.compare import FORMATS, compare, write
from tests.command import Bench
from tests.latex import compiled, complaints
from tests.record_samples import DATASET, DIGEST, a_record, an_epoch, notes_of, said


def runs(loader: str, seconds: Sequence[float], name: str = "", **changes: Any) -> list[Record]:
    """One run a round, of one epoch each."""
    config = changes.pop("config", {})
    return [
        a_record(
            loader,
            run_id=f"{name}{loader}{n}",
            config={**config, "repeat": n},
            epochs=[an_epoch(wall_s=float(s), images=1437)],
            **changes,
        )
        for n, s in enumerate(seconds)
    ]


def rated(loader: str, rates: Sequence[float], name: str = "") -> list[Record]:
    config = {"command": "rate"}
    return [
        a_record(
            loader,
            run_id=f"{name}{loader}rate{n}",
            config={**config, "repeat": n},
            rates={"loader": [float(r)] * 3, "raw": None, "idiom": None},
        )
        for n, r in enumerate(rates)
    ]


def around(mean: float, count: int = 5, seed: int = 0) -> list[float]:
    """Times of a relative sd of about one percent."""
    return [float(value) for value in mean * np.exp(np.random.default_rng(seed).normal(0, 0.01, count))]


def compared(a: list[Record], b: list[Record], **options: Any) -> dict[str, Table]:
    return {table.key: table for table in compare(("before", a), ("after", b), **options)}


def row(table: Table, loader: str) -> Row:
    (found,) = (row for row in table.rows if said(row["loader"].text) == loader)
    return found


def test_what_became_slower_and_faster_is_named_and_nothing_else() -> None:
    a = [*runs("mmap", around(1.0)), *runs("hdf5", around(2.0, seed=1)), *runs("memory", around(1.0, seed=2))]
    b = [*runs("mmap", around(1.1, seed=3)), *runs("hdf5", around(1.7, seed=4)), *runs("memory", around(1.0, seed=5))]
    table = compared(a, b)["compare-epochs"]
    verdicts = {said(row["loader"].text): said(row["verdict"].text) for row in table.rows}
    assert verdicts == {"mmap": "slower", "hdf5": "faster", "memory": "no difference found"}


def test_every_number_is_that_of_the_runs() -> None:
    times = around(1.0), around(1.3, seed=1)
    table = compared(runs("mmap", times[0], "a"), runs("mmap", times[1], "b"))["compare-epochs"]
    found = row(table, "mmap")
    assert found["epoch_s_a"].number == pytest.approx(np.mean(times[0]))
    assert found["epoch_s_b"].number == pytest.approx(np.mean(times[1]))
    assert found["ratio"].number == pytest.approx(np.mean(times[1]) / np.mean(times[0]))
    assert found["runs_a"].number == found["runs_b"].number == 5
    assert set(found.runs) == {f"{side}mmap{n}" for side in "ab" for n in range(5)}


def test_too_few_runs_carry_no_verdict() -> None:
    table = compared(runs("mmap", [1.0, 1.0]), runs("mmap", [9.0, 9.1]))["compare-epochs"]
    assert said(row(table, "mmap")["verdict"].text) == "too few runs"


def test_rates_count_as_costs_so_that_fewer_images_are_slower() -> None:
    a, b = rated("mmap", [1000.0 * v for v in around(1.0)]), rated("mmap", [500.0 * v for v in around(1.0, seed=1)])
    found = row(compared(a, b)["compare-rates"], "mmap")
    assert said(found["verdict"].text) == "slower"
    assert found["ratio"].number == pytest.approx(2.0, rel=0.05)


def test_rates_within_runs_are_pooled_over_models_and_caches() -> None:
    rates = {"loader": [1000.0], "raw": None, "idiom": None}
    side = [
        r for cache in ("warm", "cold") for r in runs("mmap", [1.0] * 5, cache, config={"cache": cache}, rates=rates)
    ]
    made = compared(side, side)
    assert len(made["compare-epochs"].rows) == 2
    assert row(made["compare-rates-runs"], "mmap")["runs_a"].number == 10


def test_other_work_is_never_compared() -> None:
    changes: list[dict[str, Any]] = [
        {"config": {"batch_size": 64}},
        {"config": {"model": "resnet18"}},
        {"config": {"cache": "cold"}},
        {"config": {"options": {"encoding": "jpeg"}}},
        {"config": {"threads": 3}, "environment": {"threads": 3}},
        {"dataset": {**DATASET, "fingerprint": "0" * 64}},
        {"dataset": {**DATASET, "train": 9}},
    ]
    a = runs("mmap", around(1.0))
    for change in changes:
        with pytest.raises(BenchError, match="no run in after did the same work as one in before; give folders"):
            compared(a, runs("mmap", around(1.0), **change))
        table = compared(a, [*a, *runs("mmap", around(9.0), "x", **change)])["compare-epochs"]
        assert len(table.rows) == 1, change
        assert any(note.startswith("only in after, or not the same work: digits") for note in notes_of(table)), change


def test_what_changes_no_work_does_not_part_runs() -> None:
    changes: list[dict[str, Any]] = [{"config": {"ceiling_steps": 7}}, {"environment": {"threads": 64}}]
    for change in changes:
        table = compared(runs("mmap", around(1.0)), runs("mmap", around(1.0), **change))["compare-epochs"]
        assert len(table.rows) == 1, change


def test_machines_may_differ_between_the_folders_and_the_table_says_how() -> None:
    other = {"cpu": "Other CPU", "git": {"commit": "1" * 40, "clean": True}}
    table = compared(runs("mmap", around(1.0)), runs("mmap", around(1.0), environment=other))["compare-epochs"]
    assert "cpu: Some CPU in A, Other CPU in B" in notes_of(table)
    assert f"commit: {'0' * 10} in A, {'1' * 10} in B" in notes_of(table)
    assert said(table.environment).count("Some CPU") == said(table.environment).count("Other CPU") == 1


def test_machines_may_not_differ_within_a_folder() -> None:
    mixed = [*runs("mmap", around(1.0)), *runs("hdf5", around(1.0), environment={"cpu": "Other CPU"})]
    with pytest.raises(UsageError, match=r"before holds records of 2 environments .* add --mix-environments"):
        compared(mixed, mixed)
    table = compared(mixed, mixed, mix=True)["compare-epochs"]
    assert {said(row["loader"].text) for row in table.rows} == {"mmap", "hdf5"}
    assert sum("2 different environments are mixed here" in note for note in notes_of(table)) == 2


def test_sides_of_unequal_size_are_told_of() -> None:
    table = compared(runs("mmap", around(1.0, 11)), runs("mmap", around(1.0)))["compare-epochs"]
    assert [note for note in notes_of(table) if "alarms too often" in note and "digits, mmap" in note]
    table = compared(runs("mmap", around(1.0, 10)), runs("mmap", around(1.0)))["compare-epochs"]
    assert not [note for note in notes_of(table) if "alarms too often" in note]


def test_other_samples_are_told_of() -> None:
    a = runs("mmap", around(1.0))
    assert said(row(compared(a, a)["compare-epochs"], "mmap")["samples"].text) == "agree"
    b = runs("mmap", around(1.0), digest={**DIGEST, "combined": "9" * 64})
    assert said(row(compared(a, b)["compare-epochs"], "mmap")["samples"].text) == "differ"


def test_flags_are_told_a_side() -> None:
    loaded = [
        a_record("mmap", run_id=f"b{n}", config={"repeat": n}, epochs=[an_epoch(wall_s=1.0, others_cpu_s=4.0)])
        for n in range(5)
    ]
    told = said(row(compared(runs("mmap", around(1.0)), loaded)["compare-epochs"], "mmap")["flags"].text)
    side_a, _, side_b = told.partition("; B: ")
    assert "others used" not in side_a
    assert "others used up to 50.0% of the cores, in 5 of 5 runs" in side_b


def test_files(tmp_path: Path) -> None:
    made = compare(("be_fore", runs("mmap", around(1.0))), ("after", runs("mmap", around(1.2))))
    paths = write(made, tmp_path / "new" / "folder", FORMATS, "bench compare be_fore after")
    assert {path.name for path in paths} == {"compare.md", "compare-epochs.csv", "compare-epochs.tex", "preview.tex"}
    text = (tmp_path / "new" / "folder" / "compare-epochs.csv").read_text(encoding="utf-8")
    (line,) = csv.DictReader(text.splitlines())
    assert line["verdict"] == "slower"
    assert float(line["ratio"]) == made[0].rows[0]["ratio"].number
    write(made, tmp_path / "lv", ["csv"], "bench compare be_fore after", "lv")
    (latvian,) = csv.DictReader((tmp_path / "lv" / "compare-epochs.csv").read_text(encoding="utf-8").splitlines())
    words = {"cache": "silta", "verdict": "lēnāks", "samples": "sakrīt", "flags": latvian["flags"]}
    assert latvian == {**line, **words}
    assert latvian["flags"].startswith("A: kešatmiņa")
    page = (tmp_path / "new" / "folder" / "compare.md").read_text(encoding="utf-8")
    assert "Made by `bench compare be_fore after`." in page
    assert complaints(compiled(tmp_path / "new" / "folder" / "preview.tex")) == []


def test_command(bench: Bench, tmp_path: Path) -> None:
    for name, seconds in (("before", 1.0), ("after", 1.2)):
        for record in [*runs("mmap", around(seconds)), *runs("hdf5", around(1.0, seed=7))]:
            write_record(record, tmp_path / name)
    (tmp_path / "after" / "torn.json").write_text("{")
    a, b = str(tmp_path / "before"), str(tmp_path / "after")
    done = bench("compare", a, b, "--out", str(tmp_path / "made"), "--format", "csv")
    assert done.code == 0
    assert re.search(r"mmap .*slower", done.out)
    assert re.search(r"hdf5 .*no difference found", done.out)
    assert "torn.json" in done.err
    assert "digits, mmap: A: cache not verified in 5 of 5 runs" in done.out
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["compare-epochs.csv"]


def test_commands_that_cannot_be_done(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert bench("compare", str(tmp_path / "empty"), str(tmp_path / "none")).code == 1
    wrong = bench("compare", str(tmp_path / "empty"), str(tmp_path / "empty"), "--format", "csv")
    assert wrong.code == 2
    assert "--format goes with --out" in wrong.err
