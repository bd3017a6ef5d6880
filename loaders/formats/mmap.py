"""One uint8 file per split, mapped into memory: a batch is one gather."""

from __future__ import annotations

from typing import Any, Literal, final

import psutil

from loaders.core.options import read_option
from loaders.formats.flat import FlatDataset
from loaders.store.arrays import ArrayOptions, data_name


class MmapOptions(ArrayOptions):
    """Options of the mmap loader."""

    readahead: Literal["auto", "on", "off"] = read_option(
        "auto",
        description="on: the system reads around what is missing; off: a batch's own pages alone, all at once; "
        "auto: on where the split fits half of the free memory",
    )


@final
class MmapDataset(FlatDataset):
    """Linux mmap: the kernel's page cache is the only cache."""

    name = "mmap"
    resident = False
    Options = MmapOptions

    def _scattered(self) -> bool:
        """What is read around a sample helps only if it is still there when its turn comes."""
        options: Any = self.options
        if options.readahead != "auto":
            return bool(options.readahead == "off")
        size = (self.location / data_name(self.split, options.encoding)).stat().st_size
        return size > psutil.virtual_memory().available // 2
