"""One uint8 file per split, mapped into memory: a batch is one gather, and the page cache is the only cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import psutil

from loaders.core.format import Candidate, Format, Written
from loaders.core.options import EncodingOptions, read_option
from loaders.store.arrays import ArraysReader, data_name, open_arrays, write_arrays
from loaders.store.intake import Intake
from loaders.store.manifest import Store


class MmapOptions(EncodingOptions):
    """Options of the mmap loader."""

    readahead: Literal["auto", "on", "off"] = read_option(
        "auto",
        description="on: the system reads ahead around missing pages; off: only a batch's own pages, all at once; "
        "auto: on if the split fits half of the free memory",
    )


class MmapFormat(Format[MmapOptions]):
    """Linux mmap."""

    name = "mmap"
    Options = MmapOptions
    candidates = (
        Candidate(ragged_reads=("workers",)),
        Candidate({"encoding": "jpeg"}, reads=("process", "thread", "workers"), needs="files"),
    )

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Flat files."""
        return Written(write_arrays(splits, folder))

    def open(self, store: Store, split: str) -> ArraysReader:
        """Map the files."""
        encoding = self.options.encoding
        path = store.location / data_name(split, encoding)
        return ArraysReader(open_arrays(store, split, encoding, scattered=self._scattered(path)), self.options.kind)

    def _scattered(self, path: Path) -> bool:
        """Pages that are read ahead help only if they are still in memory when they are needed."""
        if self.options.readahead != "auto":
            return self.options.readahead == "off"
        return path.stat().st_size > psutil.virtual_memory().available // 2
