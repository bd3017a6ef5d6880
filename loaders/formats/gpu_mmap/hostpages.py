"""Host memory that the device reads directly: the pages of a file, or memory that is registered with CUDA."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from loaders.core.errors import BackendError, UnavailableError
from loaders.formats.gpu_mmap.device import Device, HostAccess
from loaders.store.arrays import map_bytes

# Flags of cuMemHostRegister (CUDA driver API, "Memory Management").
_MAPPED, _READ_ONLY = 0x02, 0x08

Way = Literal["pageable", "registered", "tmpfs"]
"""How the pages of a file are read: directly, after registration, or from a copy in tmpfs."""


def file_pages(path: Path, device: Device, life: contextlib.ExitStack) -> tuple[NDArray[np.uint8], Way]:
    """Let the device read the pages of a file that is not empty, in the first way that works.

    Raises:
        UnavailableError: none works.
    """
    access, size, free = device.access(), path.stat().st_size, psutil.virtual_memory().available
    if access.pageable:
        life.callback(device.synchronize)
        return map_bytes(path), "pageable"
    refusals = [str(access)]
    if not access.lacking("mapped"):
        if size > free:  # registered memory cannot be swapped out
            refusals.append(f"{size / 1e9:.2f} GB to be locked, of which this machine has {free / 1e9:.2f} GB free")
        for way, attempt in ATTEMPTS.items() if size <= free else ():
            pages = attempt(path, access, device, life)
            if not isinstance(pages, str):
                return pages, way
            refusals.append(f"{way}: {pages}")
    raise UnavailableError(
        f"the device cannot read the pages of {path} in place ({'; '.join(refusals)}); "
        "use --option mode=pinned or mode=cuda"
    )


def locked_memory(size: int, device: Device, life: contextlib.ExitStack) -> NDArray[np.uint8]:
    """Allocate and register `size` bytes, at least 1: PyTorch's own pinned memory has sizes of powers of two.

    Raises:
        BackendError: the memory cannot be allocated or locked.
    """
    page = mmap.PAGESIZE
    try:
        room = np.empty(-(-size // page) * page + page, np.uint8)  # whole pages, not shared with other memory
    except MemoryError:
        raise BackendError(
            f"this machine has no {size / 1e9:.2f} GB of memory left; use --option mode=cuda or --limit"
        ) from None
    start = -room.ctypes.data % page
    array = room[start : start + size]
    if refusal := _register(array, _MAPPED, device, life):
        raise BackendError(
            f"CUDA cannot lock {size / 1e9:.2f} GB of memory ({refusal}); "
            "raise the locked-memory limit (ulimit -l), or use --option mode=cuda"
        )
    return array


def _own_pages(path: Path, access: HostAccess, device: Device, life: contextlib.ExitStack) -> NDArray[np.uint8] | str:
    """A file's own pages, or why they cannot be registered.

    If the device needs writable memory, so does the kernel: since Linux 6.5 it allows that for tmpfs alone.
    """
    try:
        pages = np.asarray(np.memmap(path, np.uint8, mode="r" if access.read_only else "r+"))
    except OSError as error:
        return f"mapping the file to be written: {error.strerror}"
    return _register(pages, _MAPPED | (_READ_ONLY if access.read_only else 0), device, life) or pages


def _pages_of_a_copy(path: Path, _: HostAccess, device: Device, life: contextlib.ExitStack) -> NDArray[np.uint8] | str:
    """The pages of an unnamed copy in tmpfs, which ends with the map; or why they cannot be registered."""
    file = os.memfd_create(path.name)
    try:
        os.truncate(file, path.stat().st_size)
        copy = np.frombuffer(mmap.mmap(file, 0), np.uint8)
    finally:
        os.close(file)
    return _register(copy, _MAPPED, device, life, lambda: np.copyto(copy, map_bytes(path))) or copy


def _register(
    array: NDArray[np.uint8],
    flags: int,
    device: Device,
    life: contextlib.ExitStack,
    fill: Callable[[], None] = lambda: None,
) -> str:
    """Lock memory; returns the reason of a failure, or "". One page is tried before all, which may take minutes."""
    pointer, page = array.ctypes.data, min(array.nbytes, mmap.PAGESIZE)
    code = device.register(pointer, page, flags) or device.unregister(pointer)
    if not code:
        fill()
        code = device.register(pointer, array.nbytes, flags)
    if code:
        return f"cuMemHostRegister(flags {flags:#x}) gave error {code}"
    life.callback(_unregister, array, device)
    life.callback(device.synchronize)  # before that: an unfinished gather still needs the pages
    return ""


def _unregister(array: NDArray[np.uint8], device: Device) -> None:
    if code := device.unregister(array.ctypes.data):
        raise BackendError(f"cuMemHostUnregister gave error {code}; end this process to free its locked memory")


_Attempt = Callable[[Path, HostAccess, Device, contextlib.ExitStack], NDArray[np.uint8] | str]
ATTEMPTS: dict[Way, _Attempt] = {"registered": _own_pages, "tmpfs": _pages_of_a_copy}
"""Tried in this order; each returns the pages, or why it failed."""
