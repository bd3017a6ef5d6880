"""What a sweep is made of, part by part: processes and their ends, the data it needs, estimates, and what it shows."""

from __future__ import annotations

import gc
import getpass
import io
import json
import os
import platform
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from bench.config import RunConfig
from bench.errors import BenchError, DataError, UsageError
from bench.measure.environment import environment
from bench.records import Record, write_record
from bench.sources.registry import open_source
from bench.sweep import folder as folders
from bench.sweep import process as processes
from bench.sweep.config import read_sweep
from bench.sweep.data import missing_twins
from bench.sweep.estimate import START_S, Durations, together_s
from bench.sweep.folder import Folder, elsewhere
from bench.sweep.job import EnvironmentTask, Job, TwinTask, clean_up, perform
from bench.sweep.outcome import empty_record, judged, log_tail, now, reason
from bench.sweep.plan import Folders, Run, make_plan
from bench.sweep.process import Ended, oom_kills, started
from bench.sweep.screen import Screen, duration
from tests.record_samples import ENVIRONMENT, a_record
from tests.sweeps import a_plan, all_gone

HANGING = """
import os, signal, subprocess, sys, time
if sys.argv[-1] != "child":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)", "child"])
    print("bench: hanging", flush=True)
    time.sleep(1000)
"""


def a_run(folder: Path, loader: str = "memory", options: str = "{}") -> Run:
    return a_plan(folder, f'loader = "{loader}"\ndataset = "digits"\noptions = {options}').runs[0]


def ended(**changes: Any) -> Ended:
    return Ended(**{"code": 0, "timed_out": False, "out_of_memory": False, "gone": True, **changes})


def exit_code(work: Callable[[], object]) -> int:
    """Of a child of this process that does the work."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Processes


def test_a_process_that_will_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    folder = Folder(tmp_path)
    with started(TwinTask(dataset="cifar10", fraction=1.0, data=tmp_path), folder, "log") as process:
        while not folder.log("log").read_text():
            assert list(process.notes(0.1)) == []
    assert process.ended == Ended(-signal.SIGKILL, timed_out=True, out_of_memory=False, gone=True)
    assert folder.log("log").read_text() == "bench: hanging\n"
    assert all_gone(str(tmp_path)) == []


def test_a_lock_is_free_when_the_last_heir_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "PATIENCE_S", 0.1)
    folder = Folder(tmp_path)
    with folder.inherited_lock() as descriptor:
        os.set_inheritable(descriptor, True)
        heir = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {"MARK": str(tmp_path)})
    try:
        assert not folder.processes_ended()
        with pytest.raises(BenchError, match=r"an earlier sweep into .* does not end"), folder.locked():
            pass
    finally:
        os.kill(heir, signal.SIGKILL)
        os.waitpid(heir, 0)
    assert folder.processes_ended()


def test_a_process_of_a_sweep_that_is_gone_does_nothing(tmp_path: Path) -> None:
    task = TwinTask(dataset="digits", fraction=1, data=tmp_path)
    assert exit_code(lambda: perform(Job(sweep=1, notes=1, task=task).model_dump_json())) == 1
    with pytest.raises(UsageError, match="for `bench sweep` alone"):
        perform('{"sweep": 1, ')


def test_the_machine_is_described_as_records_have_it(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    task = EnvironmentTask(device="cpu", stores=tmp_path)
    job = Job(sweep=os.getpid(), notes=writer, task=task).model_dump_json()
    assert exit_code(lambda: perform(job)) == 0
    os.close(writer)
    with os.fdopen(reader) as notes:
        assert json.loads(notes.read()).keys() == environment(torch.device("cpu"), tmp_path).keys()


def test_what_a_run_leaves_to_the_next_is_set_back() -> None:
    threads, seed, state = torch.get_num_threads(), torch.initial_seed(), torch.get_rng_state()
    torch.manual_seed(seed)
    drawn = torch.rand(3)
    torch.set_num_threads(threads + 1)
    torch.manual_seed(7)
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    clean_up(threads, seed)
    assert (torch.get_num_threads(), torch.initial_seed()) == (threads, seed)
    assert torch.equal(torch.rand(3), drawn)
    assert gc.collect() == 0
    torch.set_rng_state(state)


EVENTS = "low 0\nhigh 0\nmax 4\noom 3\noom_kill 2\noom_group_kill 0\n"
VMSTAT = "nr_free_pages 100\noom_kill 7\npgfault 3\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"


def test_kills_for_lack_of_memory_are_counted(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, str], int | None]] = [
        ({"proc/self/cgroup": "0::/user/me\n", "sys/fs/cgroup/user/me/memory.events": EVENTS}, 2),
        ({"proc/self/cgroup": "0::/../outside\n", "sys/fs/cgroup/memory.events": EVENTS, "proc/vmstat": VMSTAT}, 2),
        (
            {
                "proc/self/cgroup": "5:cpu:/a\n4:memory:/b\n0::/\n",
                "sys/fs/cgroup/memory/b/memory.oom_control": V1,
            },
            5,
        ),
        ({"proc/self/cgroup": "0::/\n", "proc/vmstat": VMSTAT}, 7),
        ({"proc/vmstat": "nr_free_pages 100\n"}, None),
        ({}, None),
    ]
    for number, (files, kills) in enumerate(cases):
        root = tmp_path / str(number)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert oom_kills(root) == kills, files


# Records of runs whose process has ended


def test_a_lost_run_says_why() -> None:
    for how, log, words in (
        (ended(code=-11), "bench: something\n", "signal 11 (SIGSEGV)"),
        (ended(code=-9, out_of_memory=True), "", "out of memory"),
        (ended(code=-15, timed_out=True), "", "timed out: ended after 60 s"),
        (ended(code=2), "warning\nbench: one\nbench: the last\nmore", "the last"),
        (ended(code=3), "nothing of ours", "exit code 3"),
    ):
        assert words in reason(how, log, 60.0)


def test_a_record_tells_how_its_process_ended(tmp_path: Path) -> None:
    run = a_run(tmp_path)

    def judge(own: Any, **how: Any) -> tuple[str | None, list[str], str | None]:
        record = judged(run, own, ended(**how), "the log", 60.0, ENVIRONMENT, now())
        return record.error, record.flags, record.log

    assert judge(a_record()) == (None, [], None)
    assert judge(a_record(), code=-11)[1] == ["its process did not end well: killed by signal 11 (SIGSEGV)"]
    assert "still there half a minute" in judge(a_record(), gone=False)[1][0]
    failed = a_record(status="failed", error="a worker was lost")
    assert judge(failed, code=1) == ("a worker was lost", [], "the log")
    assert "lost; meanwhile the system killed a process" in (judge(failed, code=1, out_of_memory=True)[0] or "")
    assert judge(None, code=-9) == ("killed by signal 9 (SIGKILL)", [], "the log")


def test_a_log_is_published_without_folders_names_and_secrets(tmp_path: Path) -> None:
    run = a_run(tmp_path, "postgres", '{dsn = "postgresql://someone:hunter2@db.example.org/bench"}')
    log = tmp_path / "log"
    first = "first line\n" * 1000
    log.write_text(
        f'{first}  File "{tmp_path}/data/digits/x.bin", line 1\n  File "/usr/lib/python3/site.py", line 2\n'
        f"see {Path.home()}/notes and {tmp_path}/stores/digits, on {platform.node()} as {getpass.getuser()}-\n"
        "someone:hunter2@db.example.org said 1/2 of http://example.org/a/b\n"
    )
    tail = log_tail(log, run)
    for hidden in (str(tmp_path), "/usr/lib", str(Path.home()) + "/", platform.node(), "hunter2", "db.example.org"):
        assert hidden not in tail
    for kept in ('"…/site.py", line 2', "DATA/digits/x.bin", "STORES/digits", "1/2 of http://example.org/a/b"):
        assert kept in tail
    assert len(tail.splitlines()) == 60
    assert log_tail(tmp_path / "nosuch", run) == ""


def test_a_lost_run_s_record_stands_with_its_like(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    record = empty_record(run, "failed", "lost", {**ENVIRONMENT, "gpu": {"name": "G"}}, now())
    assert record.run_id == run.config.run_id
    assert (record.environment["threads"], record.environment["gpu"]) == (1, None)
    assert record.dataset is not None
    assert (record.dataset.train, record.dataset.test, record.dataset.limit) == (16, 16, 16)
    assert write_record(record, tmp_path).exists()


# Data


DATA = 'name = "x"\n[[data]]\ndataset = "cifar10"\n{}[[matrix]]\nloader = "mmap"\ndataset = "cifar10"\n'
TWIN = "synthetic = true\nfraction = 0.002\n"


def wanted_twins(folder: Path, text: str) -> list[str]:
    (folder / "x.toml").write_text(text)
    file = read_sweep(folder / "x.toml")
    folders = Folders(folder / "data", folder / "stores")
    return [twin.dataset for twin in missing_twins(file, make_plan(file, folders).cells, folders)]


def test_a_missing_twin_is_made_and_missing_data_is_not(tmp_path: Path) -> None:
    assert wanted_twins(tmp_path, DATA.format(TWIN)) == ["cifar10"]
    with pytest.raises(DataError, match="bench fetch cifar10"):
        wanted_twins(tmp_path, DATA.format(""))
    with pytest.raises(DataError, match="bench fetch cifar10"):
        wanted_twins(tmp_path, DATA.format("").replace('[[data]]\ndataset = "cifar10"\n', ""))


def test_data_of_another_kind_is_refused(tmp_path: Path) -> None:
    open_source("cifar10", tmp_path / "data").make_twin(0.002, lambda *_: None)
    assert wanted_twins(tmp_path, DATA.format(TWIN)) == []
    assert wanted_twins(tmp_path, DATA.replace('[[data]]\ndataset = "cifar10"\n{}', "")) == []
    with pytest.raises(UsageError, match=r"holds a twin of fraction 0.002 and the sweep wants a twin of fraction 0.1"):
        wanted_twins(tmp_path, DATA.format(TWIN).replace("0.002", "0.1"))
    with pytest.raises(UsageError, match=r"holds a twin of fraction 0.002 and the sweep wants the files themselves"):
        wanted_twins(tmp_path, DATA.format(""))
    digits = DATA.format(TWIN).replace("cifar10", "digits")
    with pytest.raises(UsageError, match="holds files that are not a twin"):
        wanted_twins(tmp_path, digits)


def test_a_damaged_mark_of_a_twin_is_named(tmp_path: Path) -> None:
    open_source("cifar10", tmp_path / "data").make_twin(0.002, lambda *_: None)
    (marker,) = (tmp_path / "data").rglob("SYNTHETIC.json")
    for content in ("{", "[]", "{}", '{"fraction": "much"}'):
        marker.write_text(content)
        with pytest.raises(DataError, match=r"SYNTHETIC.json is damaged; remove .*, and the twin is made anew"):
            wanted_twins(tmp_path, DATA.format(TWIN))


def test_data_that_makes_no_sense_is_placed(tmp_path: Path) -> None:
    for name, words in (
        ("cifar10", "cifar10 has been described"),
        ("digits", "no run of the matrix uses digits"),
        ("nosuch", "no dataset is called 'nosuch'"),
    ):
        text = DATA.format("").replace("[[matrix]]", f'[[data]]\ndataset = "{name}"\n[[matrix]]')
        with pytest.raises(UsageError, match=f"line 5: {words}"):
            wanted_twins(tmp_path, text.replace("\n\n", "\n"))


# Estimates, folders and what is shown


def config(**changes: Any) -> RunConfig:
    return RunConfig(**{"loader": "mmap", "dataset": "digits", "device": "cpu", **changes})


def test_durations_are_those_of_the_same_run_then_of_its_kind() -> None:
    known = Durations([a_record(), a_record(status="failed"), a_record(config={"command": "rate"})])
    assert known.known(config(repeat=3, seed=4)) == 60 + START_S
    assert known.known(config(loader="hdf5")) == 60 + START_S
    assert known.known(config(epochs=9)) is None
    assert known.guess(config(epochs=9)) == 60 + START_S
    for seconds in (10.0, 20.0, 60.0):
        known.add(config(loader="hdf5"), seconds)
    assert known.known(config(loader="hdf5")) == 20
    assert Durations().guess(config()) is None


def test_runs_that_go_on_at_the_same_time_count_once() -> None:
    def spans(repeat: int, *minutes: tuple[int, int]) -> list[Record]:
        times = [[f"2026-01-01T00:{minute:02}:00+00:00" for minute in pair] for pair in minutes]
        return [a_record(config={"repeat": repeat}, started_at=a, finished_at=b) for a, b in times]

    assert together_s(spans(0, (0, 4), (1, 3), (2, 6), (10, 12))) == START_S + 8 * 60
    assert together_s([*spans(0, (0, 4)), *spans(1, (20, 22))]) == START_S + 3 * 60


def test_records_from_elsewhere_are_told(tmp_path: Path) -> None:
    assert elsewhere([], ENVIRONMENT) is None
    assert elsewhere([a_record(), a_record(environment={"threads": 1, "load_average": [9, 9, 9]})], ENVIRONMENT) is None
    told = elsewhere([a_record(), a_record(environment={"cpu": "X", "ram_bytes": 1})], ENVIRONMENT)
    assert told is not None
    assert told.startswith("1 record from elsewhere (other cpu, ram)")
    grown = [{**ENVIRONMENT, "virtual": True, "ram_bytes": size * 10**9} for size in (16, 64)]
    assert elsewhere([a_record(environment=grown[0])], grown[1]) is None
    assert elsewhere([a_record(environment={"packages": {"torch": "1.0"}})] * 2, ENVIRONMENT) is not None
    assert elsewhere([a_record(environment={"device": "cuda", "gpu": {"name": "G"}})], ENVIRONMENT) is None
    gpu = {**ENVIRONMENT, "device": "cuda", "gpu": {"name": "H"}}
    assert elsewhere([a_record(environment={"device": "cuda", "gpu": {"name": "G"}})], gpu) is not None


def test_a_folder_that_another_sweep_has_is_refused(tmp_path: Path) -> None:
    first, second = Folder(tmp_path / "out"), Folder(tmp_path / "out")
    with first.locked(), pytest.raises(UsageError, match="another sweep is running"), second.locked():
        pass
    with second.locked():
        pass
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BenchError, match="--out"), Folder(tmp_path / "file").locked():
        pass


def test_a_folder_tells_records_from_other_files(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.records() == ({}, [])
    write_record(a_record(), tmp_path)
    write_record(a_record(), tmp_path / "below")  # of another sweep
    (tmp_path / "torn.json").write_text('{"schema_version": 2, ')
    (tmp_path / ".0123456789abcdef.99.partial").write_text("half")
    records, foreign = folder.records()
    assert list(records) == ["0123456789abcdef"]
    assert [item.path.name for item in foreign] == ["torn.json"]
    with folder.locked():
        assert not list(tmp_path.glob("*.partial"))
    folder.log("x").parent.mkdir()
    folder.log("x").write_text("old")
    folder.forget(["0123456789abcdef"])
    assert (folder.records()[0], folder.log("x").exists(), (tmp_path / "torn.json").exists()) == ({}, False, True)


def test_times_are_told_as_people_do() -> None:
    times = {0: "0 s", 99: "99 s", 150: "2 min", 3600: "60 min", 7300: "2 h", 200_000: "2.3 days"}
    assert {seconds: duration(seconds) for seconds in times} == times


def shown(*, terminal: bool) -> str:
    text = io.StringIO()
    with Screen(Console(file=text, force_terminal=terminal, width=100, highlight=False, _environ={})) as screen:
        screen.say("a line with [brackets]")
        screen.done(3, 12, 90.0)
        screen.doing("hdf5 [x]")
    return text.getvalue()


def test_a_terminal_has_a_bar_and_other_places_have_lines_alone() -> None:
    assert shown(terminal=False) == "a line with [brackets]\n"
    live = shown(terminal=True)
    for words in ("a line with [brackets]", "3/12", "about 90 s left, hdf5 [x]"):
        assert words in live
