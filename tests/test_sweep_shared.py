"""Sweeps whose runs share a process, and sweeps whose time is limited."""

from __future__ import annotations

import gc
import io
import os
from pathlib import Path

import pytest
import torch
from rich.console import Console

from bench.errors import BenchError
from bench.records import Foreign, Record, read_records
from bench.report.tables import tables
from bench.run.runner import FILLING
from bench.sweep.attempt import Clock
from bench.sweep.config import read_sweep
from bench.sweep.engine import Sweep
from bench.sweep.plan import Folders, Plan, make_plan
from bench.sweep.screen import Screen
from bench.sweep.together import FLAG, Marks, Usual, do_together, print_into, read_marks
from tests.command import Bench
from tests.sweeps import HEAD, all_gone, install, make_twin, write
from tests.test_sweep_parts import a_run

SHARED = 'process = "shared"\n' + HEAD


def records_in(folder: Path) -> dict[str, Record]:
    """By what tells the runs apart."""
    found = [item[1] for item in read_records(folder) if not isinstance(item, Foreign)]
    return {f"{r.config.loader} {r.config.options.get('kind', r.config.threads)} {r.config.repeat}": r for r in found}


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "packages", monkeypatch, trouble="tests.trouble_loader:TroubleFormat")


def prepared(bench: Bench, *loaders: str) -> None:
    """Stores of a small run, made here: another process takes seconds to start."""
    make_twin(bench.data)
    for loader in loaders:
        assert bench("prepare", loader, "cifar10", "--limit", "16").code == 0


def swept(bench: Bench, file: Path, out: Path) -> tuple[Plan, dict[str, Record]]:
    """Do a sweep here, without its report, which takes longer."""
    folders = Folders(bench.data, bench.data / "stores")
    plan = make_plan(read_sweep(file), folders)
    with Screen(Console(file=io.StringIO())) as screen:
        sweep = Sweep(read_sweep(file), plan, folders, out, screen)
        sweep.run(fresh=False)
    assert sweep.summary().failed == []
    return plan, records_in(out)


def test_runs_of_a_round_share_a_process_and_measure_the_same(bench: Bench, tmp_path: Path) -> None:
    prepared(bench, "memory", "mmap")
    block = 'loader = ["memory", "mmap"]\ndataset = "cifar10"\nthreads = [1, 2]'
    file = write(tmp_path / "shared.toml", block, head=SHARED.replace("threads = 1\n", ""))
    plan, found = swept(bench, file, tmp_path / "shared")
    assert len(found) == 4
    usual = torch.get_num_threads()
    for loader, threads in (("memory", "2"), ("mmap", "1")):  # as without a sweep
        small = ("--epochs", "1", "--ceiling-steps", "1", "--rate-batches", "1", "--limit", "16", "--device", "cpu")
        assert bench("run", loader, "cifar10", "--threads", threads, *small).code == 0
    torch.set_num_threads(usual)
    for name, record in records_in(bench.out).items():
        other = found[name]
        assert (record.digest, record.run_id) == (other.digest, other.run_id)
        assert [e.train_loss for e in record.epochs] == [e.train_loss for e in other.epochs]
        assert record.environment["threads"] == other.environment["threads"] == record.config.threads
    by_id = {record.run_id: record for record in found.values()}
    (members,) = plan.rounds
    assert [by_id[run.config.run_id].flags for run in members] == [[], [FLAG], [FLAG], [FLAG]]  # the first had it fresh
    for run in members:
        assert (tmp_path / "shared" / "logs" / f"{run.config.run_id}.log").read_text().startswith("epoch 0")
    told = [note for table in tables(found.values()) for note in table.notes]
    assert any(FLAG in note for note in told)


def test_each_round_has_a_process_of_its_own(bench: Bench, tmp_path: Path) -> None:
    prepared(bench, "memory")
    file = write(tmp_path / "some.toml", 'loader = "memory"\ndataset = "cifar10"', head=SHARED, repeats=2)
    _, found = swept(bench, file, bench.out)
    assert [record.flags for record in found.values()] == [[], []]


def test_a_failure_costs_one_run_and_the_others_get_another_process(
    bench: Bench, tmp_path: Path, trouble: None
) -> None:
    prepared(bench, "trouble")
    kinds = ", ".join(f'{{kind = "{kind}"}}' for kind in ("none", "raise", "segfault", "hang"))
    block = f'loader = "trouble"\ndataset = "cifar10"\noptions = [{kinds}]'
    head = SHARED.replace("timeout_s = 250", "timeout_s = 15")
    file = write(tmp_path / "some.toml", block, head=head)
    done = bench("sweep", str(file), "--out", str(bench.out))
    assert done.code == 1
    assert "small: 1 ok, 3 failed; " in done.out
    found = {name.split()[1]: record for name, record in records_in(bench.out).items()}
    assert {kind: record.status for kind, record in found.items()} == {
        **dict.fromkeys(("raise", "segfault", "hang"), "failed"),
        "none": "ok",
    }
    assert (found["raise"].error or "").endswith("was lost")
    assert found["segfault"].error == "killed by signal 11 (SIGSEGV)"
    assert "about to read address 0" in (found["segfault"].log or "")
    assert "about to read" not in (found["raise"].log or "")  # each has its own log
    assert found["hang"].error == "timed out: ended after 15 s; raise timeout_s if it needs longer"
    assert all(str(tmp_path) not in record.model_dump_json() for record in found.values())
    assert all_gone(str(bench.data)) == []


@pytest.mark.parametrize("process", ["own", "shared"])
def test_a_sweep_ends_with_its_time(bench: Bench, tmp_path: Path, trouble: None, process: str) -> None:
    prepared(bench, "trouble")
    block = 'loader = "trouble"\ndataset = "cifar10"\noptions = [{kind = "hang"}, {kind = "unavailable"}]'
    file = write(tmp_path / "some.toml", block, head=f'process = "{process}"\ntime_limit_s = 3\n{HEAD}', repeats=2)
    done = bench("sweep", str(file), "--out", str(bench.out))
    assert done.code == 0, done.err
    assert "small: 2 unavailable, 2 not done; " in done.out
    for number in (1, 2):
        assert f"not done: trouble kind=hang cifar10, round {number}: the sweep's time of 3 s is over" in done.out
    assert {record.status for record in records_in(bench.out).values()} == {"unavailable"}
    assert all_gone(str(bench.data)) == []


def test_a_dry_run_tells_both(bench: Bench, tmp_path: Path, trouble: None) -> None:
    block = 'loader = "trouble"\ndataset = "digits"\noptions = {kind = "unavailable"}'
    file = write(tmp_path / "some.toml", block, head=f"time_limit_s = 300\n{SHARED}")
    done = bench("sweep", str(file), "--dry-run", "--out", str(bench.out))
    assert done.code == 0, done.err
    assert "the runs of a round share a process" in done.out
    assert "it would end after 5 min, and what is not done by then be left" in done.out


# Parts


def test_marks_are_read_as_far_as_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    assert read_marks(path) == Marks([], None)
    path.write_text("begun a\nended a\nbegun b\nend")
    assert read_marks(path) == Marks(["a"], "b")
    path.write_text("begun a\nended a\nbegun b\nended b\nbegun")
    assert read_marks(path) == Marks(["a", "b"], None)


def settings() -> tuple[int, bool, int, bool, bool]:
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = FILLING.fill_uninitialized_memory
    return torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.initial_seed(), deterministic, filled


def test_what_a_run_changes_for_the_process_is_set_back() -> None:
    usual, before = Usual(), settings()
    state = torch.get_rng_state()
    torch.manual_seed(before[2])
    drawn = torch.rand(3)
    torch.set_num_threads(before[0] + 1)
    torch.use_deterministic_algorithms(not before[3])
    torch.backends.cudnn.benchmark = not before[1]
    FILLING.fill_uninitialized_memory = not before[4]
    torch.manual_seed(7)
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    usual.restore()
    assert settings() == before
    assert torch.equal(torch.rand(3), drawn)
    assert gc.collect() == 0
    torch.set_rng_state(state)


def test_nothing_is_done_after_a_failure(tmp_path: Path) -> None:
    """In a child, which sends its output elsewhere."""
    tasks = [a_run(tmp_path, name) for name in ("memory", "mmap", "hdf5")]
    logs, marks = [tmp_path / f"{i}.log" for i in range(3)], tmp_path / "marks"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            print_into(tmp_path / "before.log")

            def do(task: object, flags: object) -> None:
                os.write(1, f"{task.config.loader} {flags}\n".encode())  # type: ignore[attr-defined]
                if task is tasks[1]:
                    raise BenchError("lost")

            do_together(tasks, logs, marks, do)  # type: ignore[arg-type]
        except BenchError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert read_marks(marks) == Marks([tasks[0].config.run_id], tasks[1].config.run_id)
    assert logs[0].read_text() == "memory []\n"
    assert logs[1].read_text() == f"mmap ['{FLAG}']\n"
    assert not logs[2].exists()


def test_a_clock_without_a_limit_never_ends() -> None:
    assert not Clock(None).is_over
    assert Clock(1000).left_s > 900
    assert Clock(0).is_over
