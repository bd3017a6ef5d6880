"""Tables say what the records say, and nothing that the records do not allow to be compared."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.records import Record
from bench.report.tables import FORMATS, Table, cells, tables
from bench.report.write import markdown, write
from tests.record_samples import DATASET, DIGEST, ENVIRONMENT, STORE, a_record, an_epoch

seconds = st.floats(1e-6, 1e6)
epochs = st.lists(
    st.builds(an_epoch, wall_s=seconds, fetch_s=seconds, images=st.integers(1, 10**7), test_accuracy=st.floats(0, 1)),
    min_size=1,
    max_size=3,
)


def the_table(records: list[Record]) -> Table:
    (table,) = tables(records)
    return table


def row(table: Table, **key: str) -> dict[str, Any]:
    """The one row with these values."""
    (found,) = [r for r in table.frame.to_dict("records") if all(r[k] == v for k, v in key.items())]
    return {str(name): value for name, value in found.items()}


@given(st.lists(epochs, min_size=1, max_size=4), seconds)
def test_the_numbers_are_those_of_the_records(runs: list[list[dict[str, Any]]], prepare_s: float) -> None:
    store = {**STORE, "prepare_s": prepare_s}
    records = [a_record(epochs=run, config={"repeat": i}, store=store) for i, run in enumerate(runs)]
    found = row(the_table([*records, a_record("hdf5")]), loader="mmap")
    frame = pd.DataFrame([epoch for run in runs for epoch in run])
    assert found["runs"] == len(runs)
    assert found["epoch s"] == pytest.approx(frame.wall_s.mean())
    assert found["images/s"] == pytest.approx(frame.images.sum() / frame.wall_s.sum())
    assert found["fetch %"] == pytest.approx(100 * frame.fetch_s.sum() / frame.wall_s.sum())
    assert found["accuracy"] == pytest.approx(pd.Series([run[-1]["test_accuracy"] for run in runs]).mean())
    assert found["macro-F1"] == pytest.approx(0.89)
    assert found["prepare s"] == pytest.approx(prepare_s)
    assert found["store MB"] == pytest.approx(5.533696)
    assert found["digest"] == "33333333"


@given(st.lists(st.lists(st.tuples(seconds, seconds), min_size=1, max_size=5), min_size=1, max_size=3))
def test_the_rates_are_those_of_the_records(runs: list[list[tuple[float, float]]]) -> None:
    records = []
    for number, pairs in enumerate(runs):
        mine, raw = [a for a, _ in pairs], [b for _, b in pairs]
        rates = {"loader": mine, "raw": raw, "idiom": "np.take"}
        records.append(a_record(rates=rates, config={"command": "rate", "repeat": number}))
    found = row(the_table(records), loader="mmap")
    frame = pd.DataFrame([pair for pairs in runs for pair in pairs], columns=["mine", "raw"])
    assert found["runs"] == len(runs)
    assert found["images/s"] == pytest.approx(frame.mine.median())
    assert found["plain idiom images/s"] == pytest.approx(frame.raw.median())
    assert found["ratio"] == pytest.approx((frame.mine / frame.raw).median())


def test_a_loader_without_a_plain_idiom_has_a_rate_and_no_ratio() -> None:
    table = the_table([a_record(config={"command": "rate"})])
    assert row(table, loader="mmap")["images/s"] == 1050
    assert cells(table.frame) == [["digits", "mmap", "1", "1,050", "", "", ""]]


UNLIKE: list[dict[str, Any]] = [
    *({"environment": {key: "another"}} for key in ("cpu", "cores", "ram_bytes", "system", "kernel", "python")),
    {"environment": {"packages": {**ENVIRONMENT["packages"], "torch": "2.12.0"}}},
    {"environment": {"packages": {**ENVIRONMENT["packages"], "h5py": "3.11.0"}}},
    {"environment": {"threads": 4}},
    {"environment": {"device": "cuda", "gpu": {"name": "Some GPU", "memory_bytes": 1}}},
    {"config": {"model": "resnet18"}},
    {"config": {"epochs": 9}},
    {"config": {"batch_size": 9}},
    {"config": {"workers": 9}},
    {"config": {"prefetch": 9}},
    {"config": {"lr": 0.9}},
    {"config": {"cache": "as-is"}},
    {"config": {"amp": True}},
    {"config": {"command": "rate"}},
]


@pytest.mark.parametrize("change", UNLIKE, ids=str)
def test_unlike_records_never_share_a_table(change: dict[str, Any]) -> None:
    made = tables([a_record(), a_record("hdf5", **change), a_record("memory")])
    assert sorted(sorted(table.frame.loader) for table in made) == [["hdf5"], ["memory", "mmap"]]


@pytest.mark.parametrize("change", [{"seed": 5}, {"repeat": 3}], ids=str)
def test_repetitions_share_a_row(change: dict[str, Any]) -> None:
    assert row(the_table([a_record(), a_record(config=change)]))["runs"] == 2


def test_options_and_datasets_have_rows_of_their_own() -> None:
    cut = {**DATASET, "limit": 64, "train": 64, "test": 64}
    records = [
        a_record(),
        a_record(config={"options": {"threads": 2, "encoding": "jpeg"}}),
        a_record(config={"limit": 64}, dataset=cut),
        a_record(config={"dataset": "cifar10"}, dataset={**DATASET, "synthetic": True, "official": False}),
        a_record(config={"dataset": "cifar10"}, dataset={**DATASET, "official": False}),
    ]
    assert {(d, n) for d, n in zip(*(the_table(records).frame[c] for c in ("dataset", "loader")), strict=True)} == {
        ("digits", "mmap"),
        ("digits", "mmap encoding=jpeg threads=2"),
        ("digits 64/64", "mmap"),
        ("cifar10 (synthetic) 1,437/360", "mmap"),
        ("cifar10 (not official)", "mmap"),
    }


def without_results(loader: str, status: str, error: str) -> Record:
    nothing: dict[str, Any] = dict.fromkeys(("dataset", "store", "cache", "setup", "resources", "digest"))
    return a_record(loader, status=status, error=error, epochs=[], **nothing)


def test_a_loader_that_did_not_run_is_a_row_with_its_reason() -> None:
    table = the_table([a_record(), without_results("gpu_mmap", "unavailable", "no CUDA device")])
    found = row(table, loader="gpu_mmap")
    assert (found["runs"], found["remark"]) == (0, "unavailable: no CUDA device")
    assert cells(table.frame)[1] == ["digits", "gpu_mmap", "0", *[""] * 8, "unavailable: no CUDA device"]
    assert the_table([without_results("gpu_mmap", "unavailable", "no CUDA device")]).notes == []


def test_failures_are_counted_apart_and_told_once() -> None:
    lost = [a_record(status="failed", error="lost", config={"repeat": i}, epochs=[an_epoch(wall_s=99)]) for i in (1, 2)]
    found = row(the_table([a_record(), *lost]), loader="mmap")
    assert (found["runs"], found["epoch s"], found["remark"]) == (1, 2.0, "failed: lost")


def digest(letter: str) -> dict[str, str]:
    return {**DIGEST, "combined": letter * 64}


def test_loaders_that_gave_different_samples_are_noted() -> None:
    same = [a_record(name, digest=digest("a")) for name in ("mmap", "hdf5")]
    assert the_table(same).notes == []
    assert the_table([*same, a_record("memory", digest=digest("b"))]).notes == [
        "digits: the loaders gave different samples; their rows do not compare"
    ]
    assert len(the_table([*same, a_record("hdf5", digest=digest("b"))]).notes) == 1
    almost = {**DIGEST, "combined": "a" * 63 + "b"}
    assert len(the_table([*same, a_record("memory", digest=almost)]).notes) == 1


def test_another_seed_gives_another_digest_and_no_note() -> None:
    """The digest is taken in the order of the seed, so a loader with fewer seeds has fewer of them."""
    records = [a_record("mmap", config={"seed": seed}, digest=digest("ab"[seed])) for seed in (0, 1)]
    assert the_table([*records, a_record("hdf5", config={"seed": 1}, digest=digest("b"))]).notes == []


def test_flags_of_a_run_are_told() -> None:
    table = the_table([a_record(flags=["epoch 0: 3.0% of the wall time is in no part"])])
    assert table.notes == ["digits, mmap: epoch 0: 3.0% of the wall time is in no part"]


def test_the_title_names_machine_and_protocol() -> None:
    assert the_table([a_record(config={"prefetch": 2})]).title == (
        "Some CPU, 8 of 8 cores, torch 2.11.0; convnet, 3 epochs; batch 128; 0 workers; prefetch 2; cache warm"
    )
    gpu = {"device": "cuda", "gpu": {"name": "Some GPU"}}
    assert the_table([a_record(environment=gpu)]).title.startswith("Some GPU, ")


def parse_table(page: str) -> list[list[str]]:
    """The cells of a page's only Markdown table, as GitHub splits and unescapes them."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    found = []
    for line in (lines[0], *lines[2:]):
        parts = re.findall(r"((?:\\.|[^\\|])*)\|", line[1:])
        found.append([re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", part).strip() for part in parts])
    return found


nasty = st.text(st.sampled_from("a|\\<>`*_[]()!~&#-\n\r\t\u2028 :/"), max_size=30)


@settings(max_examples=200)
@given(nasty, nasty)
def test_text_from_a_record_stays_in_its_cell(error: str, value: str) -> None:
    option = {"options": {"dsn": value}}
    table = the_table([a_record(status="failed", error=error, config=option, environment={"cpu": f"x{error}"})])
    page = markdown([table], "bench report runs")
    header, cells_ = parse_table(page)
    assert header == [str(name) for name in table.frame.columns]
    shown = dict(zip(header, (c.replace("&lt;", "<").replace("&amp;", "&") for c in cells_), strict=True))
    assert shown["remark"].split() == f"failed: {error}".split()
    assert shown["loader"].split() == f"mmap dsn={value}".split()
    assert "<" not in page
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[]", page.replace("`bench report runs`", ""))  # no live Markdown
    assert [line[:3] for line in page.splitlines() if line.startswith("#")] == ["# R", "## "]


@given(st.lists(epochs, min_size=1, max_size=3), nasty)
def test_csv_keeps_the_raw_numbers(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[dict[str, Any]]], text: str
) -> None:
    folder = tmp_path_factory.mktemp("report")
    records = [a_record(epochs=run, config={"options": {"n": i}}) for i, run in enumerate(runs)]
    failed = a_record("memory", status="failed", error=text, environment={"cpu": "Some CPU"})
    table = the_table([*records, failed])._replace(title=f"title {text}")
    (path,) = write([table], folder, ["csv"], "bench report")
    again = pd.read_csv(path, skiprows=1, engine="python")
    assert list(again.columns) == list(table.frame.columns)
    for name in FORMATS.keys() & set(again.columns):
        for mine, theirs in zip(table.frame[name], again[name], strict=True):
            assert mine == theirs or (math.isnan(mine) and math.isnan(theirs))
    assert list(again.loader) == list(table.frame.loader)


def test_files_are_those_asked_for(tmp_path: Path) -> None:
    made = tables([a_record(), a_record(config={"epochs": 7})])
    written = write(made, tmp_path, ["md", "csv"], "bench report runs")
    assert {path.name for path in written} == {"report.md", "table-1.csv", "table-2.csv"}
    assert set(tmp_path.iterdir()) == set(written)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "by `bench report runs`" in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == [f"## {table.title}" for table in made]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match=r"cannot write the report into .*: Not a directory; choose another folder"):
        write(tables([a_record()]), tmp_path / "file", ["md"], "bench report")
