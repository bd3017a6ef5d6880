"""The timelines of one epoch: exclusive host intervals, and the device's own clock on CUDA."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Literal, Self

import numpy as np
import torch

Part = Literal["fetch", "transfer", "compute", "other"]


class Interval:
    """Adds the time between entering and leaving to one part of the epoch. Reused for every batch."""

    __slots__ = ("_since", "last", "total")

    def __init__(self) -> None:
        self.total = 0
        self.last = 0
        self._since = 0

    def __enter__(self) -> Self:
        self._since = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        parts = self.fetch.total + self.transfer.total + self.compute.total + self.other.total
        return abs(self.wall.total - parts) / max(self.wall.total, 1)

    def wait_quantiles(self) -> dict[str, float]:
        """Seconds that a batch was waited for: p50, p95, p99 and max."""
        if not self.waits:
            return {}
        values = np.quantile(np.array(self.waits) / 1e9, (0.5, 0.95, 0.99, 1.0)).tolist()
        return dict(zip(("p50", "p95", "p99", "max"), values, strict=True))


def stopwatch_cost(device: torch.device, steps: int = 1000) -> float:
    """Seconds a step that the timelines themselves cost: those of an epoch whose parts do nothing."""
    host, events = HostTimeline(), DeviceTimeline(device)
    started = time.perf_counter()
    with host.wall:
        for _ in range(steps):
            with host.fetch:
                pass
            with host.transfer:
                events.mark("copy")
            with host.compute:
                events.mark("compute")
                events.mark("end")
            with host.other:
                host.waits.append(host.fetch.last)
    return (time.perf_counter() - started) / steps


class DeviceTimeline:
    """Copy and compute time as the CUDA device sees them, from events; nothing on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self._on = device.type == "cuda"
        self._marks: list[tuple[str, torch.cuda.Event]] = []

    def mark(self, name: Literal["copy", "compute", "end"]) -> None:
        """What the device does from here on; ``end`` closes the step."""
        if self._on:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))

    def seconds(self) -> dict[str, float | None]:
        """``device_copy_s``, ``device_compute_s``, ``device_idle_s``. Call after a synchronise."""
        if not self._marks:
            return dict.fromkeys(("device_copy_s", "device_compute_s", "device_idle_s"))
        sums = {"copy": 0.0, "compute": 0.0, "end": 0.0}
        for (name, start), (_, stop) in zip(self._marks, self._marks[1:], strict=False):
            sums[name] += start.elapsed_time(stop) / 1e3
        return {"device_copy_s": sums["copy"], "device_compute_s": sums["compute"], "device_idle_s": sums["end"]}
