"""Sweeps in turns: one process a round, slices in a random order, blocks with rounds of their own, and trouble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig
from bench.errors import UsageError
from bench.records import Record
from bench.report.report import Report
from bench.report.tables import tables
from bench.sweep.job import TURNS, Job, RunsTask, Subject
from tests.command import Bench
from tests.record_samples import said
from tests.sweeps import HEAD, a_plan, fork_jobs, install, make_twin, records_in, write
from tests.trouble_loader import OVER

TURNWISE = 'process = "turns"\n' + HEAD.replace('device = "cpu"\n', "").replace("limit = 16", "limit = 60")
EMULATED = 'dataset = "cifar10"\ndevice = "emulated"\naccelerator = 9000\nbatch_size = 16\nfeed_slices = 2\n'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, which are drawn for seconds; jobs are forked."""
    fork_jobs(monkeypatch)
    monkeypatch.setattr(Report, "pictures", [])


def test_a_round_shares_a_process_and_the_summary_joins_emulated_and_real_runs(bench: Bench, tmp_path: Path) -> None:
    make_twin(bench.data)
    real = 'loader = ["mmap", "hdf5"]\ndataset = "cifar10"\ndevice = "cpu"\nmodel = "convnet"\nrepeats = 1'
    emulated = f'loader = ["mmap", "hdf5"]\nspeeds = "500,9000"\n{EMULATED}'
    file = write(tmp_path / "x.toml", emulated, real, head=TURNWISE, repeats=2)
    done = bench("sweep", str(file), "--out", str(bench.out))
    assert done.code == 0, done.err
    records = records_in(bench.out)
    assert sorted((r.config.repeat, r.config.device, r.config.loader) for r in records) == [
        *((0, device, loader) for device in ("cpu", "emulated") for loader in ("hdf5", "mmap")),
        *((1, "emulated", loader) for loader in ("hdf5", "mmap")),
    ]
    for record in records:
        assert record.status == "ok", record.error
        assert record.flags[-1] == TURNS  # before it there may be what a busy machine does to so short an epoch
        assert (record.feed is None) == (record.config.device == "cpu")
    check_summary(records)
    again = bench("sweep", str(file), "--out", str(bench.out))
    assert "6 finished before" in again.out


def check_summary(records: list[Record]) -> None:
    made = tables(records)
    table = made[0]
    assert table.kind == "summary"
    shown = [column.key for column in table.shown]
    assert {"feed_rate", "busy_500", "busy_9000", "stall_pct", "prepare_s", "accuracy", "macro_f1", "digest"} <= set(
        shown
    )
    assert [said(row["loader"].text) for row in table.rows] == ["hdf5", "mmap"]
    for row in table.rows:
        loader = said(row["loader"].text)
        own = [record for record in records if record.config.loader == loader]
        assert set(row.runs) == {record.run_id for record in own}
        emulated = {record.run_id for record in own if record.config.device == "emulated"}
        assert set(row["feed_rate"].runs) == emulated
        assert set(row["accuracy"].runs) == set(row.runs) - emulated
        assert said(row["digest"].text) == "agree"
    other = {
        **dict(records[0]),
        "digest": records[0].digest and records[0].digest.model_copy(update={"combined": "0" * 64}),
    }
    differing = tables([Record(**other), *records[1:]])[0]
    assert {said(row["digest"].text) for row in differing.rows} == {"differ"}
    assert not [table for table in tables([r for r in records if r.feed]) if table.kind == "summary"]


def test_slices_come_in_a_random_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_twin(tmp_path / "data")
    runs = a_plan_in_turns(tmp_path)
    task = RunsTask(runs=runs, out=tmp_path / "out", turns=True)
    monkeypatch.setattr("bench.sweep.job.print_into", lambda *_: None)
    order = list(task._notes())
    ids = [run.config.run_id for run in runs]
    assert order[:2] == ids  # until each is at its first slice
    rest = order[2:]
    assert sorted(rest) == sorted(ids * 12)
    assert rest != sorted(rest, key=ids.index)
    assert {record.run_id for record in records_in(tmp_path / "out")} == set(ids)


def a_plan_in_turns(folder: Path) -> list[Subject]:
    block = f'loader = ["mmap", "hdf5"]\n{EMULATED.replace("feed_slices = 2", "feed_slices = 6")}limit = 60'
    plan = a_plan(folder, block)
    return [
        Subject(
            config=run.config, dataset=run.dataset, options=run.options, data=folder / "data", stores=folder / "stores"
        )
        for run in plan.runs
    ]


def test_trouble_in_its_turn_costs_one_run(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "packages", monkeypatch, trouble="tests.trouble_loader:TroubleFormat")
    make_twin(bench.data)
    blocks = f'loader = "mmap"\n{EMULATED}', f'loader = "trouble"\noptions = [{{kind = "segfault"}}]\n{EMULATED}'
    done = bench("sweep", str(write(tmp_path / "x.toml", *blocks, head=TURNWISE)), "--out", str(bench.out))
    assert done.code == 1
    found = {record.config.loader: record for record in records_in(bench.out)}
    assert {name: record.status for name, record in found.items()} == {"mmap": "ok", "trouble": "failed"}
    assert found["trouble"].error == "killed by signal 11 (SIGSEGV)"
    monkeypatch.setenv(OVER, "1")
    assert bench("sweep", str(tmp_path / "x.toml"), "--out", str(bench.out)).code == 0
    assert {record.status for record in records_in(bench.out)} == {"ok"}


MISTAKES: dict[str, tuple[str, str]] = {
    "model": (
        f'loader = "mmap"\nmodel = "convnet"\n{EMULATED}',
        "an emulated device trains no network; leave out model",
    ),
    "profile": ('loader = "mmap"\ndataset = "cifar10"\ndevice = "emulated"\naccelerator = "warp"', "neither a speed"),
    "speed": ('loader = "mmap"\ndataset = "cifar10"\ndevice = "emulated"\naccelerator = 0', "images/s above 0"),
    "none": ('loader = "mmap"\ndataset = "cifar10"\ndevice = "emulated"', "an emulated device needs an accelerator"),
    "rounds": (f'loader = "mmap"\nrepeats = 2\n{EMULATED}', "repeats 2 of a block is more than the sweep's 1 rounds"),
}


@pytest.mark.parametrize("block, sentence", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_names_its_line(tmp_path: Path, block: str, sentence: str) -> None:
    make_twin(tmp_path / "data")
    with pytest.raises(UsageError) as caught:
        plan_of(tmp_path, block)
    assert sentence in str(caught.value)
    assert "x.toml, line" in str(caught.value)


def plan_of(folder: Path, block: str) -> Any:
    from bench.sweep.config import read_sweep
    from bench.sweep.plan import Folders, make_plan

    return make_plan(read_sweep(write(folder / "x.toml", block, head=TURNWISE)), Folders(folder / "data", folder / "s"))


def test_a_job_knows_turns_from_rows(tmp_path: Path) -> None:
    config = RunConfig(loader="mmap", dataset="digits", device="emulated", accelerator=5)
    subject = Subject(config=config, dataset="digits", options={}, data=tmp_path, stores=tmp_path)
    job = Job(sweep=1, notes=2, task=RunsTask(runs=[subject], out=tmp_path, turns=True))
    assert Job.model_validate_json(job.model_dump_json()) == job
