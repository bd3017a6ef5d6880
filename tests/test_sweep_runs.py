"""Whole sweeps with real processes: runs that go well, crash, hang, lose their server or are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.records import Foreign, Record, read_records, write_record
from bench.sweep.config import read_sweep
from bench.sweep.lost import now, record_of
from bench.sweep.plan import Folders, make_plan
from tests.command import Bench, Done
from tests.record_samples import ENVIRONMENT, a_record
from tests.sweeps import HEAD, all_gone, install, make_twin, write
from tests.test_bad_input import refused, servers
from tests.trouble_loader import OVER


class Place(NamedTuple):
    """A data folder and a folder of records."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(self, file: Path) -> subprocess.Popen[str]:
        """A sweep in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "bench", "sweep", str(file), "--out", str(self.out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "BENCH_DATA": str(self.folder / "data")},
        )

    def records(self) -> dict[str, Record]:
        """By loader and options."""
        return {
            " ".join([record.config.loader, *map(str, record.config.options.values())]): record
            for record in records_in(self.out)
        }


def records_in(folder: Path) -> list[Record]:
    """All records; other files are left alone."""
    return [item[1] for item in read_records(folder) if not isinstance(item, Foreign)]


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


def state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def prepared(bench: Bench, loader: str) -> None:
    """The store of a small run, made here: another process takes seconds to start."""
    make_twin(bench.data)
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
    process = place.start(file)
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


UNAVAILABLE = 'loader = "trouble"\ndataset = "digits"\noptions = {kind = "unavailable"}'


def test_what_is_finished_is_kept_unless_it_is_to_be_fresh(bench: Bench, tmp_path: Path, trouble: None) -> None:
    file = write(tmp_path / "some.toml", UNAVAILABLE, repeats=3)
    command = ("sweep", str(file), "--out", str(bench.out))
    done = bench(*command)
    assert (done.code, "small: 3 unavailable; " in done.out) == (0, True)
    kept = {path: state(path) for path in bench.out.glob("*.json")}
    assert len(kept) == 3
    done = bench(*command)
    assert (done.code, "small: 3 finished before; " in done.out) == (0, True)
    assert {path: state(path) for path in kept} == kept
    other = write_record(a_record(), bench.out)
    done = bench(*command, "--fresh")
    assert (done.code, "small: 3 unavailable; " in done.out) == (0, True)
    assert "1 other records stay" in done.out
    assert "1 record from elsewhere (other cpu, " in done.out
    assert all(state(path) != kept[path] for path in kept)
    assert other.exists()


def test_what_could_not_run_is_tried_once_it_can(bench: Bench, tmp_path: Path) -> None:
    file = write(tmp_path / "some.toml", 'loader = "memory"\ndataset = "digits"')
    (run,) = make_plan(read_sweep(file), Folders(bench.data, bench.data / "stores")).runs
    record = record_of(run, "unavailable", "told to be", ENVIRONMENT, now())
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
    process = place.start(file)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert [record.environment["device"] for record in records_in(place.out)] == ["cuda", "cuda"]
    assert (place.out / "logs" / "the-machine.log").exists()


def test_a_limit_makes_other_runs(bench: Bench, tmp_path: Path, trouble: None) -> None:
    file = write(tmp_path / "some.toml", UNAVAILABLE)
    for arguments in ((), ("--limit", "8")):
        assert bench("sweep", str(file), "--out", str(bench.out), *arguments).code == 0
    assert sorted(record.config.limit or 0 for record in records_in(bench.out)) == [8, 16]
    refused(bench("sweep", str(file), "--limit", "0"), 2, "--limit")


def test_records_go_to_a_folder_of_the_sweep_s_name(
    bench: Bench, tmp_path: Path, trouble: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "some.toml", UNAVAILABLE)
    monkeypatch.chdir(tmp_path)
    assert bench("sweep", str(file)).code == 0
    assert len(records_in(tmp_path / "results" / "runs" / "small")) == 1


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


def test_a_dry_run_shows_the_plan_and_makes_nothing(bench: Bench, tmp_path: Path) -> None:
    file = write(
        tmp_path / "some.toml",
        'loader = ["memory", "filesystem"]\ndataset = "cifar10"',
        'loader = "memory"\ndataset = "digits"\nworkers = [0, 2]\noptions = {encoding = "raw", nosuch = 1}\n'
        "skip_unfitting = true",
        head=HEAD + '[[data]]\ndataset = "cifar10"\nsynthetic = true\nfraction = 0.01\n',
        repeats=2,
    )
    done = bench("sweep", str(file), "--dry-run", "--out", str(bench.out))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "2 runs in each of 2 rounds:"
    assert lines[1].startswith("   1  memory cifar10: about ")
    assert "left out: loader memory has no option 'nosuch'" in done.out
    assert {line for line in lines if line.startswith("round")} <= {
        f"round {n}: {o}" for n in (1, 2) for o in ("1 2", "2 1")
    }
    assert "training steps timed on this machine" in done.out
    assert "a twin of cifar10 of fraction 0.01 would be made" in done.out
    assert not bench.out.exists()
    assert not bench.data.exists()
