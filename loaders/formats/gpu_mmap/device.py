"""The operations on a CUDA device that ``gpu_mmap`` needs, in a class that tests can replace."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.core.errors import BackendError

_DRIVER = "libcuda.so.1"
# Of the CUDA driver API, "Device Management", in the order of `HostAccess`.
_ATTRIBUTES = (88, 99, 91, 113)


class HostAccess(NamedTuple):
    """How a device can read the host's memory."""

    pageable: bool  # kernels can read all of it (PAGEABLE_MEMORY_ACCESS)
    registration: bool  # it can be registered (HOST_REGISTER_SUPPORTED)
    same_address: bool  # kernels then use the host's address (CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM)
    read_only: bool  # read-only memory can be registered (READ_ONLY_HOST_REGISTER_SUPPORTED)

    def lacking(self, mode: str) -> str | None:
        """Why ``mode`` is impossible, or None."""
        reads = self.registration and self.same_address
        if mode == "cuda" or reads or (mode == "mapped" and self.pageable):
            return None
        return f"the device cannot read this machine's memory ({self}); use --option mode=cuda"

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value:d}" for name, value in self._asdict().items())


def host_access(index: int) -> HostAccess:
    """Ask the driver; unlike PyTorch, this uses none of the device's memory for a context.

    Raises:
        BackendError: there is no such device.
    """
    driver = ctypes.CDLL(_DRIVER)
    device, value = ctypes.c_int(), ctypes.c_int()
    if code := driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), index):
        raise BackendError(f"the CUDA driver gave error {code} when asked for device {index}")
    # A driver that does not know an attribute returns an error.
    ask = driver.cuDeviceGetAttribute
    return HostAccess(*[not ask(ctypes.byref(value), each, device) and value.value == 1 for each in _ATTRIBUTES])


class Device:
    """The current CUDA device.

    Memory is registered by the driver: an error of the CUDA runtime would stay until PyTorch raises it at its next
    check, and PyTorch has no call to clear it.
    """

    def __init__(self) -> None:
        self.where = torch.device("cuda", torch.cuda.current_device())

    def free(self) -> int:
        """Free bytes of its memory."""
        return int(torch.cuda.mem_get_info(self.where)[0])

    def access(self) -> HostAccess:
        """How it can read the host's memory."""
        return host_access(self.where.index)

    def register(self, pointer: int, size: int, flags: int) -> int:
        """``cuMemHostRegister``; 0 for success."""
        return self._driven("cuMemHostRegister_v2", pointer, ctypes.c_size_t(size), ctypes.c_uint(flags))

    def unregister(self, pointer: int) -> int:
        """``cuMemHostUnregister``; 0 for success."""
        return self._driven("cuMemHostUnregister", pointer)

    def _driven(self, name: str, pointer: int, *arguments: ctypes.c_size_t | ctypes.c_uint) -> int:
        with torch.cuda.device(self.where):
            torch.cuda.mem_get_info()  # makes the device's context current in this thread, as the driver requires
            return int(getattr(ctypes.CDLL(_DRIVER), name)(ctypes.c_void_p(pointer), *arguments))

    def view(self, array: NDArray[np.uint8]) -> torch.Tensor:
        """Memory that it can read as one of its tensors.

        PyTorch trusts a device with an index. Else it would ask CUDA about the memory, and reject unregistered memory.
        """
        return torch.as_tensor(_View(array, "__cuda_array_interface__"), device=self.where)

    def synchronize(self) -> None:
        """Wait for all of its work."""
        torch.cuda.synchronize(self.where)


def send(numbers: NDArray[np.int64], where: torch.device) -> torch.Tensor:
    """Numbers of a batch on the device, copied without waiting.

    A copy from pageable memory would wait for all earlier work of the device, including the network's last step. One
    from page-locked memory does not, and PyTorch does not reuse that memory before the copy is done.
    """
    tensor = torch.from_numpy(numbers)
    return tensor if where.type == "cpu" else tensor.pin_memory().to(where, non_blocking=True)


class _View:
    """Memory under the array interface of NumPy (version 3), which is also that of CUDA."""

    def __init__(self, array: NDArray[np.uint8], name: str) -> None:
        self._array = array  # keeps the memory alive
        pointer = (array.ctypes.data, False)
        interface = {"shape": array.shape, "typestr": "|u1", "data": pointer, "strides": None, "version": 3}
        setattr(self, name, interface)


def host_view(array: NDArray[np.uint8]) -> torch.Tensor:
    """Memory as a tensor that must not be written to; PyTorch would warn of read-only memory."""
    return torch.from_numpy(np.asarray(_View(array, "__array_interface__")))
