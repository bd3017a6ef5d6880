"""One uint8 file per split, mapped into memory: a batch is one gather."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from loaders.arrays import ArrayOptions, ArrayReader, open_arrays, write_arrays
from loaders.base import ImageDataset
from loaders.batch import Batch, Indices
from loaders.options import LoaderOptions
from loaders.split import StreamedSplit
from loaders.store import Written


@final
class MmapDataset(ImageDataset[ArrayReader]):
    """Linux mmap: the kernel's page cache is the only cache."""

    name = "mmap"
    device = "cpu"
    max_workers = None
    Options = ArrayOptions

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:  # noqa: ARG003
        """Always available."""
        return None

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: ArrayOptions) -> Written:
        return Written([n for split in splits.values() for n in write_arrays(split, folder, options.encoding)])

    def _open(self) -> ArrayReader:
        options: Any = self.options
        arrays = open_arrays(self.location, self.split, self.split_info, options.encoding)
        return ArrayReader(arrays, self.split_info.shape, options.threads)

    def _read(self, handle: ArrayReader, indices: Indices) -> Batch:
        return handle.read(indices)

    def _close(self, handle: ArrayReader) -> None:
        handle.close()
