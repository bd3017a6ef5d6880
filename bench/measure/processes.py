"""CPU time, memory and disk reads of a run's process tree, and how busy the whole machine is."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import psutil
import torch

from bench.measure.sampling import Repeated

INTERVAL = 1.0
"""Seconds between two samples of the memory. Each costs a few milliseconds of system time, outside Python's lock."""

Group = str
"""``process``, ``workers`` (the DataLoader's) or ``server`` (every other descendant)."""


def _tree(workers: Collection[int]) -> Iterator[tuple[Group, psutil.Process]]:
    """Every process of the tree with its group, by the workers' pids; a worker's own children count as workers."""
    me = psutil.Process()
    yield "process", me
    for child in me.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = {child.pid, *(parent.pid for parent in child.parents())}
            yield ("workers" if line & set(workers) else "server"), child


def cpu_seconds(workers: Collection[int] = ()) -> dict[Group, float]:
    """User and system time so far of each group, and of children that have ended and been waited for (``ended``)."""
    seconds = dict.fromkeys(("process", "workers", "server", "ended"), 0.0)
    for group, process in _tree(workers):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile; its parent's count has it
            times = process.cpu_times()
            seconds[group] += times.user + times.system
            seconds["ended" if group == "process" else group] += times.children_user + times.children_system
    return seconds


def disk_read_bytes(workers: Collection[int] = ()) -> int | None:
    """Bytes that the tree's living processes have read from storage, not the page cache; ``None`` if any is unknown."""
    total = 0
    for _, process in _tree(workers):
        try:
            total += process.io_counters().read_bytes
        except psutil.NoSuchProcess:
            continue
        except (psutil.AccessDenied, AttributeError, NotImplementedError):  # another user's, or no Linux
            return None
    return total


def proportional_bytes(workers: Collection[int] = ()) -> tuple[dict[Group, int], int, int]:
    """Bytes of each group's proportional set size (PSS): a page that n processes share counts 1/n in each.

    On a kernel without ``smaps`` the resident size stands for it, in which such a page counts whole in each process.
    Also the number of processes that could not be read (another user's server), and of those known by resident size.
    """
    groups = dict.fromkeys(("process", "workers", "server"), 0)
    unreadable = resident = 0
    for group, process in _tree(workers):
        try:
            memory = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            unreadable += 1
            continue
        size = getattr(memory, "pss", 0)  # 0 where the kernel has the file but not the line
        resident += not size and memory.rss > 0
        groups[group] += size or memory.rss
    return groups, unreadable, resident


class Memory(NamedTuple):
    """The result of a ``MemorySampler``."""

    peak: int  # bytes, the largest sum over the tree
    groups: dict[Group, int]  # bytes, the largest of each group, which need not be at the same moment
    samples: int
    unreadable: int  # the most processes in one sample, as by ``proportional_bytes``; the next, too
    resident: int
    cost_s: float  # of all samples together


class MemorySampler:
    """Samples the tree's memory from a thread: at once, every ``interval``, when asked to, and at the end."""

    def __init__(self, workers: Callable[[], Collection[int]] = tuple, interval: float = INTERVAL) -> None:
        """Args: workers gives the pids of the worker processes at any time."""
        self._workers = workers
        self._lock = threading.Lock()
        self._memory = Memory(0, {}, 0, 0, 0, 0.0)
        self._repeated = Repeated(self.look, interval, "memory")

    def look(self) -> None:
        """Take a sample now."""
        with self._lock:
            started = time.perf_counter()
            groups, unreadable, resident = proportional_bytes(self._workers())
            before = self._memory
            self._memory = Memory(
                peak=max(before.peak, sum(groups.values())),
                groups={group: max(value, before.groups.get(group, 0)) for group, value in groups.items()},
                samples=before.samples + 1,
                unreadable=max(unreadable, before.unreadable),
                resident=max(resident, before.resident),
                cost_s=before.cost_s + time.perf_counter() - started,
            )

    def result(self) -> Memory:
        """What was measured so far. Raises whatever stopped the thread: an ``OSError`` or ``psutil.Error``."""
        self._repeated.check()
        return self._memory

    def __enter__(self) -> Self:
        self.look()
        self._repeated.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._repeated.__exit__()
        if kind is None:
            self.look()


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peaks of `peak_memory`, so that they are of the run and not of its preparation."""
    clear = Path("/proc/self/clear_refs")
    if os.access(clear, os.W_OK):
        clear.write_text("5", encoding="ascii")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes since the last reset: the process's largest resident size, and the most allocated on the device."""
    peaks: dict[str, int] = {}
    status = Path("/proc/self/status")
    text = status.read_text(encoding="utf-8", errors="replace") if status.exists() else ""
    if highest := re.search(r"^VmHWM:\s*(\d+)", text, re.MULTILINE):
        peaks["process_peak_rss"] = int(highest[1]) * 1024
    if device.type == "cuda":
        peaks["device_peak"] = torch.cuda.max_memory_allocated(device)
    return peaks


class MachineTime(NamedTuple):
    """CPU seconds of the whole machine since it started, in steps of 10 ms."""

    busy: float  # spent by processes and by the kernel for them, on all cores
    stolen: float | None  # taken by the hypervisor for other machines while this one wanted to run; None: unknown


def machine_time() -> MachineTime:
    """Read the kernel's counters."""
    times = psutil.cpu_times()
    spent = ("user", "nice", "system", "irq", "softirq")
    return MachineTime(sum(getattr(times, name, 0.0) for name in spent), getattr(times, "steal", None))
