"""Any folder of pictures in class folders: `folder:PATH`."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path

from bench.sources.base import Source, SourceOptions
from bench.sources.class_folders import no_folder, survey
from bench.sources.file_split import FolderFiles, Survey
from bench.sources.files import shown
from loaders import DatasetInfo, Split

PREFIX = "folder:"


class Folder(Source):
    """Images of any size and of the formats of `class_folders.SUFFIXES`, by the rule of `loaders.images.kinds`.

    The fingerprint covers every image's path below the folder and its size, not its content.
    """

    summary = "your own pictures: FOLDER/CLASS/IMAGE, or FOLDER/train/… beside FOLDER/val/…"
    ragged = True

    def __init__(self, path: Path, options: SourceOptions | None = None) -> None:
        """Args: path is the folder; records name its last part alone."""
        self.folder = path.expanduser().absolute()
        self.name = PREFIX + (shown(self.folder.name) or "root")
        self.options = options or SourceOptions()

    @property
    def store_name(self) -> str:
        """Two folders of one name have stores of their own."""
        digest = hashlib.sha256(str(self.folder).encode(errors="surrogateescape")).hexdigest()[:8]
        name = re.sub(r"[^\w.+-]+", "_", self.folder.name)
        return f"folder-{name}-{digest}{self.options.suffix()}"

    def missing(self) -> str | None:
        """None as soon as there is such a folder."""
        return no_folder(self.folder)

    def info(self) -> DatasetInfo:
        """Never official, and synthetic only where it is a twin's tree."""
        synthetic = FolderFiles(self.folder).has_marker()
        return self._info(self._survey.classes, self._survey.fingerprint, official=False, synthetic=synthetic)

    def splits(self) -> dict[str, Split]:
        """As the folder is split, or by a seeded share of each class."""
        return self._survey.splits(FolderFiles(self.folder), None, self.options.resize)

    def notes(self) -> list[str]:
        """Files left out, and classes without images."""
        return self._survey.notes

    @cached_property
    def _survey(self) -> Survey:
        return survey(self.folder, self.options.test_share)
