"""The CPU time and memory of a process tree and of the machine, with real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from bench.measure.cache import evict, residency
from bench.measure.processes import (
    MemorySampler,
    cpu_seconds,
    disk_read_bytes,
    machine_time,
    peak_memory,
    proportional_bytes,
    reset_peak_memory,
)

MB = 1_000_000
CPU = torch.device("cpu")
# Writes a line when its memory is filled and its CPU time spent, then waits until its input ends.
CHILD = """
import sys, time
held = bytearray(b'x' * int(sys.argv[1]))
until = time.process_time() + float(sys.argv[2])
while time.process_time() < until:
    pass
print('ready', flush=True)
sys.stdin.read()
"""
GRANDCHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', {CHILD!r}, *sys.argv[1:]], stdin=subprocess.PIPE)
sys.stdin.read()
child.communicate()
"""


@contextmanager
def child(size: int = 0, seconds: float = 0.0, program: str = CHILD) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-S", "-c", program, str(size), str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.communicate()


def test_memory_of_workers_with_their_children_and_of_a_server_stand_apart() -> None:
    before, *_ = proportional_bytes()  # an earlier test may have left PyTorch's resource tracker
    with child(40 * MB, program=GRANDCHILD) as worker, child(80 * MB):
        found, unreadable, resident = proportional_bytes({worker.pid})
        assert proportional_bytes()[0]["workers"] == 0
    assert (unreadable, resident) == (0, 0)
    assert 40 * MB < found["workers"] < 70 * MB
    assert 80 * MB < found["server"] - before["server"] < 110 * MB
    assert found["process"] > 10 * MB


def test_without_smaps_the_resident_size_stands_for_the_proportional_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil decides so when it is imported, by whether the kernel has the file."""
    monkeypatch.setattr(psutil._pslinux.Process, "memory_full_info", psutil._pslinux.Process.memory_info)
    with child(40 * MB) as worker, MemorySampler(lambda: [worker.pid]) as sampler:
        now = psutil.Process(worker.pid).memory_info().rss
        groups, unreadable, resident = proportional_bytes({worker.pid})
    assert groups["workers"] == now > 40 * MB
    assert unreadable == 0
    assert resident >= 2
    assert sampler.result().resident >= 2


def test_cpu_time_goes_to_the_group_that_spent_it() -> None:
    before = cpu_seconds()
    with child(0, 0.2) as worker, child(0, 0.4):
        now = cpu_seconds({worker.pid})
        # The kernel cuts user and system time to steps of 10 ms each.
        assert 0.18 <= now["workers"] < 0.4
        assert 0.38 <= now["server"] - before["server"] < 0.8
        assert now["ended"] == pytest.approx(before["ended"])
    after = cpu_seconds()
    assert after["ended"] - before["ended"] >= 0.56
    assert after["workers"] == 0


def test_this_process_counts_and_so_does_the_machine_s_time() -> None:
    before, machine, start = cpu_seconds()["process"], machine_time(), time.process_time()
    while time.process_time() - start < 0.2:
        pass
    assert cpu_seconds()["process"] - before >= 0.15
    assert machine_time().busy - machine.busy >= 0.15


def test_bytes_read_from_storage_count_and_cached_ones_do_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8 * MB))
    evict([path])
    if residency([path]).fraction != 0.0:
        pytest.skip("this file system keeps evicted pages")
    counts = [disk_read_bytes()]
    for _ in range(2):
        path.read_bytes()
        counts.append(disk_read_bytes())
    before, cold, warm = (count or 0 for count in counts)
    assert cold - before >= 8 * MB
    assert warm - cold < MB


def test_the_sampler_keeps_a_peak_that_has_gone() -> None:
    with MemorySampler(interval=60) as sampler:
        held = np.ones(100 * MB // 8)
        sampler.look()
        assert held.sum() > 0
        del held
    after, *_ = proportional_bytes()
    found = sampler.result()
    assert found.peak > sum(after.values()) + 90 * MB
    assert found.samples == 3
    assert found.cost_s > 0
    assert set(found.groups) == {"process", "workers", "server"}


def test_the_sampler_samples_by_itself_and_a_failure_of_its_thread_is_raised() -> None:
    calls = iter([()] * 5)
    sampler = MemorySampler(workers=lambda: next(calls), interval=0.001)
    with pytest.raises(StopIteration), sampler:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            sampler.result()
    assert sampler._memory.samples == 5


def test_the_peak_is_of_the_time_since_the_reset() -> None:
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    assert set(before) == {"process_peak_rss"}  # the CPU has no device memory
    big = b"x" * (200 * MB)
    del big
    assert peak_memory(CPU)["process_peak_rss"] - before["process_peak_rss"] > 150 * MB
    reset_peak_memory(CPU)
    assert peak_memory(CPU)["process_peak_rss"] - before["process_peak_rss"] < 100 * MB
