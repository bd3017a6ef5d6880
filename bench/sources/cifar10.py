"""CIFAR-10 from any of its official forms: the Python or the binary version, as archive or extracted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import ClassVar, Literal

from bench.errors import DataError
from bench.sources.archives import ArchiveFiles
from bench.sources.base import Archive, Contents, Report
from bench.sources.cifar_layout import BINARY, CLASSES, PICKLED, SHAPE, Layout
from bench.sources.file_split import DatasetFiles, FolderFiles
from bench.sources.files import file_md5
from bench.sources.official import OfficialSource
from bench.sources.twins import make_cifar10_twin
from loaders import Block, Split

_BLOCK, _OFFICIAL_COUNT = 1000, 10_000
# An official batch has 31 MB; a file of twice that is no CIFAR-10 batch and is not taken into memory.
_MOST_BYTES = 64 << 20


class BatchSplit:
    """Some batch files, one in memory at a time; ``counts`` has the number of samples by file name."""

    encoding: Literal["raw", "jpeg"] = "raw"
    shape = SHAPE

    def __init__(self, layout: Layout, files: DatasetFiles, counts: dict[str, int]) -> None:
        self._layout, self._files, self._counts = layout, files, counts

    def __len__(self) -> int:
        return sum(self._counts.values())

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of at most 1,000 samples, in the order of the files and of the samples in them."""
        end = len(self) if stop is None else stop
        begin = 0  # position of a file's first sample in the split
        with self._files.opened() as read:
            for name, count in self._counts.items():
                first, last = max(start - begin, 0), min(end - begin, count)
                begin += count
                if first >= last:
                    continue
                path = f"{self._files.path}/{name}"
                images, labels = self._layout.decode(read(name), path)
                if len(labels) != count:
                    raise DataError(f"{path} changed while it was read; try again")
                for at in range(first, last, _BLOCK):
                    part = slice(at, min(at + _BLOCK, last))
                    # A copy: contiguous in both layouts, and writable, where the file's bytes are not.
                    yield Block(images[part].copy(), None, labels[part])


class Cifar10(OfficialSource):
    """50,000 / 10,000 small colour photographs of ten classes: the five training batches in order, the test batch."""

    name = "cifar10"
    summary = "50,000 / 10,000 colour photographs of 10 classes, 3x32x32"
    archive: ClassVar[Archive] = Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", PICKLED.archive, PICKLED.archive_md5, 170_498_071
    )

    def _candidates(self) -> list[DatasetFiles]:
        candidates: list[DatasetFiles] = []
        for layout in (PICKLED, BINARY):
            names = (*layout.batches, layout.meta)
            candidates.append(FolderFiles(self.folder / layout.folder, names, _MOST_BYTES))
            candidates.append(ArchiveFiles(self.folder / layout.archive, layout.folder, self.name, _MOST_BYTES))
        return candidates

    def _examine(self, files: DatasetFiles) -> Contents:
        layout = PICKLED if files.path.name in (PICKLED.folder, PICKLED.archive) else BINARY
        if isinstance(files, ArchiveFiles) and file_md5(files.path) == layout.archive_md5:
            official, synthetic, classes = True, False, CLASSES
            checksums, counts = layout.batches, dict.fromkeys(layout.batches, _OFFICIAL_COUNT)
        else:
            checksums, counts = {}, {}
            with files.opened() as read:
                for name in layout.batches:
                    data = read(name)
                    checksums[name] = hashlib.new(layout.algorithm, data, usedforsecurity=False).hexdigest()
                    counts[name] = len(layout.decode(data, f"{files.path}/{name}")[1])
                classes = layout.class_names(read(layout.meta), f"{files.path}/{layout.meta}")
            synthetic = files.has_marker()
            official = checksums == layout.batches and classes == CLASSES and not synthetic
        # All official forms hold the same samples: extracting an archive does not make it another dataset.
        identity = PICKLED.archive_md5 if official else repr((sorted(checksums.items()), classes))
        info = self._info(classes, identity, official=official, synthetic=synthetic)
        *train, test = counts
        splits: dict[str, Split] = {}
        for split, names in (("train", train), ("test", [test])):
            splits[split] = BatchSplit(layout, files, {name: counts[name] for name in names})
            if not len(splits[split]):
                raise DataError(f"{files.path} holds no {split} images; restore the official files")
        return Contents(info, splits, [])

    def make_twin(self, fraction: float, report: Report) -> None:
        """Write ``cifar-10-batches-py/`` with images cut from two photographs; see ``bench.sources.twins``."""
        make_cifar10_twin(self.folder, fraction, report)
        self._forget()
