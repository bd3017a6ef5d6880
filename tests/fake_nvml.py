"""An NVML with devices that answer as told, since no machine has a MIG slice, a lost device and an old one at once."""
# ruff: noqa: N802 - NVML's own names

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

GIB = 2**30
UUID = "8932f937-d72c-4106-c12f-20bd9faed9f6"
SLICES = ("63feeb45-94c6-b9cb-78ea-98e9b7a5be6b", "74edc72b-204b-7996-59f6-bff24ec89c23")

Answer = Any
"""A value; an error class to raise; or a function of no arguments that gives either."""

GPU: dict[str, Answer] = {
    "Name": "Some GPU",
    "MemoryInfo": SimpleNamespace(total=80 * GIB, used=5 * GIB, free=75 * GIB),
    "UtilizationRates": SimpleNamespace(gpu=50, memory=10),
    "PowerUsage": 200_000,
    "PowerManagementLimit": 700_000,
    "TotalEnergyConsumption": pynvml.NVMLError_NotSupported,
    "ClockInfo": 1500,
    "Temperature": 50,
    "CurrentClocksThrottleReasons": 0x04,
    "ComputeRunningProcesses": [
        SimpleNamespace(pid=1, usedGpuMemory=7),
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=GIB),
    ],
    "CurrPcieLinkGeneration": 1,
    "MaxPcieLinkGeneration": 5,
    "CurrPcieLinkWidth": 16,
    "MaxPcieLinkWidth": 16,
    "MigMode": pynvml.NVMLError_NotSupported,
}
"""A whole device; its energy counter is for each test to give."""
NOT_OF_A_SLICE = (
    *("UtilizationRates", "PowerUsage", "PowerManagementLimit", "TotalEnergyConsumption", "ClockInfo"),
    *("CurrentClocksThrottleReasons", "CurrPcieLinkGeneration", "MaxPcieLinkGeneration"),
    *("CurrPcieLinkWidth", "MaxPcieLinkWidth", "MigMode"),
)
SLICE: dict[str, Answer] = {
    **GPU,
    "Name": "Some GPU MIG 1g.10gb",
    **dict.fromkeys(NOT_OF_A_SLICE, pynvml.NVMLError_NotSupported),
    "Temperature": pynvml.NVMLError_InvalidArgument,
}
"""A MIG slice: it tells its memory, and of most else that it does not know."""


def counting(*values: Answer) -> Callable[[], Answer]:
    """One answer after another, the last again and again."""
    answers = itertools.chain(values, itertools.repeat(values[-1]))
    return lambda: next(answers)


class FakeNvml:
    """Takes the place of the functions of `pynvml`. A handle is the UUID that NVML knows a device by.

    Attributes:
        started: how often it was started and not yet left.
        asked: how many questions were put to devices.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        devices: Mapping[str, Mapping[str, Answer]] | None = None,
        *,
        slices: Mapping[str, list[str]] | None = None,
        init: Answer = None,
    ) -> None:
        """Args: devices are by default one whole one; slices are the UUIDs of those of a device; init as an answer."""
        self._devices = {f"GPU-{UUID}": GPU} if devices is None else devices
        self._slices = slices or {}
        self._init = init
        self.started = self.asked = 0
        own = [name for name in vars(FakeNvml) if name.startswith("nvml")]
        for name in (*own, *(f"nvmlDeviceGet{question}" for question in GPU)):
            monkeypatch.setattr(pynvml, name, getattr(self, name))  # fails for a name that NVML's module lacks

    def nvmlInit(self) -> None:
        _resolve(self._init)
        self.started += 1

    def nvmlShutdown(self) -> None:
        self.started -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "550.54.15"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12040

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid not in self._devices:
            raise pynvml.NVMLError_NotFound
        return uuid

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return handle

    def nvmlDeviceIsMigDeviceHandle(self, handle: str) -> Any:
        return SimpleNamespace(value=int(any(handle in names for names in self._slices.values())))

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:
        return 7 if handle in self._slices else 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:
        names = self._slices[handle]
        if index >= len(names):
            raise pynvml.NVMLError_NotFound
        return names[index]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """``nvmlDeviceGetPowerUsage`` and its like answer as the device was told."""
        question = name.removeprefix("nvmlDeviceGet")
        if question not in GPU:
            raise AttributeError(name)

        def answer(handle: str, *_: Any) -> Any:
            self.asked += 1
            return _resolve(self._devices[handle][question])

        return answer


def _resolve(answer: Answer) -> Any:
    if isinstance(answer, type) and issubclass(answer, BaseException):
        raise answer
    return _resolve(answer()) if callable(answer) else answer


def fake_cuda(monkeypatch: pytest.MonkeyPatch, *uuids: str) -> None:
    """Let `torch.cuda` show devices with these UUIDs."""

    def properties(device: torch.device | int) -> Any:
        index = (device.index or 0) if isinstance(device, torch.device) else device
        return SimpleNamespace(name="Some GPU", uuid=uuids[index], major=9, minor=0, total_memory=80 * GIB)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(uuids))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (75 * GIB, 80 * GIB))
