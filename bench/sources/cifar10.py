"""CIFAR-10 from any of its official forms: the Python or the binary version, as archive or extracted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple

from bench.errors import DataError
from bench.sources.base import Archive, Report, Source
from bench.sources.cifar_layout import BINARY, CLASSES, PICKLED, SHAPE, Folder, Layout, Place, TarArchive
from bench.sources.files import MARKER, exists, file_md5
from loaders import Block, DatasetInfo, Split, between

_BLOCK = 1000
_OFFICIAL_COUNT = 10_000


class _Survey(NamedTuple):
    """What the files turned out to be."""

    layout: Layout
    place: Place
    info: DatasetInfo
    counts: dict[str, int]


class BatchSplit:
    """Some batch files, one in memory at a time."""

    encoding: Literal["raw", "jpeg"] = "raw"
    shape = SHAPE

    def __init__(self, survey: _Survey, names: Sequence[str]) -> None:
        self._survey, self._names = survey, names

    def __len__(self) -> int:
        return sum(self._survey.counts[name] for name in self._names)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of at most 1,000 samples, in the order of the files and of the samples in them."""
        return between(self._blocks(), start, stop)

    def _blocks(self) -> Iterator[Block]:
        layout, place = self._survey.layout, self._survey.place
        for name, data in place.read(self._names):
            images, labels = layout.decode(data, f"{place.path}/{name}")
            if len(labels) != self._survey.counts[name]:
                raise DataError(f"{place.path}/{name} changed while it was read; try again")
            for start in range(0, len(labels), _BLOCK):
                part = slice(start, start + _BLOCK)
                # A copy: contiguous in both layouts, and writable, where the file's bytes are not.
                yield Block(images[part].copy(), None, labels[part])


class Cifar10(Source):
    """50,000 / 10,000 small colour photographs of ten classes.

    Read is the first complete one of: ``cifar-10-batches-py/``, ``cifar-10-batches-bin/``,
    ``cifar-10-python.tar.gz``, ``cifar-10-binary.tar.gz``; folders that a twin's marker names come last, so that
    official files fetched later are not hidden by a twin.
    """

    name = "cifar10"
    summary = "50,000 / 10,000 colour photographs of 10 classes, 3x32x32"
    archive: ClassVar[Archive | None] = Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        name=PICKLED.archive,
        md5=PICKLED.archive_md5,
        size=170_498_071,
    )

    def missing(self) -> str | None:
        """None as soon as one form is complete by its file names."""
        if self._found() is not None:
            return None
        remedy = "run `bench fetch cifar10`, or `bench fetch cifar10 --synthetic` for a stand-in"
        for layout in (PICKLED, BINARY):
            folder = self.folder / layout.folder
            absent = [name for name in (*layout.batches, layout.meta) if not exists(folder / name)]
            if folder.is_dir() and absent:
                return f"{folder} lacks {', '.join(absent)}; restore the official files or {remedy}"
        return (
            f"cifar10 is not in {self.folder}, where {PICKLED.archive}, {BINARY.archive}, {PICKLED.folder}/ or "
            f"{BINARY.folder}/ should lie; {remedy}"
        )

    def info(self) -> DatasetInfo:
        """Official when the archive, or all files of a folder, have the known checksums. Reads everything once."""
        return self._survey.info

    def splits(self) -> dict[str, Split]:
        """Train is the five training batches in order, test the test batch."""
        survey = self._survey
        return {
            "train": BatchSplit(survey, tuple(survey.layout.train)),
            "test": BatchSplit(survey, tuple(survey.layout.test)),
        }

    def make_twin(self, fraction: float, report: Report) -> None:
        """Write ``cifar-10-batches-py/`` with images cut from two photographs; see ``bench.sources.twins``."""
        from bench.sources.twins import make_cifar10_twin

        make_cifar10_twin(self.folder, fraction, report)
        self.__dict__.pop("_survey", None)

    def _found(self) -> tuple[Layout, Place] | None:
        layouts = (PICKLED, BINARY)
        folders = [
            (layout, self.folder / layout.folder)
            for layout in layouts
            if all(exists(self.folder / layout.folder / name) for name in (*layout.batches, layout.meta))
        ]
        real: list[tuple[Layout, Place]] = [(la, Folder(path)) for la, path in folders if not exists(path / MARKER)]
        archives = ((layout, self.folder / layout.archive) for layout in layouts)
        real += [(layout, TarArchive(path, layout.folder)) for layout, path in archives if exists(path)]
        twins = [(layout, Folder(path)) for layout, path in folders if exists(path / MARKER)]
        return next(iter([*real, *twins]), None)

    @cached_property
    def _survey(self) -> _Survey:
        found = self._found()
        if found is None:
            raise DataError(self.missing() or f"the files in {self.folder} changed while they were read; try again")
        layout, place = found
        if isinstance(place, TarArchive) and file_md5(place.path) == layout.archive_md5:
            checksums, counts, classes = dict(layout.batches), dict.fromkeys(layout.batches, _OFFICIAL_COUNT), CLASSES
            synthetic = False
        else:
            if isinstance(place, TarArchive):
                place.check()
            checksums, counts, classes = _examined(layout, place)
            synthetic = place.has_marker()
        official = checksums == layout.batches and classes == CLASSES and not synthetic
        # All official forms hold the same samples: extracting an archive does not make it another dataset.
        identity = PICKLED.archive_md5 if official else repr((sorted(checksums.items()), classes))
        info = DatasetInfo(
            name=self.name,
            official=official,
            synthetic=synthetic,
            classes=classes,
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        )
        return _Survey(layout, place, info, counts)


def _examined(layout: Layout, place: Place) -> tuple[dict[str, str], dict[str, int], tuple[str, ...]]:
    """Checksums and counts of all batches, and the class names; every file is read once."""
    checksums: dict[str, str] = {}
    counts: dict[str, int] = {}
    classes = CLASSES
    for name, data in place.read((*layout.batches, layout.meta)):
        label = f"{place.path}/{name}"
        if name == layout.meta:
            classes = layout.class_names(data, label)
            continue
        checksums[name] = layout.checksum(data)
        counts[name] = len(layout.decode(data, label).labels)
    for split, names in (("training", layout.train), ("test", layout.test)):
        if not any(counts[name] for name in names):
            raise DataError(f"{place.path} holds no {split} images; restore the official files")
    return checksums, counts, classes
