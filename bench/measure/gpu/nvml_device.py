"""Access to NVML, and NVML's handle of the device that a run uses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import pynvml
import torch

T = TypeVar("T")
_UNKNOWN = (
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NoPermission,
    # Of a handle that NVML itself has given: the question does not suit its kind, such as power of a MIG slice.
    pynvml.NVMLError_InvalidArgument,
)


class UnclearDeviceError(Exception):
    """NVML answers, but it is unclear which of its devices is the run's."""


SILENT = (pynvml.NVMLError, UnclearDeviceError)
"""What is raised where NVML does not help; a run goes on without it."""


class Device(NamedTuple):
    """NVML's handle of a device, and whether that is a MIG slice."""

    handle: Any
    is_slice: bool


@contextlib.contextmanager
def started() -> Iterator[None]:
    """NVML, initialised; a ``pynvml.NVMLError`` if there is no library or no driver."""
    pynvml.nvmlInit()
    try:
        yield
    finally:
        # A failing shutdown must not hide an earlier error.
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def ask(question: Callable[..., T], *arguments: Any) -> T | None:
    """NVML's answer, or ``None`` where the device or the driver has none."""
    try:
        return question(*arguments)
    except _UNKNOWN:
        return None


def find(device: torch.device | int) -> Device:
    """NVML's handle of a CUDA device or MIG slice of PyTorch's.

    NVML counts all devices and PyTorch those that ``CUDA_VISIBLE_DEVICES`` leaves, so that only the UUID identifies
    one. Of a MIG slice some drivers give the UUID of the whole device; then the slice is the one that
    ``CUDA_VISIBLE_DEVICES`` names, or the only one there is.

    Raises:
        pynvml.NVMLError: there is no such device, or NVML does not answer.
        UnclearDeviceError: it is one of several slices.
    """
    handle = _by_uuid(str(torch.cuda.get_device_properties(device).uuid))
    is_slice = ask(pynvml.nvmlDeviceIsMigDeviceHandle, handle)
    if getattr(is_slice, "value", is_slice):  # some versions of the module give a C integer
        return Device(handle, True)
    if not has_slices(handle):
        return Device(handle, False)
    # CUDA uses one slice alone, the first that is named.
    name = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    all_slices = slices(handle)
    if name.startswith("MIG-"):
        alike = [each for each in all_slices if str(pynvml.nvmlDeviceGetUUID(each)).startswith(name)]
        # The older name, MIG-GPU-<uuid>/<instance>/<instance>, is known to NVML alone.
        return Device(alike[0] if len(alike) == 1 else pynvml.nvmlDeviceGetHandleByUUID(name), True)
    if len(all_slices) == 1:
        return Device(all_slices[0], True)
    raise UnclearDeviceError(
        f"the device has {len(all_slices)} MIG slices, and it is unclear which is used; name it in CUDA_VISIBLE_DEVICES"
    )


def has_slices(handle: Any) -> bool:
    """Whether a whole device is in MIG mode."""
    mode = ask(pynvml.nvmlDeviceGetMigMode, handle)
    return mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def slices(handle: Any) -> list[Any]:
    """Handles of a device's MIG slices."""
    handles = []
    for index in range(ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        with contextlib.suppress(pynvml.NVMLError_NotFound, *_UNKNOWN):  # an index without a slice
            handles.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    return handles


def _by_uuid(uuid: str) -> Any:
    bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
    for prefix in ("GPU-", "MIG-"):
        with contextlib.suppress(pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
            return pynvml.nvmlDeviceGetHandleByUUID(prefix + bare)
    raise pynvml.NVMLError_NotFound
