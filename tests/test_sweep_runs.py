"""Whole sweeps with real processes: runs that go well, crash, hang, lose their server or share a process."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from rich.console import Console

from bench.records import Record, write_record
from bench.report.report import Report
from bench.report.tables import tables
from bench.sweep import outcome
from bench.sweep.config import read_sweep
from bench.sweep.engine import Sweep
from bench.sweep.job import FLAG
from bench.sweep.outcome import empty_record, now
from bench.sweep.plan import Folders, Plan, make_plan
from bench.sweep.screen import Screen
from tests.command import Bench, Done
from tests.forked import started
from tests.record_samples import ENVIRONMENT, a_record
from tests.sweeps import HEAD, all_gone, fork_jobs, install, make_twin, records_in, state, write
from tests.test_bad_input import refused, servers
from tests.trouble_loader import OVER


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, which are drawn for seconds; jobs are forked."""
    fork_jobs(monkeypatch)
    monkeypatch.setattr(outcome, "_TAIL_LINES", 200)  # pytest's frames are in a traceback, too
    monkeypatch.setattr(outcome, "_TAIL_BYTES", 100_000)
    monkeypatch.setattr(Report, "pictures", [])


SHARED = 'process = "shared"\n' + HEAD


class Place(NamedTuple):
    """A data folder and a folder of records."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def started(self, file: Path) -> AbstractContextManager[subprocess.Popen[Any]]:
        """A sweep in a process of its own."""
        return started("sweep", file, "--out", self.out, env={**os.environ, "BENCH_DATA": str(self.folder / "data")})

    def records(self) -> dict[str, Record]:
        """By loader and options."""
        return {
            " ".join([record.config.loader, *map(str, record.config.options.values())]): record
            for record in records_in(self.out)
        }


def test_trouble_costs_one_run_each_and_the_same_command_mends_it(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    install(tmp_path / "packages", monkeypatch, trouble="tests.trouble_loader:TroubleFormat", gone="no_such:Thing")
    file = write(
        tmp_path / "some.toml",
        'loader = "trouble"\ndataset = "cifar10"\n'
        'options = [{kind = "none"}, {kind = "segfault"}, {kind = "unavailable"}]',
        'loader = "gone"\ndataset = "cifar10"',
    )
    make_twin(tmp_path / "data")
    place.out.mkdir()
    (place.out / "torn.json").write_text('{"schema_version": 2, ')
    done = bench("sweep", str(file), "--out", str(place.out))
    assert done.code == 1, done.err
    records = place.records()
    assert {name: record.status for name, record in records.items()} == {
        "trouble none": "ok",
        "trouble segfault": "failed",
        "trouble unavailable": "unavailable",
        "gone": "unavailable",
    }
    assert len(list(place.out.glob("*.json"))) == 5
    crashed, well = records["trouble segfault"], records["trouble none"]
    assert crashed.error == "killed by signal 11 (SIGSEGV)"
    assert crashed.dataset == well.dataset
    assert crashed.environment.keys() == well.environment.keys()
    assert records["trouble unavailable"].error == "told to be"
    assert "no_such" in (records["gone"].error or "")
    assert well.log is None
    check_log(place, crashed)
    check_output(place, done)

    kept = {path: state(path) for path in place.out.glob("*.json")}
    monkeypatch.setenv(OVER, "1")
    done = bench("sweep", str(file), "--out", str(place.out))
    assert done.code == 0, done.err
    assert "small: 1 ok, 3 finished before; " in done.out
    assert {path.stem for path in kept if state(path) != kept[path]} == {crashed.run_id}
    mended = place.records()["trouble segfault"]
    assert (mended.status, mended.error, mended.log) == ("ok", None, None)


def check_log(place: Place, crashed: Record) -> None:
    """The end of the log is in the record, tells where the crash was, and can be published."""
    assert "about to read address 0" in (crashed.log or "")
    assert "trouble_loader.py" in (crashed.log or "")
    text = crashed.model_dump_json()
    for hidden in (str(place.folder), str(Path.cwd()), sys.prefix, sys.base_prefix):
        assert hidden not in text
    assert len(list((place.out / "logs").glob("*.log"))) == 3  # a store and two runs


def check_output(place: Place, done: Done) -> None:
    """It tells how far it is and what failed, and reports."""
    for words in (
        "torn.json: not readable as JSON",
        "made the store cifar10-limit16/trouble",
        "[3/4] trouble",
        "[4/4] trouble",
        "small: 1 ok, 2 unavailable, 1 failed; ",
    ):
        assert words in done.out
    assert "failed: trouble kind=segfault cifar10, round 1: killed by signal 11" in done.err
    assert "Traceback" not in done.out + done.err
    page = (place.out / "report.md").read_text()
    assert "segfault" in page
    assert "told to be" in page


def prepared(bench: Bench, *loaders: str) -> None:
    """Stores of a small run, made here: another process takes seconds to start."""
    make_twin(bench.data)
    for loader in loaders:
        assert bench("prepare", loader, "cifar10", "--limit", "16").code == 0


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "packages", monkeypatch, trouble="tests.trouble_loader:TroubleFormat")


def test_a_run_that_hangs_is_ended_in_time(bench: Bench, tmp_path: Path, trouble: None) -> None:
    prepared(bench, "trouble")
    file = write(
        tmp_path / "some.toml",
        'loader = "trouble"\ndataset = "cifar10"\noptions = {kind = "hang"}',
        head=HEAD.replace("timeout_s = 250", "timeout_s = 4"),
    )
    done = bench("sweep", str(file), "--out", str(bench.out))
    assert done.code == 1
    (record,) = records_in(bench.out)
    assert (record.status, record.error) == ("failed", "timed out: ended after 4 s; raise timeout_s if it needs longer")
    assert all_gone(str(bench.data)) == []


def test_a_lost_server_fails_one_run_and_ctrl_c_ends_the_next(bench: Bench, tmp_path: Path) -> None:
    prepared(bench, "postgres")
    head = HEAD.replace("epochs = 1\n", "epochs = 100000\n")
    file = write(tmp_path / "some.toml", 'loader = "postgres"\ndataset = "cifar10"', head=head, repeats=2)
    place = Place(tmp_path)
    with place.started(file) as process:
        first = wait_for_log(place.out)
        for pid in servers(bench.data):
            os.kill(pid, signal.SIGKILL)
        second = wait_for_log(place.out, first)
        refused(bench("sweep", str(file), "--out", str(place.out)), 2, "another sweep is running", "--out")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "small: 1 failed, 1 not done; " in out
    assert err.splitlines()[-1].startswith("bench: interrupted")
    assert "Traceback" not in out + err
    assert all_gone(str(bench.data)) == []
    (record,) = records_in(place.out)
    assert f"{record.run_id}.log" == first.name != second.name
    assert record.status == "failed"
    assert record.epochs
    assert "server" in (record.error or "")
    assert "epoch 0" in (record.log or "") or "Traceback" in (record.log or "")
    assert str(tmp_path) not in record.model_dump_json()
    assert list(place.out.glob("report*")) == []


def wait_for_log(out: Path, other: Path | None = None) -> Path:
    """The log of a run, another than the given one, that has come to its first epoch."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for path in out.glob("logs/*.log"):
            if path != other and "epoch 0" in path.read_text():
                return path
        time.sleep(0.05)
    raise AssertionError("no run came to its first epoch")


@pytest.fixture
def unavailable(tmp_path: Path, trouble: None) -> str:
    """A sweep that needs no process, since its loader cannot run."""
    block = 'loader = "trouble"\ndataset = "digits"\noptions = {kind = "unavailable"}'
    return str(write(tmp_path / "some.toml", block, repeats=3))


def test_what_is_finished_is_kept_unless_it_is_to_be_fresh(
    bench: Bench, tmp_path: Path, unavailable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "results" / "runs" / "small"  # of the sweep's name
    done = bench("sweep", unavailable)
    assert (done.code, "small: 3 unavailable; " in done.out) == (0, True)
    kept = {path: state(path) for path in out.glob("*.json")}
    assert len(kept) == 3
    done = bench("sweep", unavailable, "--out", str(out))
    assert (done.code, "small: 3 finished before; " in done.out) == (0, True)
    assert {path: state(path) for path in kept} == kept
    other = write_record(a_record(), out)
    done = bench("sweep", unavailable, "--fresh")
    assert (done.code, "small: 3 unavailable; " in done.out) == (0, True)
    assert "1 other records stay" in done.out
    assert "1 record from elsewhere (other cpu, " in done.out
    assert all(state(path) != kept[path] for path in kept)
    assert other.exists()


def test_a_limit_makes_other_runs(bench: Bench, unavailable: str) -> None:
    assert bench("sweep", unavailable, "--out", str(bench.out), "--limit", "8").code == 0
    assert [record.config.limit for record in records_in(bench.out)] == [8, 8, 8]
    refused(bench("sweep", unavailable, "--limit", "0"), 2, "--limit")


def test_what_could_not_run_is_tried_once_it_can(bench: Bench, tmp_path: Path) -> None:
    file = write(tmp_path / "some.toml", 'loader = "memory"\ndataset = "digits"')
    (run,) = make_plan(read_sweep(file), Folders(bench.data, bench.data / "stores")).runs
    record = empty_record(run, "unavailable", "told to be", ENVIRONMENT, now())
    write_record(record, bench.out)
    (bench.data / "stores").mkdir(parents=True)
    (bench.data / "stores" / "digits-limit16").write_text("in the way")
    done = bench("sweep", str(file), "--out", str(bench.out))
    assert (done.code, "small: 1 failed; " in done.out) == (1, True)
    assert "--store-dir" in (records_in(bench.out)[0].error or "")


@pytest.mark.cuda
def test_a_gpu_is_left_to_the_runs(bench: Bench, tmp_path: Path) -> None:
    head = HEAD.replace('device = "cpu"\n', "")
    file = write(tmp_path / "some.toml", 'loader = ["memory", "gpu_mmap"]\ndataset = "digits"', head=head)
    place = Place(tmp_path)
    with place.started(file) as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert [record.environment["device"] for record in records_in(place.out)] == ["cuda", "cuda"]
    assert (place.out / "logs" / "the-machine.log").exists()


def test_a_wrong_file_is_refused_in_one_sentence(bench: Bench, tmp_path: Path) -> None:
    file = write(tmp_path / "some.toml", 'loader = "nosuch"\ndataset = "digits"')
    refused(bench("sweep", str(file)), 2, "some.toml, line 14", "no loader is called 'nosuch'")
    refused(bench("sweep", str(tmp_path / "nosuch.toml")), 2, "cannot read", "nosuch.toml")
    missing = write(tmp_path / "other.toml", 'loader = "memory"\ndataset = "cifar10"')
    refused(bench("sweep", str(missing), "--out", str(bench.out)), 1, "bench fetch cifar10")


def test_what_no_store_can_hold_stops_the_sweep_before_any_run(bench: Bench, tmp_path: Path) -> None:
    file = write(tmp_path / "some.toml", 'loader = "memory"\ndataset = "digits"\noptions = {encoding = "jpeg"}')
    done = bench("sweep", str(file), "--out", str(bench.out))
    refused(done, 2, "digits-limit16/memory-encoding=jpeg", "no JPEG originals")
    assert records_in(bench.out) == []


def test_a_store_that_cannot_be_used_fails_its_runs_alone(bench: Bench, tmp_path: Path) -> None:
    prepared(bench, "memory")
    os.truncate(bench.data / "stores" / "cifar10-limit16" / "memory" / "train.pixels", 100)
    file = write(tmp_path / "some.toml", 'loader = "memory"\ndataset = "cifar10"', repeats=2)
    done = bench("sweep", str(file), "--out", str(bench.out))
    assert done.code == 1
    assert "small: 2 failed; " in done.out
    for record in records_in(bench.out):
        assert "STORES/cifar10-limit16/memory" in (record.error or "")
        assert "train.pixels" in (record.error or "")


def test_a_dry_run_shows_the_plan_and_makes_nothing(bench: Bench, tmp_path: Path, trouble: None) -> None:
    file = write(
        tmp_path / "some.toml",
        'loader = ["memory", "filesystem"]\ndataset = "cifar10"',
        'loader = "memory"\ndataset = "digits"\nworkers = [0, 2]\noptions = {encoding = "raw", nosuch = 1}\n'
        "skip_unfitting = true",
        'loader = "trouble"\ndataset = "cifar10"\noptions = {kind = "unavailable"}',
        head="time_limit_s = 300\n" + SHARED + '[[data]]\ndataset = "cifar10"\nsynthetic = true\nfraction = 0.01\n',
        repeats=2,
    )
    command = ("sweep", str(file), "--dry-run", "--out", str(bench.out))
    done = bench(*command)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "3 runs in each of 2 rounds:"
    assert lines[1:4] == [
        "   1  memory cifar10: unknown, there is no earlier record",
        "   2  filesystem cifar10: unknown, there is no earlier record",
        "   3  trouble kind=unavailable cifar10: unavailable: told to be",
    ]
    assert "left out: loader memory has no option 'nosuch'" in done.out
    rounds = [line.split() for line in lines if line.startswith("round")]
    assert [(number, sorted(order)) for _, number, *order in rounds] == [(f"{n}:", ["1", "2", "3"]) for n in (1, 2)]
    for words in (
        "unknown how long in all: 2 runs of each round have no earlier record in the folder",
        "a twin of cifar10 of fraction 0.01 would be made",
        "it would end after 5 min, and what is not done by then be left",
    ):
        assert words in lines or words in done.out, words
    assert not bench.out.exists()
    assert not bench.data.exists()
    memory = make_plan(read_sweep(file), Folders(bench.data, bench.data / "stores")).cells[0]
    write_record(a_record(config=memory.config.model_dump()), bench.out)
    done = bench(*command)
    assert "   1  memory cifar10: known" in done.out.splitlines()
    assert "about 2 min in all, by earlier records of such runs in the folder" in done.out.splitlines()


# Sweeps whose runs share a process, and sweeps whose time is limited


def swept(bench: Bench, file: Path, out: Path) -> Plan:
    """Do a sweep here, without its report, which takes longer."""
    folders = Folders(bench.data, bench.data / "stores")
    plan = make_plan(read_sweep(file), folders)
    with Screen(Console(file=io.StringIO())) as screen:
        sweep = Sweep(read_sweep(file), plan, folders, out, screen)
        sweep.run(fresh=False)
    assert sweep.failed == []
    return plan


def test_runs_of_a_round_share_a_process_and_measure_the_same(bench: Bench, tmp_path: Path) -> None:
    prepared(bench, "memory", "mmap")
    head, out = SHARED.replace("threads = 1\n", ""), tmp_path / "shared"
    blocks = [f'loader = "{loader}"\ndataset = "cifar10"\nthreads = {n}' for loader, n in (("memory", 2), ("mmap", 1))]
    plan = swept(bench, write(tmp_path / "shared.toml", *blocks, head=head, repeats=2), out)
    records = {record.run_id: record for record in records_in(out)}
    for members in plan.rounds:
        first, second = (records[run.config.run_id] for run in members)
        assert (first.flags, second.flags) == ([], [FLAG])  # the first had the process fresh
    for run_id in records:
        assert (out / "logs" / f"{run_id}.log").read_text().startswith("epoch 0")
    notes = [note for table in tables(records.values()) for note in table.notes]
    assert any(FLAG in str(note) for note in notes)

    usual = torch.get_num_threads()
    for loader, threads in (("memory", "2"), ("mmap", "1")):  # as without a sweep
        small = ("--epochs", "1", "--ceiling-steps", "1", "--rate-batches", "1", "--limit", "16", "--device", "cpu")
        assert bench("run", loader, "cifar10", "--threads", threads, *small).code == 0
    torch.set_num_threads(usual)
    for record in records_in(bench.out):
        other = records[record.run_id]
        assert record.digest == other.digest
        assert [e.train_loss for e in record.epochs] == [e.train_loss for e in other.epochs]
        assert record.environment["threads"] == other.environment["threads"] == record.config.threads


def test_a_failure_costs_one_run_and_the_others_get_another_process(
    bench: Bench, tmp_path: Path, trouble: None
) -> None:
    prepared(bench, "trouble")
    kinds = ", ".join(f'{{kind = "{kind}"}}' for kind in ("none", "raise", "segfault"))
    file = write(tmp_path / "some.toml", f'loader = "trouble"\ndataset = "cifar10"\noptions = [{kinds}]', head=SHARED)
    done = bench("sweep", str(file), "--out", str(bench.out))
    assert done.code == 1
    assert "small: 1 ok, 2 failed; " in done.out
    records = {record.config.options["kind"]: record for record in records_in(bench.out)}
    assert {kind: record.status for kind, record in records.items()} == {
        "none": "ok",
        "raise": "failed",
        "segfault": "failed",
    }
    assert (records["raise"].error or "").endswith("was lost")
    assert records["segfault"].error == "killed by signal 11 (SIGSEGV)"
    assert "about to read address 0" in (records["segfault"].log or "")
    assert "about to read" not in (records["raise"].log or "")  # each has its own log
    assert all(str(tmp_path) not in record.model_dump_json() for record in records.values())
    assert all_gone(str(bench.data)) == []


def test_a_sweep_ends_with_its_time(bench: Bench, tmp_path: Path, trouble: None) -> None:
    prepared(bench, "trouble")
    block = 'loader = "trouble"\ndataset = "cifar10"\noptions = [{kind = "hang"}, {kind = "unavailable"}]'
    file = write(tmp_path / "some.toml", block, head=f"time_limit_s = 3\n{HEAD}", repeats=2)
    done = bench("sweep", str(file), "--out", str(bench.out))
    assert done.code == 0, done.err
    assert "small: 2 unavailable, 2 not done; " in done.out
    for number in (1, 2):
        assert f"not done: trouble kind=hang cifar10, round {number}: the sweep's time of 3 s is over" in done.out
    assert {record.status for record in records_in(bench.out)} == {"unavailable"}
    assert all_gone(str(bench.data)) == []
