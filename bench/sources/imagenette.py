"""Imagenette in its three sizes: ten classes of ImageNet as JPEG files of many sizes."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from bench.errors import UsageError
from bench.sources.base import Archive, Report, Source, SourceOptions
from bench.sources.files import MARKER, VERIFIED, exists, is_folder, is_verified, write_marker
from bench.sources.image_folder import Survey, survey
from bench.sources.resized import splits_of
from loaders import DatasetInfo, Split

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


class Imagenette(Source):
    """9,469 / 3,925 photographs of ten classes; read from the extracted tree.

    The fingerprint of a tree that ``bench fetch`` did not make covers every image's path and size, not its content.
    """

    summary = "9,469 / 3,925 JPEG photographs of 10 classes, of many sizes"
    ragged = True
    top: ClassVar[str] = "imagenette2"
    archive: ClassVar[Archive | None] = Archive(
        url=f"{_PUBLISHED}/imagenette2.tgz",
        name="imagenette2.tgz",
        md5="fe2fc210e6bb7c5664d602c3cd71e612",
    )
    name = "imagenette"
    longest: ClassVar[int] = 1500
    """Longest side of the twin's images in pixels."""

    def __init__(self, data_dir: Path, options: SourceOptions | None = None) -> None:
        super().__init__(data_dir, options)
        self._tree = self.folder / self.top

    def missing(self) -> str | None:
        """None as soon as there is a tree with both splits."""
        if all(is_folder(self._tree / split) for split in ("train", "val")):
            return None
        remedy = f"run `bench fetch {self.name}`, or `bench fetch {self.name} --synthetic` for a stand-in"
        return (
            f"{self.name} is not in {self.folder}, where the tree {self.top}/ with train/ and val/ should lie; {remedy}"
        )

    def info(self) -> DatasetInfo:
        """Official when ``bench fetch`` made the tree and no file's name or size has changed since."""
        found = self._survey
        synthetic = exists(self._tree / MARKER)
        official = not synthetic and self._is_official(found)
        identity = f"{f'official {self.name}' if official else found.fingerprint} {self.options.identity()}"
        return DatasetInfo(
            name=self.name,
            official=official and self.options.resize is None,
            synthetic=synthetic,
            classes=tuple(NAMES.get(wnid, wnid) for wnid in found.classes),
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
            resize=self.options.resize,
        )

    def splits(self) -> dict[str, Split]:
        """Train is ``train``, test is ``val``."""
        return splits_of(self._tree, self._survey, self.options.resize)

    def notes(self) -> list[str]:
        """What was left out; the official tree's list of noisy labels is no news."""
        return [note for note in self._survey.notes if "noisy_imagenette.csv" not in note]

    def make_twin(self, fraction: float, report: Report) -> None:
        """Write a tree of JPEG files of many sizes, cut from two photographs."""
        from bench.sources.photo_twin import make_imagenette_twin

        make_imagenette_twin(
            self.folder, self.top, str(self.archive and self.archive.name), self.longest, fraction, report
        )
        self.__dict__.pop("_survey", None)

    def unpack(self, archive: Path, report: Report) -> Path:
        """Extract the verified archive.

        Raises:
            UsageError: another tree is in the way.
        """
        from bench.sources.tar_extraction import extract_tar

        if exists(self._tree) and not exists(self._tree / MARKER) and not exists(self._tree / VERIFIED):
            raise UsageError(f"{self._tree} is there already; move it away and run this again")
        extract_tar(archive, self.folder, self.top, report)
        self.__dict__.pop("_survey", None)
        assert self.archive is not None
        marker = {"archive_md5": self.archive.md5, "fingerprint": self._survey.fingerprint}
        write_marker(self._tree / VERIFIED, marker)
        return self._tree

    def _is_official(self, found: Survey) -> bool:
        if self.archive is None:
            return False
        return is_verified(self._tree, self.archive.md5, found.fingerprint, self.name)

    @cached_property
    def _survey(self) -> Survey:
        return survey(self._tree, self.options.test_share)


class Imagenette320(Imagenette):
    """The same with a short side of 320 pixels at most."""

    summary = "the same, short side 320 pixels"
    name = "imagenette-320"
    top = "imagenette2-320"
    archive = Archive(
        url=f"{_PUBLISHED}/imagenette2-320.tgz", name="imagenette2-320.tgz", md5="3df6f0d01a2c9592104656642f5e78a3"
    )
    longest = 480


class Imagenette160(Imagenette):
    """The same with a short side of 160 pixels at most."""

    summary = "the same, short side 160 pixels"
    name = "imagenette-160"
    top = "imagenette2-160"
    archive = Archive(
        url=f"{_PUBLISHED}/imagenette2-160.tgz", name="imagenette2-160.tgz", md5="e793b78cc4c9e9a4ccc0c1155377a412"
    )
    longest = 240
