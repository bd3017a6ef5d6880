"""The page cache: how much of a store it holds, and how to make it let go, without root."""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

CACHESTAT = 451  # the system call's number on every architecture; Linux 6.5 and later
PAGE = mmap.PAGESIZE


class Residency(NamedTuple):
    """How much of some files the page cache holds.

    Attributes:
        files: number of files looked at.
        bytes: their pages in bytes; a file's last page counts whole.
        resident_bytes: bytes of those that are in memory.
        method: "cachestat", "mincore", or "none" where neither can tell.
    """

    files: int
    bytes: int
    resident_bytes: int
    method: str

    @property
    def fraction(self) -> float | None:
        """Resident share; ``None`` where it cannot be told."""
        if self.method == "none":
            return None
        return self.resident_bytes / self.bytes if self.bytes else 0.0


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _CacheStat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return libc


def files_of(folder: Path) -> Iterator[Path]:
    """All regular files below a folder, links not followed."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def evict(paths: Iterable[Path]) -> None:
    """Write each file's dirty pages and ask the kernel to drop all of them.

    Pages that a process maps or holds stay; ``residency`` shows what became of the wish.

    Raises:
        OSError: a file cannot be opened.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # a dirty page cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def residency(paths: Iterable[Path]) -> Residency:
    """Ask how much of the files is in memory, without touching their pages.

    Raises:
        OSError: a file cannot be opened.
    """
    files = pages = resident = 0
    method = _method()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            files += 1
            pages += -(-size // PAGE)
            if size and method == "cachestat":
                resident += _cachestat(descriptor)
            elif size and method == "mincore":
                resident += _mincore(descriptor, size)
        finally:
            os.close(descriptor)
    return Residency(files, pages * PAGE, resident * PAGE, method)


@cache
def _method() -> str:
    """The best way that works here. Sandboxes may refuse cachestat; mincore tells a file's owner only."""
    if not sys.platform.startswith("linux"):
        return "none"
    descriptor = os.open("/proc/self/exe", os.O_RDONLY)
    try:
        _cachestat(descriptor)
    except OSError:
        return "mincore"
    finally:
        os.close(descriptor)
    return "cachestat"


def _cachestat(descriptor: int) -> int:
    """Pages in the cache; a range of length 0 reaches to the end."""
    found = _CacheStat()
    if _libc().syscall(CACHESTAT, descriptor, ctypes.byref(_Range(0, 0)), ctypes.byref(found), 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(found.cached)


def _mincore(descriptor: int, size: int) -> int:
    """Pages in the cache, through a mapping that is never read."""
    libc = _libc()
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        pages = np.empty(-(-size // PAGE), np.uint8)
        if libc.mincore(address, size, pages.ctypes.data):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(np.count_nonzero(pages & 1))
    finally:
        libc.munmap(address, size)
