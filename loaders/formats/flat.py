"""What the loaders over flat files share: everything but where the bytes are when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from loaders.core.batch import Batch, Indices
from loaders.core.faults import check_labels
from loaders.core.options import LoaderOptions
from loaders.images.ragged import Payloads
from loaders.reading.dataset import ImageDataset
from loaders.store.arrays import ArrayOptions, ArrayReader, open_arrays, write_arrays
from loaders.store.intake import StreamedSplit
from loaders.store.writer import Written


class FlatDataset(ImageDataset[ArrayReader]):
    """One file of pixels, or of JPEG bytes, per split; a batch is one gather, or one decoding of slices."""

    resident: ClassVar[bool]
    """Whether opening reads all bytes into RAM rather than mapping them."""
    device = "cpu"
    max_workers = None
    Options = ArrayOptions
    ragged = True

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:  # noqa: ARG003
        """Always available."""
        return None

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: ArrayOptions) -> Written:
        return Written([n for split in splits.values() for n in write_arrays(split, folder, options.encoding)])

    def _open(self) -> ArrayReader:
        options: Any = self.options
        arrays = open_arrays(
            self.location,
            self.split,
            self.split_info,
            options.encoding,
            resident=self.resident,
            scattered=self._scattered(),
        )
        check_labels(arrays.labels, len(self.info.dataset.classes), self.split, self.location)
        return ArrayReader(arrays, self.split_info.shape, options.threads)

    def _scattered(self) -> bool:
        """Whether nothing shall be read around a sample."""
        return False

    def _read(self, handle: ArrayReader, indices: Indices) -> Batch:
        return handle.read(indices)

    def _payloads(self, handle: ArrayReader, indices: Indices) -> Payloads:
        return handle.payloads(indices)

    def _close(self, handle: ArrayReader) -> None:
        handle.close()
