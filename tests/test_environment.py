"""What is recorded of the machine can be published as it is."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from bench.measure.environment import environment, git_state
from bench.measure.machine import machine_time

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def test_it_says_what_the_machine_is() -> None:
    found = environment(CPU)
    assert found["cores"] == os.cpu_count()
    assert found["affinity"] == sorted(os.sched_getaffinity(0))
    assert found["ram_bytes"] == psutil.virtual_memory().total
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["packages"]["torch"] == version("torch")
    assert (found["device"], found["gpu"]) == ("cpu", None)
    assert found["threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(found)) == found


def test_it_names_neither_user_nor_host_nor_folders(tmp_path: Path) -> None:
    """In a process whose user, home and folder have names that cannot be there by chance."""
    home, work = tmp_path / "homeofquuxly", tmp_path / "workofquuxly"
    home.mkdir()
    work.mkdir()
    program = (
        "import json, torch; from bench.measure.environment import environment; "
        "print(json.dumps(environment(torch.device('cpu'))))"
    )
    named = {"HOME": str(home), "PYTHONPATH": str(ROOT), **dict.fromkeys(("USER", "LOGNAME", "HOSTNAME"), "quuxly")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=work,
        env={**os.environ, **named},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert "quuxly" not in done.stdout
    assert found["git"] == git_state()  # of this source tree, wherever it runs
    for text in leaves(found):
        assert "/" not in text or not Path("/" + text.partition("/")[2]).exists(), text
        assert platform.node() not in re.split(r"[^\w.-]+", text), text


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in leaves(part)]
    if isinstance(value, list):
        return [text for part in value for text in leaves(part)]
    return [str(value)]


def test_the_commit_is_that_of_this_tree() -> None:
    found = git_state()
    if not (ROOT / ".git").exists():
        assert found is None
        return
    done = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%H"], capture_output=True, text=True)
    if done.returncode:
        assert found is None
    else:
        assert found is not None
        assert re.fullmatch("[0-9a-f]{40}", found["commit"])


def test_it_says_what_the_stores_lie_on(tmp_path: Path) -> None:
    found = environment(CPU, tmp_path)
    assert set(found["storage"]) == {"filesystem", "device"}
    assert found["storage"]["filesystem"]
    assert environment(CPU)["storage"] is None


def test_it_says_whether_the_machine_is_virtual_and_how_its_clock_is_governed() -> None:
    found = environment(CPU)
    assert found["virtual"] in (True, False, None)
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    assert found["governor"] == (governor.read_text().strip() if governor.exists() else None)


def test_the_machine_s_time_counts_this_process() -> None:
    before, start = machine_time(), time.process_time()
    while time.process_time() - start < 0.3:
        pass
    after = machine_time()
    assert after.busy - before.busy >= 0.25
