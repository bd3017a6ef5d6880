"""Tiny ImageNet from its official zip or the extracted tree; the JPEG files are passed on as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from bench.errors import DataError, UsageError
from bench.sources.base import Archive, Report, Source
from bench.sources.files import MARKER, VERIFIED, exists, file_md5, is_verified, write_marker
from bench.sources.tiny_layout import ARCHIVE, TOP, Contents, Place, Samples, Tree, ZipTree, survey
from loaders import Block, DatasetInfo, Split

_BLOCK = 512


class _Survey(NamedTuple):
    """What the files turned out to be."""

    place: Place
    contents: Contents
    info: DatasetInfo


class FileSplit:
    """JPEG files of one split, a block at a time."""

    encoding: Literal["raw", "jpeg"] = "jpeg"
    shape = (3, 64, 64)

    def __init__(self, place: Place, samples: Samples) -> None:
        self._place, self._samples = place, samples

    def __len__(self) -> int:
        return len(self._samples.paths)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of at most 512 files; grey-scale files become three channels where they are decoded."""
        paths, labels = self._samples
        end = len(paths) if stop is None else stop
        with self._place.opened() as read:
            for begin in range(start, end, _BLOCK):
                part = slice(begin, min(begin + _BLOCK, end))
                yield Block(None, [read(path) for path in paths[part]], labels[part], paths[part])


class TinyImageNet(Source):
    """100,000 / 10,000 photographs of 200 classes; the test split is the official validation set.

    Read is the first complete one of: the tree ``tiny-imagenet-200/``, ``tiny-imagenet-200.zip``, a twin's tree. The
    fingerprint of files without a known checksum covers the class list, the annotations and every image's name and
    size, not its content.
    """

    name = "tiny-imagenet"
    summary = "100,000 / 10,000 JPEG photographs of 200 classes, 3x64x64"
    archive: ClassVar[Archive | None] = Archive(
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        name=ARCHIVE,
        md5="90528d7ca1a48142e341f4ef8d21d0de",
        size=248_100_043,
    )

    def missing(self) -> str | None:
        """None as soon as there is a zip or a tree with its text files and folders."""
        if self._found() is not None:
            return None
        remedy = "run `bench fetch tiny-imagenet`, or `bench fetch tiny-imagenet --synthetic` for a stand-in"
        tree = self.folder / TOP
        if exists(tree):
            return f"{tree} lacks {', '.join(self._absent())}; restore the official files or {remedy}"
        return f"tiny-imagenet is not in {self.folder}, where {ARCHIVE} or the tree {TOP}/ should lie; {remedy}"

    def info(self) -> DatasetInfo:
        """Official when the zip has the known checksum, or ``bench fetch`` extracted or checked the tree."""
        return self._survey.info

    def splits(self) -> dict[str, Split]:
        """Train is ``train``, test is ``val``; see ``tiny_layout.survey`` for their order."""
        place, contents, _ = self._survey
        return {"train": FileSplit(place, contents.train), "test": FileSplit(place, contents.test)}

    def make_twin(self, fraction: float, report: Report) -> None:
        """Write a tree of JPEG files cut from two photographs; see ``bench.sources.twins``."""
        from bench.sources.twins import make_tiny_imagenet_twin

        make_tiny_imagenet_twin(self.folder, TOP, ARCHIVE, fraction, report)
        self.__dict__.pop("_survey", None)

    def unpack(self, archive: Path, report: Report) -> Path:
        """Extract the verified zip, as other programs expect the tree, or check the tree that is there against it.

        Raises:
            UsageError: another tree is in the way.
        """
        from bench.sources.extraction import extract

        tree = self.folder / TOP
        listed = survey(ZipTree(archive)).fingerprint
        if not exists(tree) or exists(tree / MARKER):
            extract(archive, self.folder, TOP, report)
        elif self._absent() or survey(Tree(tree)).fingerprint != listed:
            raise UsageError(f"{tree} does not hold what {archive.name} holds; move it away and run this again")
        if self.archive is not None:
            write_marker(tree / VERIFIED, {"archive_md5": self.archive.md5, "fingerprint": listed})
        self.__dict__.pop("_survey", None)
        return tree

    def _absent(self) -> list[str]:
        names = ("wnids.txt", "words.txt", "train", "val/val_annotations.txt", "val/images")
        return [name for name in names if not exists(self.folder / TOP / name)]

    def _found(self) -> Place | None:
        tree, archive = self.folder / TOP, self.folder / ARCHIVE
        complete = not self._absent()
        if complete and not exists(tree / MARKER):
            return Tree(tree)
        if exists(archive):
            return ZipTree(archive)
        return Tree(tree) if complete else None

    @cached_property
    def _survey(self) -> _Survey:
        place = self._found()
        if place is None:
            raise DataError(self.missing() or f"the files in {self.folder} changed while they were read; try again")
        contents = survey(place)
        synthetic = place.has_marker()
        official = not synthetic and self._is_official(place, contents)
        # Both official forms hold the same samples: extracting the archive does not make it another dataset.
        identity = f"official {self.name}" if official else contents.fingerprint
        info = DatasetInfo(
            name=self.name,
            official=official,
            synthetic=synthetic,
            classes=contents.classes,
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        )
        return _Survey(place, contents, info)

    def _is_official(self, place: Place, contents: Contents) -> bool:
        known = self.archive.md5 if self.archive is not None else ""
        if isinstance(place, ZipTree):
            return file_md5(place.path) == known
        return is_verified(place.path, known, contents.fingerprint, self.name)
