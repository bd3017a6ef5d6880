"""The split as an array in RAM: the baseline that nobody can beat on the CPU."""

from __future__ import annotations

from typing import final

from loaders.formats.flat import FlatDataset


@final
class MemoryDataset(FlatDataset):
    """All bytes are read when the dataset opens; a batch is one gather."""

    name = "memory"
    resident = True
