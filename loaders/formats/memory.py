"""The split as an array in RAM: the baseline, and the fastest format on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loaders.core.format import Candidate, Format, Written
from loaders.core.options import EncodingOptions
from loaders.store.arrays import ArraysReader, open_arrays, write_arrays
from loaders.store.intake import Intake
from loaders.store.manifest import Store


class MemoryFormat(Format[EncodingOptions]):
    """All bytes are read on opening; a batch is one gather."""

    name = "memory"
    Options = EncodingOptions
    candidates = (Candidate(needs="memory"),)

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Flat files."""
        return Written(write_arrays(splits, folder))

    def open(self, store: Store, split: str) -> ArraysReader:
        """Read the files into memory."""
        encoding = self.options.encoding
        return ArraysReader(open_arrays(store, split, encoding, resident=True), self.options.kind)
