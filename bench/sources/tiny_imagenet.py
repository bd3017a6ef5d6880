"""Tiny ImageNet from its official zip or the extracted tree; the JPEG files are passed on as they are."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.errors import DataError, UsageError
from bench.sources.archives import ArchiveFiles, extract
from bench.sources.base import Archive, Contents, Report
from bench.sources.file_split import DatasetFiles, FolderFiles, Samples, Survey
from bench.sources.files import exists, read_errors
from bench.sources.official import OfficialSource
from bench.sources.twins import make_tiny_imagenet_twin

TOP, ARCHIVE = "tiny-imagenet-200", "tiny-imagenet-200.zip"
SHAPE = (3, 64, 64)
ANNOTATIONS = "val/val_annotations.txt"
TEXTS = ("wnids.txt", "words.txt", ANNOTATIONS)
# File managers leave hidden files, as ._val_0.JPEG, which are not read.
_IMAGE = re.compile(r"(train/[^/]*|val)/images/(?!\.)[^/]*\.(?i:jpe?g)")
_RESTORE = "restore the official files or run `bench fetch tiny-imagenet`"
# The official files have 2 kB on average; one of this size is no 64x64 JPEG and is not taken into memory.
_MOST_BYTES = 16 << 20


class TinyImageNet(OfficialSource):
    """100,000 / 10,000 photographs of 200 classes; the test split is the official validation set.

    The fingerprint of files without a known checksum covers the class list, the annotations and every image's name and
    size, not its content.
    """

    name = "tiny-imagenet"
    summary = "100,000 / 10,000 JPEG photographs of 200 classes, 3x64x64"
    archive: ClassVar[Archive] = Archive(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip", ARCHIVE, "90528d7ca1a48142e341f4ef8d21d0de", 248_100_043
    )

    def _candidates(self) -> list[DatasetFiles]:
        tree = FolderFiles(self.folder / TOP, (*TEXTS, "train", "val/images"), _MOST_BYTES)
        return [tree, ArchiveFiles(self.folder / ARCHIVE, TOP, self.name, _MOST_BYTES)]

    def _examine(self, files: DatasetFiles) -> Contents:
        return self._listed(files, survey(files), SHAPE)

    def make_twin(self, fraction: float, report: Report) -> None:
        """Write a tree of JPEG files cut from two photographs; see ``bench.sources.twins``."""
        make_tiny_imagenet_twin(self.folder / TOP, fraction, report)
        self._forget()

    def unpack(self, archive: Path, report: Report) -> Path:
        """Extract the verified zip, as other programs expect the tree; a ``UsageError`` where another tree lies."""
        tree, packed = self._candidates()
        fingerprint = survey(packed).fingerprint
        if not exists(tree.path) or tree.has_marker():
            extract(archive, self.folder, TOP, report)
        elif tree.lacking() or survey(tree).fingerprint != fingerprint:
            raise UsageError(f"{tree.path} does not hold what {archive.name} holds; move it away and run this again")
        self._mark_verified(tree.path, fingerprint)
        return tree.path


def survey(files: DatasetFiles) -> Survey:
    """List all samples; a ``DataError`` for a tree that is incomplete or contradicts itself.

    Labels are positions among the sorted identifiers of ``wnids.txt``, as ``torchvision.datasets.ImageFolder`` gives
    them. Training images come by class and, within a class, by the numbers in their names; test images, which are
    those of ``val``, by the numbers in their names alone. ``test/``, which has no labels, is not read.
    """
    sizes = files.sizes() if isinstance(files, ArchiveFiles) else _tree_sizes(files.path)
    sizes = {name: size for name, size in sizes.items() if name in TEXTS or _IMAGE.fullmatch(name)}
    with files.opened() as read:
        texts = {name: read(name) for name in TEXTS}
    wnids = sorted(_lines(texts["wnids.txt"]))
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    if not labels or len(labels) != len(wnids):
        raise DataError(f"{files.path}/wnids.txt names no class or one twice; {_RESTORE}")
    words = dict(line.split("\t", 1) for line in _lines(texts["words.txt"]) if "\t" in line)
    listing = "".join(f"{name}\t{size}\n" for name, size in sorted(sizes.items())).encode()
    return Survey(
        # The first of the synonyms; names may repeat (there are two cranes), identifiers may not.
        classes=tuple(words.get(wnid, wnid).split(",")[0].strip() for wnid in wnids),
        train=_samples(_training(files.path, sizes, labels), sizes, by_class=True),
        test=_samples(_validation(files.path, sizes, labels, _lines(texts[ANNOTATIONS])), sizes, by_class=False),
        fingerprint=hashlib.sha256(b"\0".join([listing, *texts.values()])).hexdigest(),
        notes=[],
    )


def _tree_sizes(tree: Path) -> dict[str, int]:
    """Bytes of every file that is read, by its path; a second for 110,000 files."""
    with read_errors(tree, _RESTORE):
        sizes = {name: (tree / name).stat().st_size for name in TEXTS}
        with os.scandir(tree / "train") as entries:
            folders = [f"train/{entry.name}/images" for entry in entries if entry.is_dir()]
        for folder in (*folders, "val/images"):
            # A class without its folder has no images, which is found when the classes are counted.
            if (tree / folder).is_dir():
                with os.scandir(tree / folder) as entries:
                    sizes.update((f"{folder}/{entry.name}", entry.stat().st_size) for entry in entries)
    return sizes


def _training(root: Path, sizes: dict[str, int], labels: dict[str, int]) -> dict[str, int]:
    """Label of each training image."""
    wnids = {name: name.split("/")[1] for name in sizes if name.startswith("train/")}
    for wnid in sorted(labels.keys() ^ set(wnids.values())):
        if wnid in labels:
            raise DataError(f"class {wnid} has no images in {root}/train/{wnid}/images; {_RESTORE}")
        raise DataError(f"{root}/train/{wnid} is no class that wnids.txt names; {_RESTORE}")
    return {name: labels[wnid] for name, wnid in wnids.items()}


def _validation(root: Path, sizes: dict[str, int], labels: dict[str, int], lines: list[str]) -> dict[str, int]:
    """Label of each validation image, as ``val_annotations.txt`` has it."""
    images: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        image, _, rest = line.partition("\t")
        wnid, path = rest.split("\t")[0], f"val/images/{image}"
        where = f"{root}/{ANNOTATIONS}, line {number}"
        if wnid not in labels:
            raise DataError(f"{where}: {image} has the class {wnid!r}, unknown to wnids.txt; {_RESTORE}")
        if path not in sizes:
            raise DataError(f"{where}: the image {path} is missing; {_RESTORE}")
        if path in images:
            raise DataError(f"{where}: {image} is there twice; {_RESTORE}")
        images[path] = labels[wnid]
    if not images:
        raise DataError(f"{root}/{ANNOTATIONS} lists no images; {_RESTORE}")
    for name in sizes:
        if name.startswith("val/images/") and name not in images:
            raise DataError(f"{root}/{name} has no line in val_annotations.txt; {_RESTORE}")
    return images


def _samples(images: dict[str, int], sizes: dict[str, int], *, by_class: bool) -> Samples:
    """The images in the order of the numbers in their names, perhaps class by class."""
    paths = sorted(images, key=lambda path: (images[path] if by_class else 0, _natural(path)))
    labels = np.array([images[path] for path in paths], np.int64)
    return Samples(paths, np.array([sizes[path] for path in paths], np.int64), labels)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts the numbers in a name by value: ``_2`` before ``_10``."""
    return [(int(digits or -1), text) for digits, text in re.findall(r"(\d+)|(\D+)", name)]


def _lines(data: bytes) -> list[str]:
    return [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
