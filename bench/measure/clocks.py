"""The timelines of one epoch: exclusive host intervals, and the device's own clock for its two queues."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, Protocol, Self

import numpy as np

Queue = Literal["copies", "computing"]
"""A device's queues: each works in order, beside the other."""


class Interval:
    """Adds the time between entering and leaving, in nanoseconds, to one part of the epoch; used for every batch."""

    __slots__ = ("_since", "last", "total")

    def __init__(self) -> None:
        self.total = self.last = self._since = 0

    def __enter__(self) -> Self:
        self._since = time.perf_counter_ns()
        return self

    def __exit__(self, *exception: object) -> None:
        self.last = time.perf_counter_ns() - self._since
        self.total += self.last

    @property
    def seconds(self) -> float:
        """Sum so far."""
        return self.total / 1e9


class HostTimeline:
    """Four parts of an epoch, each timed on its own, and the wall time that they must add up to."""

    def __init__(self) -> None:
        self.fetch, self.transfer, self.compute, self.other = Interval(), Interval(), Interval(), Interval()
        self.wall = Interval()
        self.waits: list[int] = []

    @property
    def gap(self) -> float:
        """Share of the wall time that no part accounts for; above 0.01 the epoch is flagged."""
        parts = sum(part.total for part in (self.fetch, self.transfer, self.compute, self.other))
        return abs(self.wall.total - parts) / max(self.wall.total, 1)

    def wait_quantiles(self) -> dict[str, float]:
        """Seconds of waiting for a batch: p50, p95, p99 and max."""
        if not self.waits:
            return {}
        values = np.quantile(np.array(self.waits) / 1e9, (0.5, 0.95, 0.99, 1.0)).tolist()
        return dict(zip(("p50", "p95", "p99", "max"), values, strict=True))


class Mark(Protocol):
    """A moment on the device's clock."""

    def elapsed_time(self, other: Any, /) -> float:
        """Milliseconds from here to another mark, once the device has passed both."""


class DeviceSpans:
    """Adds up the device's time between entering and leaving, for one queue; nothing without a device (`mark` None)."""

    def __init__(self, mark: Callable[[Queue], Mark] | None, queue: Queue) -> None:
        self._mark, self._queue = mark, queue
        self._since: Mark | None = None
        self.marks: list[tuple[Mark, Mark]] = []

    def __enter__(self) -> Self:
        if self._mark is not None:
            self._since = self._mark(self._queue)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # After an error the device may take no more orders, and an exception about that would hide the error.
        if self._mark is not None and self._since is not None and kind is None:
            self.marks.append((self._since, self._mark(self._queue)))
        self._since = None

    @property
    def seconds(self) -> float:
        """Sum so far; every mark must have passed."""
        return sum(start.elapsed_time(end) for start, end in self.marks) / 1e3


class DeviceTimeline:
    """Copy and compute time on the device's clock; nothing where there is no device beside the host."""

    def __init__(self, mark: Callable[[Queue], Mark] | None) -> None:
        """Args: mark notes a moment of a queue; None: there is no device."""
        self._mark = mark
        self._begin: Mark | None = None
        self.copying = DeviceSpans(mark, "copies")  # overlaps with computing
        self.gathering = DeviceSpans(mark, "computing")  # copying that is work of the computing queue
        self.computing = DeviceSpans(mark, "computing")  # the rest of its work

    def begin(self) -> None:
        """The epoch begins; the computing queue is idle until work is queued."""
        if self._mark is not None:
            self._begin = self._mark("computing")

    def seconds(self) -> dict[str, float | None]:
        """``device_copy_s``, ``device_compute_s``, ``device_idle_s``. Call after a synchronise.

        Idle is the time until the last step's end in which the computing queue had nothing to do. So computing and
        idling add up to that time, and copies that overlap with computing come on top.
        """
        if self._begin is None or not self.computing.marks:
            return dict.fromkeys(("device_copy_s", "device_compute_s", "device_idle_s"))
        gathered, computed = self.gathering.seconds, self.computing.seconds
        until_end = self._begin.elapsed_time(self.computing.marks[-1][1]) / 1e3
        return {
            "device_copy_s": self.copying.seconds + gathered,
            "device_compute_s": computed,
            "device_idle_s": max(0.0, until_end - computed - gathered),  # the clock's resolution is half a microsecond
        }

    @property
    def steady_s(self) -> float | None:
        """Seconds from the end of the first step to that of the last: without filling the pipeline. As `seconds`."""
        ends = [end for _, end in self.computing.marks]
        return ends[0].elapsed_time(ends[-1]) / 1e3 if len(ends) > 1 else None


def stopwatch_cost(device: DeviceTimeline, steps: int = 1000) -> float:
    """Seconds a step that the timelines themselves cost, by an epoch whose parts do nothing."""
    host = HostTimeline()
    device.begin()
    started = time.perf_counter()
    with host.wall:
        for _ in range(steps):
            with host.fetch:
                pass
            with host.compute:
                pass
            with host.transfer, device.copying:
                pass
            with host.compute, device.computing:
                pass
            with host.other:
                host.waits.append(host.fetch.last)
    return (time.perf_counter() - started) / steps
