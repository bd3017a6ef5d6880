"""How busy the whole machine is, to tell what others did during a measurement."""

from __future__ import annotations

from typing import NamedTuple

import psutil


class MachineTime(NamedTuple):
    """CPU seconds of the whole machine so far.

    Attributes:
        busy: spent by processes and by the kernel for them, on all cores.
        stolen: taken by the hypervisor for other machines while this one wanted to run; ``None`` where not told.
    """

    busy: float
    stolen: float | None


def machine_time() -> MachineTime:
    """Read the counters that the kernel keeps since the machine started, in steps of 10 ms."""
    times = psutil.cpu_times()
    spent = ("user", "nice", "system", "irq", "softirq")
    return MachineTime(sum(getattr(times, name, 0.0) for name in spent), getattr(times, "steal", None))
