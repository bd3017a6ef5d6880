"""CPU time and memory are those of the process and of its children."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import torch

from bench.measure.resources import cpu_seconds, memory, reset_peak_memory

CPU = torch.device("cpu")
BURN = "import time\nwhile time.process_time() < 0.4: pass\n"
MEGABYTE = 1024 * 1024


def test_cpu_time_of_this_process() -> None:
    before, start = cpu_seconds(), time.process_time()
    while time.process_time() - start < 0.2:
        pass
    after = cpu_seconds()
    spent = after["process"] - before["process"]
    assert 0.18 <= spent <= time.process_time() - start + 0.02  # the kernel counts in hundredths


def test_cpu_time_of_children_living_and_ended() -> None:
    before = cpu_seconds()["children"]
    child = subprocess.Popen(
        [sys.executable, "-c", BURN + "print('done', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    living = cpu_seconds()["children"]
    assert living - before >= 0.38
    child.communicate(b"\n")
    ended = cpu_seconds()["children"]
    assert ended >= living - 0.02  # now the parent's count has it


def test_the_peak_is_of_the_time_since_the_reset() -> None:
    reset_peak_memory(CPU)
    before = memory(CPU)["process_peak_rss"]
    big = b"x" * (200 * MEGABYTE)
    del big
    assert memory(CPU)["process_peak_rss"] - before > 150 * MEGABYTE
    reset_peak_memory(CPU)
    assert memory(CPU)["process_peak_rss"] - before < 100 * MEGABYTE


def test_memory_of_the_tree_counts_children() -> None:
    before = memory(CPU)["tree_pss"]
    assert before > psutil.Process().memory_info().rss / 4
    child = subprocess.Popen(
        [sys.executable, "-c", f"x = b'x' * {200 * MEGABYTE}; print('done', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert memory(CPU)["tree_pss"] - before > 150 * MEGABYTE
    child.communicate(b"\n")
    assert memory(CPU)["tree_pss"] - before < 100 * MEGABYTE


def test_the_cpu_has_no_device_memory() -> None:
    assert set(memory(CPU)) == {"process_peak_rss", "tree_pss"}
