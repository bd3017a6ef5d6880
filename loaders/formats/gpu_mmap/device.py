"""What ``gpu_mmap`` needs of a CUDA device, in one place where a test can put another."""

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
    """What a device says of reading the host's memory."""

    pageable: bool  # kernels read any of it as it is (PAGEABLE_MEMORY_ACCESS)
    registration: bool  # it can be registered (HOST_REGISTER_SUPPORTED)
    same_address: bool  # then kernels find it at the host's address (CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM)
    read_only: bool  # what may only be read can be registered, too (READ_ONLY_HOST_REGISTER_SUPPORTED)

    def lacking(self, mode: str) -> str | None:
        """Why there is no way for ``mode`` at all, or None."""
        reads = self.registration and self.same_address
        if mode == "cuda" or reads or (mode == "mapped" and self.pageable):
            return None
        return f"the device cannot read this machine's memory ({self}); use --option mode=cuda"

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value:d}" for name, value in self._asdict().items())


def host_access(index: int) -> HostAccess:
    """What a device says; unlike a question to PyTorch, this one takes none of its memory for a context.

    Raises:
        BackendError: there is no such device.
    """
    driver = ctypes.CDLL(_DRIVER)
    device, value = ctypes.c_int(), ctypes.c_int()
    if code := driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), index):
        raise BackendError(f"the CUDA driver gave error {code} when asked for device {index}")
    # A driver that does not know an attribute gives an error instead.
    asked = [not driver.cuDeviceGetAttribute(ctypes.byref(value), a, device) and value.value == 1 for a in _ATTRIBUTES]
    return HostAccess(*asked)


class Device:
    """The current CUDA device.

    Memory is registered by the driver itself: what it refuses it forgets, while an error of the CUDA runtime stays
    there for PyTorch to raise at its next check, and PyTorch has no call that takes it away.
    """

    def __init__(self) -> None:
        self.where = torch.device("cuda", torch.cuda.current_device())

    def free(self) -> int:
        """Bytes of its memory that are free."""
        return int(torch.cuda.mem_get_info(self.where)[0])

    def access(self) -> HostAccess:
        """What it says of reading the host's memory."""
        return host_access(self.where.index)

    def register(self, pointer: int, size: int, flags: int) -> int:
        """``cuMemHostRegister``; 0 for success."""
        return self._driven("cuMemHostRegister_v2", pointer, ctypes.c_size_t(size), ctypes.c_uint(flags))

    def unregister(self, pointer: int) -> int:
        """``cuMemHostUnregister``; 0 for success."""
        return self._driven("cuMemHostUnregister", pointer)

    def _driven(self, name: str, pointer: int, *arguments: ctypes.c_size_t | ctypes.c_uint) -> int:
        with torch.cuda.device(self.where):
            torch.cuda.mem_get_info()  # makes the device's context that of this thread, by which the driver goes
            return int(getattr(ctypes.CDLL(_DRIVER), name)(ctypes.c_void_p(pointer), *arguments))

    def view(self, array: NDArray[np.uint8]) -> torch.Tensor:
        """Memory that it can read as its tensor.

        PyTorch trusts a device that is named with its index. Else it would ask CUDA whose memory that is, and refuse
        what nobody registered.
        """
        return torch.as_tensor(_View(array, "__cuda_array_interface__"), device=self.where)

    def synchronize(self) -> None:
        """Wait for all that it was given to do."""
        torch.cuda.synchronize(self.where)


def send(numbers: NDArray[np.int64], where: torch.device) -> torch.Tensor:
    """What the host knows of a batch, fresh from NumPy, on the device; nobody waits for it there.

    A copy from pageable memory would wait for all that the device was given to do, the network's whole last step among
    it. One from page-locked memory does not, and PyTorch gives that memory to nobody else before the copy is done.
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
    """Memory as a tensor that nobody may write to: PyTorch knows no read-only memory, and would warn."""
    return torch.from_numpy(np.asarray(_View(array, "__array_interface__")))
