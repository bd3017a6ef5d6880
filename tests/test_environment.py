"""What is recorded of the machine is right, here and as other machines describe themselves, and can be published."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from bench.measure import environment as module
from bench.measure.environment import environment, git_state, storage_of

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def test_it_says_what_the_machine_is(tmp_path: Path) -> None:
    found = environment(CPU, tmp_path)
    assert found["cores"] == os.cpu_count()
    assert found["affinity"] == sorted(os.sched_getaffinity(0))
    assert found["ram_bytes"] == psutil.virtual_memory().total
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["packages"]["torch"] == version("torch")
    own = environment(CPU, packages=["pytest", "nosuch-package"])["packages"]
    assert own == {**found["packages"], "pytest": version("pytest"), "nosuch-package": None}
    assert (found["device"], found["gpu"]) == ("cpu", None)
    assert found["threads"] == torch.get_num_threads()
    assert found["virtual"] in (True, False, None)
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    assert found["governor"] == (governor.read_text().strip() if governor.exists() else None)
    assert set(found["storage"]) == {"filesystem", "device"}
    assert found["storage"]["filesystem"]
    assert environment(CPU)["storage"] is None
    assert json.loads(json.dumps(found)) == found


def test_a_hypervisor_is_told_by_the_processor_s_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = "processor: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu vme{}\nbugs\t: none\n"
    for text, virtual in ((cpu.format(" hypervisor"), True), (cpu.format(""), False), (None, None)):
        monkeypatch.setattr(module, "_read", lambda _, text=text: text)
        assert module.is_virtual() is virtual
        name = platform.processor() or platform.machine() if text is None else "Some CPU @ 2 GHz"
        assert module.cpu_model.__wrapped__() == name


def test_it_names_neither_user_nor_host_nor_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With names of user, home and folder that cannot be there by chance."""
    home, work = tmp_path / "homeofquuxly", tmp_path / "workofquuxly"
    home.mkdir()
    work.mkdir()
    for name, value in {"HOME": str(home), **dict.fromkeys(("USER", "LOGNAME", "HOSTNAME"), "quuxly")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(work)
    git_state.cache_clear()
    found = environment(CPU, work)
    assert found["git"] == git_state()  # of this source tree, wherever it runs
    for text in leaves(found):
        assert "quuxly" not in text
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
    done = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%H"], capture_output=True, text=True)
    if not (ROOT / ".git").exists() or done.returncode:
        assert found is None
    else:
        assert found is not None
        assert found["commit"] == done.stdout.strip()


def mounted(monkeypatch: pytest.MonkeyPatch, *mounts: tuple[Path | str, str]) -> None:
    """Let psutil tell of these mounts, each a place and a type."""
    parts = [SimpleNamespace(mountpoint=str(place), fstype=kind) for place, kind in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: parts)


def test_the_innermost_mount_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a folder" / "stores"
    for kind, device in (("tmpfs", "memory"), ("nfs4", "network"), ("fuse.sshfs", "network"), ("9p", "network")):
        other = (f"{tmp_path / 'a folder'}else", "xfs")
        mounted(monkeypatch, ("/proc", "proc"), (tmp_path / "a folder", kind), ("/", "ext4"), other)
        assert storage_of(folder) == {"filesystem": kind, "device": device}
        assert storage_of(tmp_path)["filesystem"] == "ext4"


@pytest.mark.parametrize("partition", [False, True])
def test_the_device_is_what_sysfs_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: bool) -> None:
    number = tmp_path.stat().st_dev
    for name, rotational, device in (
        ("sda", "1", "disk"),
        ("nvme0n1", "0", "ssd"),
        ("vda", "1", "virtual disk"),
        ("md0", None, None),
    ):
        disk, devices = tmp_path / "block" / name, tmp_path / name
        (disk / "queue").mkdir(parents=True)
        (disk / "part1").mkdir()
        if rotational is not None:
            (disk / "queue" / "rotational").write_text(rotational + "\n")
        devices.mkdir()
        (devices / f"{os.major(number)}:{os.minor(number)}").symlink_to(disk / "part1" if partition else disk)
        monkeypatch.setattr(module, "BLOCK_DEVICES", devices)
        mounted(monkeypatch, ("/", "ext4"))
        assert storage_of(tmp_path) == {"filesystem": "ext4", "device": device}, name


def test_where_the_system_tells_nothing_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert storage_of(tmp_path / "not" / "yet") == storage_of(tmp_path)  # it will lie there
    mounted(monkeypatch)
    monkeypatch.setattr(module, "BLOCK_DEVICES", tmp_path / "nowhere")
    assert storage_of(tmp_path) == {"filesystem": None, "device": None}
