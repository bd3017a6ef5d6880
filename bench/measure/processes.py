"""CPU time and memory of a run's process tree: the process itself, its workers, and a server of the format."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import NamedTuple, Self

import psutil

INTERVAL = 1.0
"""Seconds between two looks at the memory. A look costs a few milliseconds of system time, outside Python's lock."""

Group = str
"""``process``, ``workers`` (the DataLoader's) or ``server`` (every other descendant)."""


def _tree(workers: Collection[int]) -> Iterator[tuple[Group, psutil.Process]]:
    """Every process of the tree with its group; a worker's own children count as workers."""
    me = psutil.Process()
    yield "process", me
    for child in me.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = {child.pid, *(parent.pid for parent in child.parents())}
            yield ("workers" if line & set(workers) else "server"), child


def cpu_seconds(workers: Collection[int] = ()) -> dict[Group, float]:
    """User and system time so far of each group, and of the children that have ended and been waited for (``ended``).

    Args:
        workers: pids of the worker processes.
    """
    found = dict.fromkeys(("process", "workers", "server", "ended"), 0.0)
    for group, process in _tree(workers):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked; its parent's count has it
            times = process.cpu_times()
            found[group] += times.user + times.system
            if group == "process":
                found["ended"] = times.children_user + times.children_system
            else:
                found[group] += times.children_user + times.children_system
    return found


def disk_read_bytes(workers: Collection[int] = ()) -> int | None:
    """Bytes that the tree's living processes have had read from storage, page cache hits not counted.

    Returns:
        ``None`` where the system does not tell it of every process.
    """
    total = 0
    for _, process in _tree(workers):
        try:
            total += process.io_counters().read_bytes
        except psutil.NoSuchProcess:
            continue
        except (psutil.AccessDenied, AttributeError, NotImplementedError):  # another user's, or no Linux
            return None
    return total


class Sizes(NamedTuple):
    """The memory of a process tree at one moment.

    Attributes:
        groups: bytes of each group.
        unreadable: processes that could not be read (another user's server).
        resident: processes whose resident size had to do.
    """

    groups: dict[Group, int]
    unreadable: int
    resident: int


def proportional_bytes(workers: Collection[int] = ()) -> Sizes:
    """Proportional set size (PSS) of each group: a page that n processes share counts 1/n in each.

    A kernel without ``smaps`` does not tell it. There the resident size stands for it, in which such a page counts
    whole in each process.
    """
    found = dict.fromkeys(("process", "workers", "server"), 0)
    unreadable = resident = 0
    for group, process in _tree(workers):
        try:
            seen = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            unreadable += 1
            continue
        size = getattr(seen, "pss", 0)  # 0 where the kernel has the file and not the line
        resident += not size and seen.rss > 0
        found[group] += size or seen.rss
    return Sizes(found, unreadable, resident)


class Memory(NamedTuple):
    """What a ``MemorySampler`` saw.

    Attributes:
        peak: bytes, the largest sum over the tree.
        groups: bytes, the largest of each group, which need not be at the same moment.
        samples: number of looks.
        unreadable: most processes in one look that could not be read.
        resident: most processes in one look whose resident size stands for the proportional one.
        cost_s: time that looking took in all.
    """

    peak: int
    groups: dict[Group, int]
    samples: int
    unreadable: int
    resident: int
    cost_s: float


class MemorySampler:
    """Looks at the tree's memory from a thread, at once, every ``INTERVAL``, when asked to, and at the end."""

    def __init__(self, workers: Callable[[], Collection[int]] = tuple, interval: float = INTERVAL) -> None:
        """Args: workers gives the pids of the worker processes at any time."""
        self._workers = workers
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="memory", daemon=True)
        self._looking = threading.Lock()
        self._seen = Memory(0, {}, 0, 0, 0, 0.0)
        self._failure: BaseException | None = None

    def look(self) -> None:
        """Take a sample now."""
        with self._looking:
            started = time.perf_counter()
            groups, unreadable, resident = proportional_bytes(self._workers())
            seen = self._seen
            self._seen = Memory(
                peak=max(seen.peak, sum(groups.values())),
                groups={group: max(value, seen.groups.get(group, 0)) for group, value in groups.items()},
                samples=seen.samples + 1,
                unreadable=max(unreadable, seen.unreadable),
                resident=max(resident, seen.resident),
                cost_s=seen.cost_s + time.perf_counter() - started,
            )

    def result(self) -> Memory:
        """What was seen so far.

        Raises:
            OSError, psutil.Error: whatever stopped the thread.
        """
        if self._failure is not None:
            raise self._failure
        return self._seen

    def _work(self) -> None:
        try:
            while not self._stop.wait(self._interval):
                self.look()
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None:
            self.look()
