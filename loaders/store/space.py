"""Stops a preparation early if its store will not fit the disk, estimated from its first samples."""

from __future__ import annotations

import shutil
from pathlib import Path

from loaders.core.errors import StoreError
from loaders.store.writer import folder_bytes

PROBE = 64 << 20
"""Bytes of samples after which the store's size is extrapolated."""


class SpaceCheck:
    """Measures the folder after its first block and after `PROBE` bytes more, and extrapolates to all samples."""

    def __init__(self, location: Path, folder: Path, samples: int) -> None:
        """Args: samples: number still to be written, of all splits."""
        self._location, self._folder, self._left = location, folder, samples
        self._start: int | None = None  # size of the folder after the first block
        self._measured = self._bytes = 0

    def add(self, samples: int, size: int) -> None:
        """Count a block that was written.

        Raises:
            StoreError: the remaining samples will not fit the disk.
        """
        self._left -= samples
        if self._start is None:  # what a format writes before its first samples does not count
            self._start = folder_bytes(self._folder)[1]
        elif self._bytes < PROBE:
            self._measured, self._bytes = self._measured + samples, self._bytes + size
            if self._bytes < PROBE:
                return
            needed = int((folder_bytes(self._folder)[1] - self._start) / self._measured * self._left)
            free = shutil.disk_usage(self._folder).free
            if needed > free:
                raise StoreError(
                    f"the store {self._location} will need about {in_words(needed)} more and its disk has "
                    f"{in_words(free)} free; free some space, choose another --store-dir, or store less (--limit, "
                    "--resize)"
                )


def in_words(count: int) -> str:
    """Bytes in MB or GB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
