"""Imagenette in its three sizes: ten classes of ImageNet as JPEG files of many sizes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bench.errors import UsageError
from bench.sources.archives import extract
from bench.sources.base import Archive, Contents, Report
from bench.sources.file_split import DatasetFiles, FolderFiles
from bench.sources.files import MARKER, exists
from bench.sources.folder import survey
from bench.sources.official import VERIFIED, OfficialSource
from bench.sources.twins import make_imagenette_twin

NAMES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""WordNet identifiers of the classes, in the order of their labels."""
_PUBLISHED = "https://s3.amazonaws.com/fast-ai-imageclas"


class Imagenette(OfficialSource):
    """9,469 / 3,925 photographs of ten classes, ``train`` and ``val``; read from the extracted tree."""

    name = "imagenette"
    summary = "9,469 / 3,925 JPEG photographs of 10 classes, of many sizes"
    ragged = True
    archive: ClassVar[Archive] = Archive(
        f"{_PUBLISHED}/imagenette2.tgz", "imagenette2.tgz", "fe2fc210e6bb7c5664d602c3cd71e612"
    )
    longest: ClassVar[int] = 1500  # longest side of the twin's images in pixels

    @property
    def tree(self) -> Path:
        """Holds both splits."""
        return self.folder / self.archive.name.removesuffix(".tgz")

    def _candidates(self) -> list[DatasetFiles]:
        return [FolderFiles(self.tree, ("train", "val"))]

    def _examine(self, files: DatasetFiles) -> Contents:
        listing = survey(self.tree, self.options.test_share)
        classes = tuple(NAMES.get(wnid, wnid) for wnid in listing.classes)
        # The official tree's list of noisy labels is no news.
        notes = [note for note in listing.notes if "noisy_imagenette.csv" not in note]
        return self._listed(files, listing._replace(classes=classes, notes=notes), None)

    def make_twin(self, fraction: float, report: Report) -> None:
        """Write a tree of JPEG files of many sizes, cut from two photographs."""
        make_imagenette_twin(self.tree, list(NAMES), self.longest, fraction, report)
        self._forget()

    def unpack(self, archive: Path, report: Report) -> Path:
        """Extract the verified archive; a ``UsageError`` where another tree lies."""
        if exists(self.tree) and not exists(self.tree / MARKER) and not exists(self.tree / VERIFIED):
            raise UsageError(f"{self.tree} is there already; move it away and run this again")
        extract(archive, self.folder, self.tree.name, report)
        self._mark_verified(self.tree, survey(self.tree, self.options.test_share).fingerprint)
        return self.tree


class Imagenette320(Imagenette):
    """The same with a short side of 320 pixels at most."""

    name = "imagenette-320"
    summary = "the same, short side 320 pixels"
    archive = Archive(f"{_PUBLISHED}/imagenette2-320.tgz", "imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3")
    longest = 480


class Imagenette160(Imagenette):
    """The same with a short side of 160 pixels at most."""

    name = "imagenette-160"
    summary = "the same, short side 160 pixels"
    archive = Archive(f"{_PUBLISHED}/imagenette2-160.tgz", "imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412")
    longest = 240
