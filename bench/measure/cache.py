"""What the page cache held of a store during a run: the wish, the evidence, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.measure.pagecache import evict, files_of, residency
from bench.records import CacheEvidence, CachePart
from loaders import StoreInfo
from loaders.store.checksums import checksums_name
from loaders.store.manifest import MANIFEST

COLD_LIMIT = 0.01
"""Largest share of the samples' files that may be in memory where an epoch counts as cold."""
WARM_LIMIT = 0.99
"""Smallest share that must be, where it counts as warm."""


class CacheWatch:
    """Evicts a store and gathers evidence, opening by opening and epoch by epoch."""

    def __init__(self, location: Path, info: StoreInfo, wanted: str) -> None:
        self._location = location
        self._data = None if info.data_files is None else [location / name for name in info.data_files]
        self._beside = {MANIFEST, *map(checksums_name, info.splits)}  # nothing that an epoch reads
        self._elsewhere = info.elsewhere_bytes
        self._wanted = wanted
        self._after_eviction: list[float | None] = []
        self._before_epoch: list[float | None] = []
        self._method = "none"
        self._bytes = 0

    def evict(self) -> None:
        """Drop the whole store from the page cache. Every process must have closed it.

        Raises:
            OSError: a file cannot be opened.
        """
        evict(files_of(self._location))
        self._after_eviction.append(self._look())

    def before_epoch(self) -> None:
        """Note how much is in memory now."""
        self._before_epoch.append(self._look())

    def part(self, read_bytes: Sequence[int | None], elsewhere_read_bytes: Sequence[int | None]) -> CachePart:
        """The record's part.

        Args:
            read_bytes: bytes read from storage in each epoch, ``None`` where the system does not tell.
            elsewhere_read_bytes: bytes that a server outside the store read, ``None`` where it does not tell.
        """
        evidence = CacheEvidence(
            method=self._method,
            bytes=self._bytes,
            after_eviction=self._after_eviction,
            before_epoch=self._before_epoch,
            read_bytes=list(read_bytes),
            elsewhere_read_bytes=list(elsewhere_read_bytes) if self._elsewhere else [],
        )
        state, reason = judge(self._wanted, evidence, self._elsewhere)
        return CachePart(wanted=self._wanted, state=state, evidence=evidence, reason=reason)

    def _look(self) -> float | None:
        samples = (path for path in files_of(self._location) if path.name not in self._beside)
        found = residency(samples if self._data is None else self._data)
        self._method, self._bytes = found.method, found.bytes
        return found.fraction if found.files else None


def judge(wanted: str, evidence: CacheEvidence, elsewhere_bytes: int = 0) -> tuple[str, str | None]:
    """The state that the evidence shows, and why it is unverified if it is.

    Args:
        wanted: "cold", "warm" or "as-is".
        evidence: what was seen.
        elsewhere_bytes: size of what lies outside the store's folder, where nobody can look.
    """
    if elsewhere_bytes:
        return _judge_elsewhere(wanted, evidence, elsewhere_bytes)
    shares = evidence.after_eviction if wanted == "cold" else evidence.before_epoch
    known = [share for share in shares if share is not None]
    if not known or len(known) < len(shares):
        return "unverified", "the system does not tell what is in memory"
    low, high = min(known), max(known)
    if wanted != "warm" and high <= COLD_LIMIT:
        return "cold", None
    if wanted == "cold":
        return "unverified", f"{high:.1%} of the store stayed in memory"
    if low < WARM_LIMIT:
        return "unverified", f"only {low:.1%} of the store was in memory before an epoch"
    read = max((share for share in evidence.read_bytes if share is not None), default=0)
    if read > (1 - WARM_LIMIT) * evidence.bytes:
        return "unverified", f"{read / 1e6:.1f} MB were read from storage during an epoch"
    return "warm", None


def _judge_elsewhere(wanted: str, evidence: CacheEvidence, size: int) -> tuple[str, str | None]:
    """Of a server that nobody can look into: only what it says it had not to read shows that it was warm."""
    told = [read for read in evidence.elsewhere_read_bytes if read is not None]
    if wanted == "cold" or not told or len(told) < len(evidence.elsewhere_read_bytes):
        return "unverified", "the samples lie on a server outside the store"
    if (read := max(told)) > (1 - WARM_LIMIT) * size:
        return "unverified", f"the server outside the store had to read {read / 1e6:.1f} MB in an epoch"
    return "warm", None
