"""What a sweep is made of, part by part: processes and their ends, the data it needs, estimates, and what it tells."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from bench.config import RunConfig
from bench.errors import BenchError, DataError, UsageError
from bench.measure.environment import environment
from bench.records import write_record
from bench.sources.registry import open_source
from bench.sweep import lost
from bench.sweep.calibrate import Workload
from bench.sweep.child import Ended, Hold, run_task
from bench.sweep.config import read_sweep
from bench.sweep.data import missing_twins
from bench.sweep.durations import START_S, Durations
from bench.sweep.estimate import READ_PER_S, Facts, facts_of, run_s
from bench.sweep.folder import Folder, elsewhere
from bench.sweep.job import EnvironmentTask, Job, TwinTask, perform
from bench.sweep.oom import oom_kills
from bench.sweep.plan import Folders, Plan, Run, make_plan
from bench.sweep.screen import Screen, duration
from tests.record_samples import ENVIRONMENT, a_record
from tests.sweeps import HEAD, all_gone, write

HANGING = """
import os, signal, subprocess, sys, time
if sys.argv[-1] != "child":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)", "child"])
    print("bench: hanging", flush=True)
    time.sleep(1000)
"""


def a_plan(folder: Path, *blocks: str, head: str = HEAD, repeats: int = 1) -> Plan:
    file = read_sweep(write(folder / "x.toml", *blocks, head=head, repeats=repeats))
    return make_plan(file, Folders(folder / "data", folder / "stores"))


def a_run(folder: Path, loader: str = "memory", options: str = "{}") -> Run:
    block = f'loader = "{loader}"\ndataset = "digits"\noptions = {options}'
    return a_plan(folder, block).runs[0]


def ended(**changes: Any) -> Ended:
    usual = {"code": 0, "timed_out": False, "out_of_memory": False, "seconds": 1.0, "gone": True}
    return Ended(**{**usual, **changes})


def test_a_process_that_will_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    hold = Hold(tmp_path / "running")
    task = TwinTask(dataset="cifar10", fraction=1.0, data=tmp_path)
    how = run_task(task, tmp_path / "logs" / "log", hold, 1.0, grace_s=0.5)
    assert (how.timed_out, how.code, how.gone) == (True, -signal.SIGKILL, True)
    assert 1.5 <= how.seconds < 30
    assert (tmp_path / "logs" / "log").read_text() == "bench: hanging\n"
    assert all_gone(str(tmp_path)) == []


def test_a_hold_is_free_when_the_last_heir_has_ended(tmp_path: Path) -> None:
    hold = Hold(tmp_path / "running")
    with hold.taken() as descriptor:
        os.set_inheritable(descriptor, True)
        heir = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {"MARK": str(tmp_path)})
    try:
        assert not hold.wait_free(0.1)
    finally:
        os.kill(heir, signal.SIGKILL)
        os.waitpid(heir, 0)
    assert hold.wait_free(0.1)


def test_a_process_of_a_sweep_that_is_gone_does_nothing(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        job = {"sweep": 1, "task": {"task": "twin", "dataset": "digits", "fraction": 1, "data": str(tmp_path)}}
        perform(json.dumps(job), None, print)  # type: ignore[arg-type]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_the_machine_is_described_as_records_have_it(tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    pid = os.fork()
    if pid == 0:
        task = EnvironmentTask(device="cpu", stores=tmp_path, answer=answer)
        perform(Job(sweep=os.getppid(), task=task).model_dump_json(), None, print)  # type: ignore[arg-type]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert json.loads(answer.read_text()).keys() == environment(torch.device("cpu"), tmp_path).keys()


def test_what_is_no_job_is_refused() -> None:
    with pytest.raises(UsageError, match="for `bench sweep` alone"):
        perform('{"sweep": 1, ', None, print)  # type: ignore[arg-type]


EVENTS = "low 0\nhigh 0\nmax 4\noom 3\noom_kill 2\noom_group_kill 0\n"
VMSTAT = "nr_free_pages 100\noom_kill 7\npgfault 3\n"


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({"proc/self/cgroup": "0::/user/me\n", "sys/fs/cgroup/user/me/memory.events": EVENTS}, 2),
        ({"proc/self/cgroup": "0::/../outside\n", "sys/fs/cgroup/memory.events": EVENTS, "proc/vmstat": VMSTAT}, 2),
        (
            {
                "proc/self/cgroup": "5:cpu:/a\n4:memory:/b\n0::/\n",
                "sys/fs/cgroup/memory/b/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
            },
            5,
        ),
        ({"proc/self/cgroup": "0::/\n", "proc/vmstat": VMSTAT}, 7),
        ({"proc/vmstat": "nr_free_pages 100\n"}, None),
        ({}, None),
    ],
)
def test_kills_for_lack_of_memory_are_counted(tmp_path: Path, files: dict[str, str], kills: int | None) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert oom_kills(tmp_path) == kills


@pytest.mark.parametrize(
    ("how", "log", "words"),
    [
        (ended(code=-11), "bench: something\n", "signal 11 (SIGSEGV)"),
        (ended(code=-9, out_of_memory=True), "", "out of memory"),
        (ended(code=-15, timed_out=True), "", "timed out: ended after 60 s"),
        (ended(code=2), "warning\nbench: one\nbench: the last\nmore", "the last"),
        (ended(code=3), "nothing of ours", "exit code 3"),
    ],
)
def test_a_lost_run_says_why(how: Ended, log: str, words: str) -> None:
    assert words in lost.reason(how, log, 60.0)


def test_a_log_is_published_without_folders_names_and_secrets(tmp_path: Path) -> None:
    import getpass
    import platform

    run = a_run(tmp_path, "postgres", '{dsn = "postgresql://someone:hunter2@db.example.org/bench"}')
    log = tmp_path / "log"
    first = "first line\n" * 1000
    log.write_text(
        f'{first}  File "{tmp_path}/data/digits/x.bin", line 1\n  File "/usr/lib/python3/site.py", line 2\n'
        f"see {Path.home()}/notes and {tmp_path}/stores/digits, on {platform.node()} as {getpass.getuser()}-\n"
        "someone:hunter2@db.example.org said 1/2 of http://example.org/a/b\n"
    )
    tail = lost.log_tail(log, run)
    for hidden in (str(tmp_path), "/usr/lib", str(Path.home()) + "/", platform.node(), "hunter2", "db.example.org"):
        assert hidden not in tail
    for kept in ('"…/site.py", line 2', "DATA/digits/x.bin", "STORES/digits", "1/2 of http://example.org/a/b"):
        assert kept in tail
    assert len(tail.splitlines()) == 60
    assert lost.log_tail(tmp_path / "nosuch", run) == ""


def test_a_lost_run_s_record_stands_with_its_like(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    record = lost.record_of(run, "failed", "lost", {**ENVIRONMENT, "gpu": {"name": "G"}}, lost.now())
    assert record.run_id == run.config.run_id
    assert (record.environment["threads"], record.environment["gpu"]) == (1, None)
    assert record.dataset is not None
    assert (record.dataset.train, record.dataset.test, record.dataset.limit) == (16, 16, 16)
    assert write_record(record, tmp_path).exists()


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


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"fraction": "much"}'])
def test_a_damaged_mark_of_a_twin_is_named(tmp_path: Path, content: str) -> None:
    open_source("cifar10", tmp_path / "data").make_twin(0.002, lambda *_: None)
    (marker,) = (tmp_path / "data").rglob("SYNTHETIC.json")
    marker.write_text(content)
    with pytest.raises(DataError, match=r"SYNTHETIC.json is damaged; remove .*, and the twin is made anew"):
        wanted_twins(tmp_path, DATA.format(TWIN))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('[[data]]\ndataset = "cifar10"\n', "line 5: cifar10 has been described"),
        ('[[data]]\ndataset = "digits"\n', "line 5: no run of the matrix uses digits"),
        ('[[data]]\ndataset = "nosuch"\n', "line 5: no dataset is called 'nosuch'"),
    ],
)
def test_data_that_makes_no_sense_is_placed(tmp_path: Path, extra: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        wanted_twins(tmp_path, DATA.format("").replace("[[matrix]]", f"{extra}[[matrix]]").replace("\n\n", "\n"))


def config(**changes: Any) -> RunConfig:
    return RunConfig(**{"loader": "mmap", "dataset": "digits", "device": "cpu", **changes})


def test_durations_are_those_of_the_same_run_then_of_its_kind(tmp_path: Path) -> None:
    known = Durations([a_record(), a_record(status="failed"), a_record(config={"command": "rate"})])
    assert known.known(config(repeat=3, seed=4)) == 60 + START_S
    assert known.known(config(loader="hdf5")) == 60 + START_S
    assert known.known(config(epochs=9)) is None
    assert known.guess(config(epochs=9)) == 60 + START_S
    for seconds in (10.0, 20.0, 60.0):
        known.add(config(loader="hdf5"), seconds)
    assert known.known(config(loader="hdf5")) == 20
    assert Durations().guess(config()) is None


def test_an_estimate_adds_up() -> None:
    facts = Facts(1000, 500, (3, 32, 32), 10)
    run = config(batch_size=100, epochs=2, ceiling_steps=10, rate_batches=3, cache="warm")
    sample_s = {Workload(config=run, shape=facts.shape, classes=10).key: 0.001}
    steps_s = (2 * 1000 + (10 + 6) * 100 + 2 * 500 / 3) * 0.001
    read = 2 * 1500 + 1500 + 1000 + 2 * 3 * 300
    assert run_s(run, facts, 5.0, sample_s) == pytest.approx(5 + steps_s + read / READ_PER_S)
    less = run_s(run.model_copy(update={"limit": 100}), facts, 5.0, sample_s)
    assert (
        less < run_s(run.model_copy(update={"cache": "cold"}), facts, 5.0, sample_s) < 5 + steps_s + read / READ_PER_S
    )


def test_what_missing_data_will_hold_is_known(tmp_path: Path) -> None:
    folders = Folders(tmp_path, tmp_path / "stores")
    assert facts_of("digits", 1.0, folders) == Facts(1437, 360, (3, 32, 32), 10)
    assert facts_of("tiny-imagenet", 0.2, folders) == Facts(20_000, 2_000, (3, 64, 64), 200)
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (150, "2 min"), (3600, "60 min"), (7300, "2 h"), (200_000, "2.3 days")],
)
def test_times_are_told_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def shown(*, terminal: bool) -> str:
    text = io.StringIO()
    with Screen(Console(file=text, force_terminal=terminal, width=100, highlight=False, _environ={})) as screen:
        screen.say("a line with [brackets]")
        screen.progress(3, 12, 90.0)
        screen.doing("hdf5 [x]")
    return text.getvalue()


def test_a_terminal_has_a_bar_and_other_places_have_lines_alone() -> None:
    assert shown(terminal=False) == "a line with [brackets]\n"
    live = shown(terminal=True)
    for words in ("a line with [brackets]", "3/12", "about 90 s left, hdf5 [x]"):
        assert words in live
