"""Host memory that the device reads in place: the pages of a file, or plain memory, registered with CUDA."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import numpy as np
import psutil
from numpy.typing import NDArray

from loaders.arrays import map_bytes
from loaders.device import Device, HostAccess
from loaders.errors import BackendError, UnavailableError

# Flags of cuMemHostRegister (CUDA driver API, "Memory Management").
_MAPPED, _READ_ONLY = 0x02, 0x08

Way = Literal["pageable", "registered", "tmpfs"]
"""How the pages of a file are read: as they are, once they are registered, or those of a copy in tmpfs."""


class HostPages:
    """Memory that the device can read. Whoever opens it closes it, once the device reads it no more."""

    def __init__(self, array: NDArray[np.uint8], device: Device, way: Way | None) -> None:
        """Take over what is registered already; `of_file` and `of_memory` do both."""
        self.array: NDArray[np.uint8] | None = array
        self.way = way
        self._device = device

    @classmethod
    def of_file(cls, path: Path, device: Device) -> Self:
        """Let the device read the pages of a file that is not empty, by the first way that works.

        Raises:
            UnavailableError: there is none.
        """
        access, size = device.access(), path.stat().st_size
        if access.pageable:
            return cls(map_bytes(path), device, "pageable")
        refusals = []
        if not access.lacking("mapped"):
            free = psutil.virtual_memory().available
            if size <= free:  # what is registered cannot leave the memory again
                for way, attempt in _ATTEMPTS.items():
                    found = attempt(path, access, device)
                    if not isinstance(found, str):
                        return cls(found, device, way)
                    refusals.append(f"{way}: {found}")
            else:
                refusals.append(f"{size / 1e9:.2f} GB to be locked, of which this machine has {free / 1e9:.2f} GB free")
        raise UnavailableError(
            f"the device cannot read the pages of {path} in place ({'; '.join([str(access), *refusals])}); "
            "use --option mode=pinned or mode=cuda"
        )

    @classmethod
    def of_memory(cls, size: int, device: Device) -> Self:
        """Allocate and register, neither more nor less: PyTorch's own pinned memory comes in powers of two.

        Args:
            size: bytes, at least 1.
            device: shall read them.

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
        if refusal := _register(array, _MAPPED, device):
            raise BackendError(
                f"CUDA cannot lock {size / 1e9:.2f} GB of memory ({refusal}); "
                "raise the locked-memory limit (ulimit -l), or use --option mode=cuda"
            )
        return cls(array, device, None)

    def close(self) -> None:
        """Unregister before the memory is given back. May be called twice.

        Raises:
            BackendError: the memory stays locked.
        """
        array, self.array = self.array, None
        if array is not None and self.way != "pageable" and (code := self._device.unregister(array.ctypes.data)):
            raise BackendError(f"cuMemHostUnregister gave error {code}; end this process to free its locked memory")


def _own_pages(path: Path, access: HostAccess, device: Device) -> NDArray[np.uint8] | str:
    """A file's own pages, or why they cannot be registered.

    Where only writable memory can be, the kernel must agree, too: since Linux 6.5 it does for tmpfs alone.
    """
    flags = _MAPPED | (_READ_ONLY if access.read_only else 0)
    try:
        mapped = np.memmap(path, np.uint8, mode="r" if access.read_only else "r+")
    except OSError as error:
        return f"mapping the file to be written: {error.strerror}"
    return _register(mapped, flags, device) or np.asarray(mapped)


def _pages_of_a_copy(path: Path, _: HostAccess, device: Device) -> NDArray[np.uint8] | str:
    """The pages of a copy in tmpfs without a name, which goes with the map; or why they cannot be registered."""
    file = os.memfd_create(path.name)
    try:
        os.truncate(file, path.stat().st_size)
        copy = np.frombuffer(mmap.mmap(file, 0), np.uint8)
    finally:
        os.close(file)
    return _register(copy, _MAPPED, device, lambda: np.copyto(copy, map_bytes(path))) or copy


def _register(array: NDArray[np.uint8], flags: int, device: Device, fill: Callable[[], None] = lambda: None) -> str:
    """Why it was refused, or nothing. One page is tried before all are filled and locked, which may take minutes."""
    page = min(array.nbytes, mmap.PAGESIZE)
    code = device.register(array.ctypes.data, page, flags) or device.unregister(array.ctypes.data)
    if not code:
        fill()
        code = device.register(array.ctypes.data, array.nbytes, flags)
    return f"cuMemHostRegister(flags {flags:#x}) gave error {code}" if code else ""


_ATTEMPTS: dict[Way, Callable[[Path, HostAccess, Device], NDArray[np.uint8] | str]] = {
    "registered": _own_pages,
    "tmpfs": _pages_of_a_copy,
}
