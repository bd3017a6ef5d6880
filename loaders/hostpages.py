"""Host memory that the device reads in place: a file's own pages or plain memory, registered with CUDA."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.errors import BackendError

# Flags of cudaHostRegister (CUDA runtime API, "Memory Management").
_MAPPED, _READ_ONLY = 0x02, 0x08


class Registrar(NamedTuple):
    """How memory becomes known to the device.

    Attributes:
        register: ``cudaHostRegister(pointer, bytes, flags)``; gives 0 for success.
        unregister: ``cudaHostUnregister(pointer)``; gives 0 for success.
        forget: takes away the error that a refusal leaves behind.
    """

    register: Callable[[int, int, int], Any]
    unregister: Callable[[int], Any]
    forget: Callable[[], Any]


class HostPages:
    """Registered memory. Whoever opens it closes it, once the device reads it no more."""

    def __init__(self, array: NDArray[np.uint8], registrar: Registrar) -> None:
        """Take over what is registered already; `of_file` and `of_memory` do both."""
        self.array: NDArray[np.uint8] | None = array
        self._registrar = registrar

    @classmethod
    def of_file(cls, path: Path, registrar: Registrar) -> Self:
        """Map a file that is not empty and register its pages.

        Raises:
            BackendError: the platform refuses both read-only and writable registration.
        """
        refusals = []
        # Read-only first: it needs no permission to write, and kernels may refuse to pin writable file pages for long.
        for mode, flags in (("r", _MAPPED | _READ_ONLY), ("r+", _MAPPED)):
            try:
                mapped = np.memmap(path, np.uint8, mode=mode)  # type: ignore[call-overload]
            except OSError as error:
                refusals.append(f"mapping it writable: {error.strerror}")
                continue
            if not (refusal := _register(mapped, flags, registrar)):
                return cls(np.asarray(mapped), registrar)
            refusals.append(refusal)
        raise BackendError(
            f"CUDA cannot read the pages of {path} in place ({'; '.join(refusals)}); "
            "raise the locked-memory limit (ulimit -l), or use --option mode=pinned or mode=cuda"
        )

    @classmethod
    def of_memory(cls, size: int, registrar: Registrar) -> Self:
        """Allocate and register, neither more nor less: PyTorch's own pinned memory comes in powers of two.

        Args:
            size: bytes, at least 1.
            registrar: makes them known to the device.

        Raises:
            BackendError: there is no such memory, or the platform does not let it be locked.
        """
        page = mmap.PAGESIZE
        try:
            room = np.empty(-(-size // page) * page + page, np.uint8)  # whole pages that no other memory shares
        except MemoryError:
            raise BackendError(
                f"this machine has no {size / 1e9:.2f} GB of memory left; use --option mode=cuda or --limit"
            ) from None
        start = -room.ctypes.data % page
        array = room[start : start + size]
        if refusal := _register(array, _MAPPED, registrar):
            raise BackendError(
                f"CUDA cannot lock {size / 1e9:.2f} GB of memory ({refusal}); "
                "raise the locked-memory limit (ulimit -l), or use --option mode=cuda"
            )
        return cls(array, registrar)

    def close(self) -> None:
        """Unregister before the memory is given back. May be called twice.

        Raises:
            BackendError: the memory stays locked.
        """
        array, self.array = self.array, None
        if array is not None:
            code = int(self._registrar.unregister(array.ctypes.data))
            if code != 0:
                self._registrar.forget()
                raise BackendError(f"cudaHostUnregister gave error {code}; end this process to free its locked memory")


def _register(array: NDArray[np.uint8], flags: int, registrar: Registrar) -> str:
    """Why it was refused, or nothing."""
    code = int(registrar.register(array.ctypes.data, array.nbytes, flags))
    if code == 0:
        return ""
    registrar.forget()
    return f"cudaHostRegister(flags {flags:#x}) gave error {code}"


def forget_last_error(maps: Path = Path("/proc/self/maps"), load: Callable[[str], Any] = ctypes.CDLL) -> int:
    """Take away the error that a refused call leaves in the CUDA runtime: PyTorch would raise it at its next check.

    PyTorch has no call for that. A process may have several copies of the runtime, PyTorch's and torchvision's for
    instance, and each keeps an error of its own for each thread.

    Args:
        maps: where the system lists the libraries in this process.
        load: gives a library that is loaded already.

    Returns:
        How many copies were asked; 0 where the system lists none.
    """
    if not maps.exists():
        return 0
    fields = [line.split(maxsplit=5) for line in maps.read_text(encoding="utf-8", errors="replace").splitlines()]
    files = {each[5].removesuffix(" (deleted)") for each in fields if len(each) == 6}
    runtimes = sorted(file for file in files if Path(file).name.startswith("libcudart"))
    for runtime in runtimes:
        load(runtime).cudaGetLastError()
    return len(runtimes)


class _View:
    """Memory under the array interface of NumPy (version 3), which is also that of CUDA."""

    def __init__(self, array: NDArray[np.uint8], name: str) -> None:
        self._array = array  # keeps the memory alive
        pointer = (array.ctypes.data, False)
        described = {"shape": array.shape, "typestr": "|u1", "data": pointer, "strides": None, "version": 3}
        setattr(self, name, described)


def device_view(array: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Registered memory as a tensor of the device."""
    return torch.as_tensor(_View(array, "__cuda_array_interface__"), device=device)


def host_view(array: NDArray[np.uint8]) -> torch.Tensor:
    """Memory as a tensor that nobody may write to: PyTorch knows no read-only memory, and would warn."""
    return torch.from_numpy(np.asarray(_View(array, "__array_interface__")))
