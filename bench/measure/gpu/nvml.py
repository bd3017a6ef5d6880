"""Samples of a CUDA device by NVML during a run: use, energy, power, clocks, temperature and throttling."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
import pynvml
import torch

from bench.measure.gpu.nvml_device import Device, T, UnclearDeviceError, ask, find, started
from bench.measure.sampling import Repeated

INTERVAL = 0.1
"""Seconds between two samples; the driver renews its own averages no faster."""

# Bits of nvmlDeviceGetCurrentClocksEventReasons that mean slower than asked for; idle and a user's own limit do not.
REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}

Sample = dict[str, Any]
"""``seconds``, and floats by the keys of ``QUESTIONS``; None for what the device does not tell."""

# From Ampere on, but for its first chip, NVML's power is the mean of the last second.
QUESTIONS: dict[str, Callable[[Any], float]] = {
    "utilisation_pct": lambda handle: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
    "memory_bytes": lambda handle: pynvml.nvmlDeviceGetMemoryInfo(handle).used,
    "power_w": lambda handle: pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
    "sm_clock_mhz": lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
    "memory_clock_mhz": lambda handle: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
    "temperature_c": lambda handle: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
    "throttling": lambda handle: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
}


def summarise(samples: Sequence[Sample]) -> dict[str, Any]:
    """Means over time, lowest and highest values, and the share of samples with each reason to throttle."""
    known = {key: [value for sample in samples if (value := sample.get(key)) is not None] for key in QUESTIONS}
    reasons = [int(bits) for bits in known["throttling"]]
    shares = {name: sum(bool(bits & bit) for bits in reasons) / max(len(reasons), 1) for bit, name in REASONS.items()}
    bytes_ = max(known["memory_bytes"], default=None)
    return {
        "samples": len(samples),
        "utilisation_pct": _mean_over_time(samples, "utilisation_pct"),
        "power_w": _mean_over_time(samples, "power_w"),
        "peak_power_w": max(known["power_w"], default=None),
        "sm_clock_mhz": _mean_over_time(samples, "sm_clock_mhz"),
        "min_sm_clock_mhz": min(known["sm_clock_mhz"], default=None),
        "memory_clock_mhz": _mean_over_time(samples, "memory_clock_mhz"),
        "max_temperature_c": max(known["temperature_c"], default=None),
        "peak_memory_bytes": None if bytes_ is None else int(bytes_),
        "throttled": {name: share for name, share in shares.items() if share},
    }


def _mean_over_time(samples: Sequence[Sample], key: str) -> float | None:
    """The mean, linear in between: samples come late on a busy machine, so each counts by the time it stands for."""
    known = [(sample["seconds"], value) for sample in samples if (value := sample.get(key)) is not None]
    if not known:
        return None
    seconds, values = np.array(known, float).T
    span = seconds[-1] - seconds[0]
    return float(np.trapezoid(values, seconds) / span if span > 0 else values.mean())


class GpuSampler:
    """Samples one CUDA device from a thread; does nothing where the run's device is not CUDA.

    NVML may be missing or fail while CUDA works. Then the run goes on, and ``result`` says why there is nothing, or
    nothing more.
    """

    def __init__(self, device: torch.device, interval: float = INTERVAL) -> None:
        self._device, self._interval = device, interval
        self._nvml: Device | None = None
        self._stack = contextlib.ExitStack()
        self._repeated = Repeated(lambda: self._ask(self._take), interval, "nvml")
        self._lock = threading.Lock()
        self._samples: list[Sample] = []
        self._energy_source: Literal["counter", "sampled power"] | None = None
        self._cost_s = 0.0
        self._process_bytes: int | None = None
        self._trouble: str | None = None

    def energy_j(self) -> float | None:
        """Joules by the device's counter, else by its power up to now; differences are a part's energy.

        Either is renewed about ten times a second, and may be that much late. ``None`` where neither is known.
        """
        millijoules = self._ask(lambda handle: ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle))
        if millijoules is not None:
            self._energy_source = "counter"
            return float(millijoules / 1e3)
        self._ask(self._take)
        samples = [sample for sample in self._samples if sample["power_w"] is not None]
        watts = _mean_over_time(samples, "power_w")
        if watts is None or self._trouble is not None:
            return None
        self._energy_source = "sampled power"
        return float(watts * (samples[-1]["seconds"] - samples[0]["seconds"]))

    def result(self) -> dict[str, Any] | None:
        """What was measured so far; ``None`` without CUDA. Raises a fault of the program that stopped the thread."""
        self._repeated.check()
        if self._device.type != "cuda":
            return None
        return {
            **summarise(self._samples),
            "interval_s": self._interval,
            "cost_s": self._cost_s,  # of all samples together
            "mig": None if self._nvml is None else self._nvml.is_slice,
            "energy_source": self._energy_source,
            "process_bytes": self._process_bytes,  # as the driver counted it at the end
            "trouble": self._trouble,  # why there is nothing, or nothing more
        }

    def _ask(self, question: Callable[[Any], T]) -> T | None:
        """The answer to a question about NVML's handle; ``None`` where there is none, or once NVML has failed."""
        if self._nvml is None or self._trouble is not None:
            return None
        try:
            with self._lock:
                return question(self._nvml.handle)
        except pynvml.NVMLError as error:
            self._trouble = f"NVML: {error}"
            return None

    def _take(self, handle: Any) -> None:
        start = time.perf_counter()
        answers = {key: ask(lambda question=question: float(question(handle))) for key, question in QUESTIONS.items()}
        self._samples.append({"seconds": start, **answers})
        self._cost_s += time.perf_counter() - start

    def __enter__(self) -> Self:
        if self._device.type != "cuda":
            return self
        with contextlib.ExitStack() as stack:  # undone if anything below fails
            try:
                stack.enter_context(started())
                self._nvml = find(self._device)
            except pynvml.NVMLError as error:
                self._trouble = f"NVML: {error}"
            except UnclearDeviceError as error:
                self._trouble = str(error)
            self._ask(self._take)
            stack.enter_context(self._repeated)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with self._stack:
            if kind is None:
                self._ask(self._take)
                self._process_bytes = self._ask(_own_bytes)


def _own_bytes(handle: Any) -> int | None:
    """What the driver counts as this process's memory; outside a container its process has another number."""
    processes = ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    mine = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
    return None if None in mine or not mine else int(sum(mine))
