"""One uint8 file per split, mapped into memory: a batch is one gather."""

from __future__ import annotations

from typing import final

from loaders.flat import FlatDataset


@final
class MmapDataset(FlatDataset):
    """Linux mmap: the kernel's page cache is the only cache."""

    name = "mmap"
    resident = False
