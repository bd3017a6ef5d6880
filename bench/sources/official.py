"""What the datasets that are downloaded share: which of their files are read, and what these hold."""

from __future__ import annotations

import abc
import json
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from bench.errors import DataError
from bench.sources.archives import ArchiveFiles
from bench.sources.base import Archive, Contents, Source
from bench.sources.file_split import DatasetFiles, Shape, Survey
from bench.sources.files import exists, file_md5, read_bytes, write_marker

VERIFIED = "VERIFIED.json"  # from ``bench fetch``: the checksum of a tree's archive, and its files' fingerprint


class OfficialSource(Source):
    """A dataset with a download and a twin, which does not hide official files that are fetched later.

    It is official when its files have the known checksums, or ``bench fetch`` made or checked the tree.
    """

    archive: ClassVar[Archive]

    @abc.abstractmethod
    def _candidates(self) -> list[DatasetFiles]:
        """Where the files may lie."""

    @abc.abstractmethod
    def _examine(self, files: DatasetFiles) -> Contents:
        """What complete files hold; errors as of ``info``."""

    def missing(self) -> str | None:
        """None as soon as one candidate is complete by its file names."""
        if self._complete():
            return None
        remedy = f"run `bench fetch {self.name}`, or `bench fetch {self.name} --synthetic` for a stand-in"
        for files in self._candidates():
            if exists(files.path):
                return f"{files.path} lacks {', '.join(files.lacking())}; restore the official files or {remedy}"
        where = " or ".join(files.path.name for files in self._candidates())
        return f"{self.name} is not in {self.folder}, where {where} should be; {remedy}"

    def _listed(self, files: DatasetFiles, listing: Survey, shape: Shape | None) -> Contents:
        """The contents of image files; all official forms hold the same samples and have one fingerprint."""
        synthetic = files.has_marker()
        if isinstance(files, ArchiveFiles):
            official = not synthetic and file_md5(files.path) == self.archive.md5
        else:
            official = not synthetic and self._is_verified(files.path / VERIFIED, listing.fingerprint)
        identity = f"official {self.name}" if official else listing.fingerprint
        info = self._info(listing.classes, identity, official=official, synthetic=synthetic)
        return Contents(info, listing.splits(files, shape, self.options.resize), listing.notes)

    def _is_verified(self, marker: Path, fingerprint: str) -> bool:
        mark = {"archive_md5": self.archive.md5, "fingerprint": fingerprint}
        try:
            return exists(marker) and bool(json.loads(read_bytes(marker, 10_000)) == mark)
        except ValueError as error:
            raise DataError(f"{marker} is damaged; remove it and run `bench fetch {self.name}`") from error

    def _mark_verified(self, tree: Path, fingerprint: str) -> None:
        write_marker(tree / VERIFIED, {"archive_md5": self.archive.md5, "fingerprint": fingerprint})
        self._forget()

    def _forget(self) -> None:
        """Examine the files anew, since they have changed."""
        self.__dict__.pop("_contents", None)

    def _complete(self) -> DatasetFiles | None:
        """The first complete candidate: an official tree, else an archive, else a twin's tree."""

        def rank(files: DatasetFiles) -> int:
            return 1 if isinstance(files, ArchiveFiles) else 2 * files.has_marker()

        return min((files for files in self._candidates() if not files.lacking()), key=rank, default=None)

    @cached_property
    def _contents(self) -> Contents:
        files = self._complete()
        if files is None:
            raise DataError(self.missing() or f"the files in {self.folder} changed while they were read; try again")
        return self._examine(files)
