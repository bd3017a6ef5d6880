"""Any folder of pictures in class folders: `folder:PATH`."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path

from bench.sources.base import Contents, Source, SourceOptions
from bench.sources.class_folders import no_folder, survey
from bench.sources.file_split import FolderFiles
from bench.sources.files import shown

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

    @cached_property
    def _contents(self) -> Contents:
        """Never official, and synthetic only where it is a twin's tree."""
        listing, files = survey(self.folder, self.options.test_share), FolderFiles(self.folder)
        info = self._info(listing.classes, listing.fingerprint, official=False, synthetic=files.has_marker())
        return Contents(info, listing.splits(files, None, self.options.resize), listing.notes)
