"""What NVML tells of the CUDA device during a run: use, energy, power, clocks, temperature and throttling."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pynvml
import torch

from bench.measure.gpu.nvml_device import SILENT, Found, Nvml, find, started, told, uuid_of

INTERVAL = 0.1
"""Seconds between two looks; the driver renews its own averages no faster."""

# Bits of nvmlDeviceGetCurrentClocksEventReasons that mean slower than asked for; idle and a user's own limit do not.
REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}


class Look(NamedTuple):
    """One look at the device; ``None`` for what it does not tell (a MIG slice tells little).

    From Ampere on, but for its first chip, NVML's power is the mean of the last second.
    """

    seconds: float
    utilisation: float | None
    power_w: float | None
    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_c: float | None
    memory_bytes: int | None
    throttling: int | None


def summarise(looks: Sequence[Look]) -> dict[str, Any]:
    """Means over time, lowest and highest values, and the share of looks that saw each reason to throttle.

    Returns:
        Keys ``samples``, ``utilisation_pct``, ``power_w``, ``peak_power_w``, ``sm_clock_mhz``, ``min_sm_clock_mhz``,
        ``memory_clock_mhz``, ``max_temperature_c``, ``peak_memory_bytes``, ``throttled`` (reason to share).
    """
    throttling = [look.throttling for look in looks if look.throttling is not None]
    peak = _extreme(max, (look.memory_bytes for look in looks))
    return {
        "samples": len(looks),
        "utilisation_pct": _mean_over_time((look.seconds, look.utilisation) for look in looks),
        "power_w": _mean_over_time((look.seconds, look.power_w) for look in looks),
        "peak_power_w": _extreme(max, (look.power_w for look in looks)),
        "sm_clock_mhz": _mean_over_time((look.seconds, look.sm_clock_mhz) for look in looks),
        "min_sm_clock_mhz": _extreme(min, (look.sm_clock_mhz for look in looks)),
        "memory_clock_mhz": _mean_over_time((look.seconds, look.memory_clock_mhz) for look in looks),
        "max_temperature_c": _extreme(max, (look.temperature_c for look in looks)),
        "peak_memory_bytes": None if peak is None else int(peak),
        "throttled": {
            name: share
            for bit, name in REASONS.items()
            if (share := sum(bool(bits & bit) for bits in throttling) / max(len(throttling), 1))
        },
    }


def _mean_over_time(values: Iterable[tuple[float, float | None]]) -> float | None:
    """Looks come late when the machine is busy, so each counts by the time that it stands for; linear in between."""
    known = [(seconds, value) for seconds, value in values if value is not None]
    if not known:
        return None
    seconds, found = (np.array(part, float) for part in zip(*known, strict=True))
    span = seconds[-1] - seconds[0]
    return float(np.trapezoid(found, seconds) / span if span > 0 else found.mean())


def _extreme(which: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(which(known)) if known else None


class GpuSampler:
    """Looks at one CUDA device from a thread; nothing at all where the run's device is not CUDA.

    NVML may be missing or fall silent while CUDA works. Then the run goes on, and ``result`` says why it tells nothing,
    or nothing more.
    """

    def __init__(
        self,
        device: torch.device,
        interval: float = INTERVAL,
        nvml: Nvml = pynvml,
        uuid: Callable[[torch.device], str] = uuid_of,
    ) -> None:
        self._device = device
        self._interval = interval
        self._nvml = nvml
        self._uuid = uuid
        self._on = device.type == "cuda"
        self._found: Found | None = None
        self._open = contextlib.ExitStack()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nvml", daemon=True)
        self._asking = threading.Lock()
        self._looks: list[Look] = []
        self._energy_source: Literal["counter", "sampled power"] | None = None
        self._cost_s = 0.0
        self._process_bytes: int | None = None
        self._trouble: str | None = None
        self._failure: BaseException | None = None

    def energy_j(self) -> float | None:
        """Joules by the device's counter, else by its power up to now; differences are a part's energy.

        Either is renewed about ten times a second, and may be that much late. ``None`` where neither is told.
        """
        found = self._found
        if found is None or self._trouble is not None:
            return None
        try:
            with self._asking:
                millijoules = told(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(found.handle))
            if millijoules is not None:
                self._energy_source = "counter"
                return millijoules / 1e3
            self._look(found)
        except pynvml.NVMLError as error:
            self._trouble = _silence(error)
            return None
        powers = [(look.seconds, look.power_w) for look in self._looks if look.power_w is not None]
        watts = _mean_over_time(powers)
        if watts is None:
            return None
        self._energy_source = "sampled power"
        return watts * (powers[-1][0] - powers[0][0])

    def result(self) -> dict[str, Any] | None:
        """What was seen so far; ``None`` without CUDA.

        Returns:
            The keys of ``summarise``, and ``interval_s``, ``cost_s`` (what all looks took together), ``mig`` (a slice
            of a device), ``energy_source`` ("counter" or "sampled power"), ``process_bytes`` (what the driver counted
            as this process's memory at the end) and ``trouble`` (why there is nothing, or nothing more).

        Raises:
            Exception: a fault of the program that stopped the thread.
        """
        if self._failure is not None:
            raise self._failure
        if not self._on:
            return None
        return {
            **summarise(self._looks),
            "interval_s": self._interval,
            "cost_s": self._cost_s,
            "mig": None if self._found is None else self._found.is_slice,
            "energy_source": self._energy_source,
            "process_bytes": self._process_bytes,
            "trouble": self._trouble,
        }

    def _look(self, found: Found) -> None:
        nvml, handle = self._nvml, found.handle
        with self._asking:
            start = time.perf_counter()
            rates = told(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
            memory = told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
            milliwatts = told(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
            look = Look(
                seconds=time.perf_counter(),
                utilisation=None if rates is None else float(rates.gpu),
                power_w=None if milliwatts is None else milliwatts / 1e3,
                sm_clock_mhz=told(lambda: float(nvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))),
                memory_clock_mhz=told(lambda: float(nvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM))),
                temperature_c=told(lambda: float(nvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))),
                memory_bytes=None if memory is None else int(memory.used),
                throttling=told(lambda: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))),
            )
            self._looks.append(look)
            self._cost_s += time.perf_counter() - start

    def _own_bytes(self, found: Found) -> int | None:
        """What the driver counts as this process's; a container's process has another number outside."""
        there = told(lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(found.handle)) or []
        mine = [process.usedGpuMemory for process in there if process.pid == os.getpid()]
        return None if None in mine or not mine else int(sum(mine))

    def _work(self) -> None:
        assert self._found is not None
        try:
            while self._trouble is None and not self._stop.wait(self._interval):
                self._look(self._found)
        except pynvml.NVMLError as error:
            self._trouble = _silence(error)
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Self:
        if self._on:
            try:
                self._open.enter_context(started(self._nvml))
                self._found = find(self._nvml, self._uuid(self._device))
                self._look(self._found)
                self._thread.start()
            except SILENT as error:
                self._trouble = _silence(error)
            except BaseException:
                self._open.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._open:
            if not self._thread.ident:
                return
            self._thread.join()
            if self._found is not None and self._trouble is None and kind is None:
                try:
                    self._look(self._found)
                    self._process_bytes = self._own_bytes(self._found)
                except pynvml.NVMLError as error_now:
                    self._trouble = _silence(error_now)


def _silence(error: Exception) -> str:
    """Why NVML tells nothing, in its own words."""
    return f"NVML: {error}" if isinstance(error, pynvml.NVMLError) else str(error)
