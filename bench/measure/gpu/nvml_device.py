"""NVML itself: what is asked of it, how it is started and left, and its handle of the device that a run uses."""
# ruff: noqa: D102, N802 - NVML's own names and meanings

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import pynvml
import torch

T = TypeVar("T")
_NOT_TOLD = (
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NoPermission,
    # Of a handle that NVML itself has given: the question does not suit its kind, such as power of a MIG slice.
    pynvml.NVMLError_InvalidArgument,
)


class Nvml(Protocol):
    """The functions of the module `pynvml` that are used here, so that tests can give a device of their own."""

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlSystemGetCudaDriverVersion(self) -> int: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str: ...
    def nvmlDeviceGetName(self, handle: Any) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...
    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int: ...
    def nvmlDeviceGetPowerManagementLimit(self, handle: Any) -> int: ...
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int: ...
    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int) -> int: ...
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...
    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any) -> int: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Sequence[Any]: ...
    def nvmlDeviceGetCurrPcieLinkGeneration(self, handle: Any) -> int: ...
    def nvmlDeviceGetMaxPcieLinkGeneration(self, handle: Any) -> int: ...
    def nvmlDeviceGetCurrPcieLinkWidth(self, handle: Any) -> int: ...
    def nvmlDeviceGetMaxPcieLinkWidth(self, handle: Any) -> int: ...
    def nvmlDeviceGetMigMode(self, handle: Any) -> Sequence[int]: ...
    def nvmlDeviceIsMigDeviceHandle(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int) -> Any: ...
    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Any) -> Any: ...


class UnclearDeviceError(Exception):
    """NVML answers, but nothing tells which of its devices is the run's."""


SILENT = (pynvml.NVMLError, UnclearDeviceError)
"""What NVML's silence looks like; a run goes on without it."""


class Found(NamedTuple):
    """A device of NVML's.

    Attributes:
        handle: what NVML knows it by.
        is_slice: whether it is a MIG slice.
    """

    handle: Any
    is_slice: bool


@contextlib.contextmanager
def started(nvml: Nvml) -> Iterator[None]:
    """NVML, ready to be asked.

    Raises:
        pynvml.NVMLError: no library, or no driver.
    """
    nvml.nvmlInit()
    try:
        yield
    finally:
        # Nothing can be done about a library that cannot be left, and it must not hide what went wrong before.
        with contextlib.suppress(pynvml.NVMLError):
            nvml.nvmlShutdown()


def told(ask: Callable[[], T]) -> T | None:
    """The answer, or ``None`` where the device or the driver has none."""
    try:
        return ask()
    except _NOT_TOLD:
        return None


def uuid_of(device: torch.device | int) -> str:
    """The UUID by which PyTorch knows a CUDA device: without a prefix, and of the slice or of the whole device."""
    return str(torch.cuda.get_device_properties(device).uuid)


def find(nvml: Nvml, uuid: str, visible: str | None = None) -> Found:
    """NVML's handle of the device or MIG slice that CUDA uses.

    NVML counts all devices and PyTorch those that ``CUDA_VISIBLE_DEVICES`` leaves, so that only the UUID tells which is
    which. Of a MIG slice some drivers give the UUID of the whole device; then the slice is the one that
    ``CUDA_VISIBLE_DEVICES`` names, or the only one there is.

    Args:
        nvml: started.
        uuid: as PyTorch gives it.
        visible: ``CUDA_VISIBLE_DEVICES``; ``None`` takes the environment's.

    Raises:
        pynvml.NVMLError: there is no such device, or NVML does not answer.
        UnclearDeviceError: it is one of several slices.
    """
    handle = _by_uuid(nvml, uuid)
    if is_slice(nvml, handle):
        return Found(handle, True)
    if not has_slices(nvml, handle):
        return Found(handle, False)
    if visible is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    name = visible.partition(",")[0].strip()  # CUDA takes one slice alone, the first that is named
    there = slices(nvml, handle)
    if name.startswith("MIG-"):
        alike = [slice_ for slice_ in there if str(nvml.nvmlDeviceGetUUID(slice_)).startswith(name)]
        # The older name, MIG-GPU-<uuid>/<instance>/<instance>, is known to NVML alone.
        return Found(alike[0] if len(alike) == 1 else nvml.nvmlDeviceGetHandleByUUID(name), True)
    if len(there) == 1:
        return Found(there[0], True)
    raise UnclearDeviceError(
        f"the device has {len(there)} MIG slices, and nothing tells which is used; name it in CUDA_VISIBLE_DEVICES"
    )


def is_slice(nvml: Nvml, handle: Any) -> bool:
    """Whether a handle is of a MIG slice."""
    answer = told(lambda: nvml.nvmlDeviceIsMigDeviceHandle(handle))
    return bool(getattr(answer, "value", answer))  # some versions of the module give a C integer


def has_slices(nvml: Nvml, handle: Any) -> bool:
    """Whether a whole device is in MIG mode."""
    mode = told(lambda: nvml.nvmlDeviceGetMigMode(handle))
    return mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def slices(nvml: Nvml, handle: Any) -> list[Any]:
    """Handles of a device's MIG slices."""
    found = []
    for index in range(told(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
        with contextlib.suppress(pynvml.NVMLError_NotFound, *_NOT_TOLD):  # a place that no slice takes
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    return found


def _by_uuid(nvml: Nvml, uuid: str) -> Any:
    bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
    for prefix in ("GPU-", "MIG-"):
        with contextlib.suppress(pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
            return nvml.nvmlDeviceGetHandleByUUID(prefix + bare)
    raise pynvml.NVMLError_NotFound
