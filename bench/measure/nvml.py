"""What NVML tells of the CUDA device during a run: use, energy, power, clocks, temperature and throttling."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import pynvml
import torch

INTERVAL = 0.1
"""Seconds between two looks; the driver renews its own averages no faster."""

T = TypeVar("T")

# Bits of nvmlDeviceGetCurrentClocksEventReasons that mean slower than asked for; idle and a user's own limit do not.
REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}


class Look(NamedTuple):
    """One look at the device; ``None`` for what it does not tell (a MIG slice tells little)."""

    seconds: float
    utilisation: float | None
    power_w: float | None
    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_c: float | None
    memory_bytes: int | None
    throttling: int | None


def summarise(looks: Sequence[Look]) -> dict[str, Any]:
    """Mean, lowest and highest values over all looks, and the share of looks that saw each reason to throttle.

    Returns:
        Keys ``samples``, ``utilisation_pct``, ``power_w``, ``peak_power_w``, ``sm_clock_mhz``, ``min_sm_clock_mhz``,
        ``memory_clock_mhz``, ``max_temperature_c``, ``peak_memory_bytes``, ``throttled`` (reason to share).
    """

    def known(values: Iterator[Any]) -> list[float]:
        return [value for value in values if value is not None]

    def of(statistic: Callable[[list[float]], Any], values: Iterator[Any]) -> float | None:
        found = known(values)
        return float(statistic(found)) if found else None

    throttling = [look.throttling for look in looks if look.throttling is not None]
    peak = of(max, (look.memory_bytes for look in looks))
    return {
        "samples": len(looks),
        "utilisation_pct": of(np.mean, (look.utilisation for look in looks)),
        "power_w": of(np.mean, (look.power_w for look in looks)),
        "peak_power_w": of(max, (look.power_w for look in looks)),
        "sm_clock_mhz": of(np.mean, (look.sm_clock_mhz for look in looks)),
        "min_sm_clock_mhz": of(min, (look.sm_clock_mhz for look in looks)),
        "memory_clock_mhz": of(np.mean, (look.memory_clock_mhz for look in looks)),
        "max_temperature_c": of(max, (look.temperature_c for look in looks)),
        "peak_memory_bytes": None if peak is None else int(peak),
        "throttled": {
            name: share
            for bit, name in REASONS.items()
            if (share := sum(bool(bits & bit) for bits in throttling) / max(len(throttling), 1))
        },
    }


def _told(ask: Callable[[], T]) -> T | None:
    """The answer, or ``None`` where the device or the driver has none."""
    try:
        return ask()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NoPermission):
        return None


class GpuSampler:
    """Looks at one CUDA device from a thread; nothing at all where the run's device is not CUDA."""

    def __init__(self, device: torch.device, interval: float = INTERVAL) -> None:
        self._device = device
        self._interval = interval
        self._on = device.type == "cuda"
        self._handle: Any = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nvml", daemon=True)
        self._looks: list[Look] = []
        self._failure: BaseException | None = None

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; differences are a part's energy. ``None`` where it is not told."""
        if not self._on:
            return None
        millijoules = _told(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None if millijoules is None else millijoules / 1e3

    def result(self) -> dict[str, Any] | None:
        """What was seen so far, as ``summarise`` gives it; ``None`` without CUDA.

        Raises:
            pynvml.NVMLError: whatever stopped the thread.
        """
        if self._failure is not None:
            raise self._failure
        return summarise(self._looks) if self._on else None

    def _look(self) -> Look:
        handle = self._handle
        rates = _told(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
        power = _told(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
        memory = _told(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
        return Look(
            seconds=time.perf_counter(),
            utilisation=None if rates is None else float(rates.gpu),
            power_w=None if power is None else power / 1e3,
            sm_clock_mhz=_told(lambda: float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))),
            memory_clock_mhz=_told(lambda: float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM))),
            temperature_c=_told(lambda: float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))),
            memory_bytes=None if memory is None else int(memory.used),
            throttling=_told(lambda: int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))),
        )

    def _work(self) -> None:
        try:
            while not self._stop.wait(self._interval):
                self._looks.append(self._look())
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Self:
        if self._on:
            pynvml.nvmlInit()
            # NVML counts all devices, PyTorch those that CUDA_VISIBLE_DEVICES leaves; both know the UUID.
            uuid = str(torch.cuda.get_device_properties(self._device).uuid)
            self._handle = _by_uuid(uuid)
            self._looks.append(self._look())
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on:
            self._stop.set()
            self._thread.join()
            pynvml.nvmlShutdown()


def _by_uuid(uuid: str) -> Any:
    """NVML's handle of a device or MIG slice, by the UUID that PyTorch gives without its prefix."""
    for prefix in ("GPU-", "MIG-", ""):
        with contextlib.suppress(pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
            return pynvml.nvmlDeviceGetHandleByUUID(f"{prefix}{uuid}")
    raise pynvml.NVMLError_NotFound
