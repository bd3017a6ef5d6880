"""The page cache: how much of a store it holds, how to empty it without root, and whether a run was cold or warm."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.records import CacheEvidence, CachePart
from loaders import MANIFEST, StoreInfo, checksums_name

COLD_LIMIT = 0.01
"""Largest share of the samples' files that may be in memory where an epoch counts as cold."""
WARM_LIMIT = 0.99
"""Smallest share that must be in memory where an epoch counts as warm."""
CACHESTAT = 451  # the system call's number on every architecture; Linux 6.5 and later
_LIBC = ctypes.CDLL(None, use_errno=True)


class CacheWatch:
    """Evicts a store and gathers evidence at every opening and before every epoch."""

    def __init__(self, location: Path, info: StoreInfo, requested: str) -> None:
        """Args: requested is "cold", "warm" or "as-is"."""
        self._location, self._info, self._requested = location, info, requested
        self._after_eviction: list[float | None] = []
        self._before_epoch: list[float | None] = []
        self._last = Residency(0, 0, "none")

    def evict(self) -> None:
        """Drop the whole store from the page cache. Every process must have closed it."""
        evict(files_of(self._location))
        self._after_eviction.append(self._resident_share())

    def fill(self) -> None:
        """Read the whole store into the page cache, in sequence."""
        fill(files_of(self._location))

    def before_epoch(self) -> None:
        """Note how much is in memory now."""
        self._before_epoch.append(self._resident_share())

    def part(self, read_bytes: Sequence[int | None], elsewhere_read_bytes: Sequence[int | None]) -> CachePart:
        """The record's part, by the bytes that each epoch, and a server outside the store, read; ``None``: unknown."""
        evidence = CacheEvidence(
            method=self._last.method,
            bytes=self._last.bytes,
            after_eviction=self._after_eviction,
            before_epoch=self._before_epoch,
            read_bytes=list(read_bytes),
            elsewhere_read_bytes=list(elsewhere_read_bytes) if self._info.elsewhere_bytes else [],
        )
        state, reason = judge(self._requested, evidence, self._info.elsewhere_bytes)
        return CachePart(wanted=self._requested, state=state, evidence=evidence, reason=reason)

    def _resident_share(self) -> float | None:
        if self._info.data_files is None:
            others = {MANIFEST, *map(checksums_name, self._info.splits)}
            files = [path for path in files_of(self._location) if path.name not in others]
        else:
            files = [self._location / name for name in self._info.data_files]
        self._last = residency(files)
        return self._last.fraction if files else None


def judge(requested: str, evidence: CacheEvidence, elsewhere_bytes: int = 0) -> tuple[str, str | None]:
    """The state that the evidence shows, and the reason where that is "unverified".

    ``elsewhere_bytes`` lie on a server outside the store's folder, whose cache cannot be seen.
    """
    if elsewhere_bytes:
        reads = [read for read in evidence.elsewhere_read_bytes if read is not None]
        if requested == "cold" or not reads or len(reads) < len(evidence.elsewhere_read_bytes):
            return "unverified", "the samples lie on a server outside the store"
        if (read := max(reads)) > (1 - WARM_LIMIT) * elsewhere_bytes:
            return "unverified", f"the server outside the store had to read {read / 1e6:.1f} MB in an epoch"
        return "warm", None
    shares = evidence.after_eviction if requested == "cold" else evidence.before_epoch
    known = [share for share in shares if share is not None]
    if not known or len(known) < len(shares):
        return "unverified", "the system does not tell what is in memory"
    low, high = min(known), max(known)
    if requested != "warm" and high <= COLD_LIMIT:
        return "cold", None
    if requested == "cold":
        return "unverified", f"{high:.1%} of the store stayed in memory"
    if low < WARM_LIMIT:
        return "unverified", f"only {low:.1%} of the store was in memory before an epoch"
    read = max((share for share in evidence.read_bytes if share is not None), default=0)
    if read > (1 - WARM_LIMIT) * evidence.bytes:
        return "unverified", f"{read / 1e6:.1f} MB were read from storage during an epoch"
    return "warm", None


class Residency(NamedTuple):
    """How much of some files the page cache holds."""

    bytes: int  # of the files' pages; a last page counts whole
    resident_bytes: int  # of those that are in memory
    method: str  # "cachestat", "mincore", or "none" where neither works

    @property
    def fraction(self) -> float | None:
        """Resident share; ``None`` where it is unknown."""
        if self.method == "none":
            return None
        return self.resident_bytes / self.bytes if self.bytes else 0.0


def files_of(folder: Path) -> Iterator[Path]:
    """All regular files below a folder, links not followed."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def evict(paths: Iterable[Path]) -> None:
    """Write each file's dirty pages and ask the kernel to drop all of them; an ``OSError`` if one cannot be opened.

    Pages that a process maps or holds stay; ``residency`` shows them.
    """
    for path in paths:
        with path.open("rb", buffering=0) as file:
            os.fsync(file)  # a dirty page cannot be dropped
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fill(paths: Iterable[Path]) -> None:
    """Read files from beginning to end, for the page cache alone; an ``OSError`` if one cannot be read."""
    buffer = bytearray(1 << 20)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def residency(paths: Iterable[Path]) -> Residency:
    """Ask how much of the files is in memory, without touching their pages; an ``OSError`` if one cannot be opened."""
    pages = resident = 0
    method = _method()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            pages += -(-size // mmap.PAGESIZE)
            if size and method == "cachestat":
                resident += _cachestat(file.fileno())
            elif size and method == "mincore":
                resident += _mincore(file.fileno())
    return Residency(pages * mmap.PAGESIZE, resident * mmap.PAGESIZE, method)


@cache
def _method() -> str:
    """The best way that works here. Sandboxes may refuse cachestat; mincore tells a file's owner only."""
    if not sys.platform.startswith("linux"):
        return "none"
    with Path("/proc/self/exe").open("rb") as file:
        try:
            _cachestat(file.fileno())
        except OSError:
            return "mincore"
    return "cachestat"


def _cachestat(descriptor: int) -> int:
    """Pages in the cache."""
    whole_file = (ctypes.c_uint64 * 2)(0, 0)  # struct cachestat_range: offset, and length 0 for all
    counts = (ctypes.c_uint64 * 5)()  # struct cachestat: cached, dirty, writeback, evicted, recently evicted
    _check(_LIBC.syscall(CACHESTAT, descriptor, whole_file, counts, 0))
    return counts[0]


def _mincore(descriptor: int) -> int:
    """Pages in the cache, through a mapping that is never read."""
    mapping = np.frombuffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ), np.uint8)
    pages = np.empty(-(-mapping.size // mmap.PAGESIZE), np.uint8)
    address, vector = ctypes.c_void_p(mapping.ctypes.data), ctypes.c_void_p(pages.ctypes.data)
    _check(_LIBC.mincore(address, ctypes.c_size_t(mapping.size), vector))
    return int(np.count_nonzero(pages & 1))


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
