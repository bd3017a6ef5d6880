"""The manifest of a store: what it says, and how a store that is damaged, foreign or changed is recognised."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from loaders.core.errors import StoreError
from loaders.core.regular import read_regular
from loaders.store.samples import DatasetInfo, SplitInfo
from loaders.store.sizes import map_sizes, sizes_name

FORMAT_VERSION = 3
MANIFEST = "store.json"


class StoreInfo(BaseModel):
    """The manifest of a store.

    Attributes:
        format_version: version of the layout; another one is refused.
        loader: name of the loader that wrote it.
        dataset: which images it holds.
        options: the options that shaped it.
        splits: count, shape and hashes of each split.
        files: size in bytes of each file that is checked on opening, by path within the store.
        data_files: files that hold the samples, by path within the store; ``None`` if all of them do.
        elsewhere_bytes: size of what lies outside the folder, as in a database server of the user's.
        bytes: sum of all files' sizes, and of what lies outside the folder.
        allocated_bytes: what they occupy on disk, slack included.
        prepare_s: seconds from the first sample read to the store durable on disk; of several attempts, those in which
            what was kept was done.
        attempts: how often the preparation was begun; more than 1 if it was killed and went on.
        checksum: sha256 of all of the above: a changed mean or class list would train to other losses in silence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    loader: str
    dataset: DatasetInfo
    options: dict[str, Any]
    splits: dict[str, SplitInfo]
    files: dict[str, int]
    data_files: list[str] | None = None
    elsewhere_bytes: int = 0
    bytes: int
    allocated_bytes: int
    prepare_s: float
    attempts: int = 1
    checksum: str = ""

    @property
    def samples(self) -> int:
        """Samples in all splits."""
        return sum(split.count for split in self.splits.values())

    def signed(self) -> StoreInfo:
        """The same with its checksum."""
        content = json.dumps(self.model_dump(mode="json", exclude={"checksum"}), sort_keys=True)
        return self.model_copy(update={"checksum": hashlib.sha256(content.encode()).hexdigest()})


class Store(NamedTuple):
    """A store that has been checked, as a format opens it.

    Attributes:
        location: its folder, an absolute path.
        info: its manifest.
    """

    location: Path
    info: StoreInfo

    @property
    def remedy(self) -> str:
        """What to do about damage."""
        return f"remove {self.location} and prepare it again"

    def sizes(self, split: str) -> NDArray[np.int32] | None:
        """Height, width and `Kind` of each image, mapped int32 ``[n, 3]``; None for a split of one size.

        Raises:
            StoreError: the file is not that of the split.
        """
        described = self.info.splits[split]
        if described.shape is not None:
            return None
        path = self.location / sizes_name(split)
        if path.stat().st_size != 12 * described.count:
            raise StoreError(f"{path} does not describe {described.count} images; {self.remedy}")
        return map_sizes(self.location, split)


def write_manifest(info: StoreInfo, folder: Path) -> StoreInfo:
    """Write the manifest of a store to the disk; gives it with its checksum."""
    signed = info.signed()
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(signed.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    return signed


def read_manifest(location: Path) -> StoreInfo:
    """Read the manifest alone.

    Raises:
        StoreError: nothing there, no store, or a manifest that is damaged, changed or of another version.
    """
    path = location / MANIFEST
    again = f"remove {location} and prepare it again"
    try:
        info = StoreInfo.model_validate_json(read_regular(path))
    except FileNotFoundError:
        if is_other_folder(location):
            raise StoreError(f"{location} is no store, it has no {MANIFEST}; remove it and prepare it again") from None
        raise StoreError(f"no prepared store at {location}; run `bench prepare` first") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; mend that or {again}") from None
    except ValidationError:
        raise StoreError(f"{path} is not a manifest of format version {FORMAT_VERSION}; {again}") from None
    if info.format_version != FORMAT_VERSION:
        raise StoreError(
            f"{location} has format version {info.format_version}, this program reads {FORMAT_VERSION}; {again}"
        )
    if info != info.signed():
        raise StoreError(f"{path} was changed after it was written; {again}")
    return info


def is_empty_folder(location: Path) -> bool:
    """Whether a folder is there in which nothing is."""
    try:
        with os.scandir(location) as entries:
            return next(entries, None) is None
    except OSError:  # whoever reads or writes there says why
        return False


def is_other_folder(location: Path) -> bool:
    """Whether a folder is there that is not empty and has no manifest."""
    # os.path: a folder that may not be looked into is another one, rather than an error.
    return os.path.isdir(location) and not os.path.lexists(location / MANIFEST) and not is_empty_folder(location)  # noqa: PTH112


def read_store(location: Path, loader: str) -> StoreInfo:
    """Read the manifest and check that every file it names is whole.

    Raises:
        StoreError: nothing there, or a store that is incomplete, damaged, foreign or of another version.
    """
    info = read_manifest(location)
    if info.loader != loader:
        raise StoreError(f"{location} was written by loader {info.loader}, not {loader}; choose another store folder")
    check_files(location, info)
    return info


def check_files(location: Path, info: StoreInfo) -> None:
    """See that every file that a manifest names is there, and those that are checked have their size.

    Raises:
        StoreError: one is not, or cannot be looked at.
    """
    again = f"remove {location} and prepare it again"
    for name in {**info.files, **dict.fromkeys(info.data_files or ())}:
        size = info.files.get(name)
        try:
            found = (location / name).stat().st_size
        except FileNotFoundError:
            raise StoreError(f"{location / name} is missing from its store; {again}") from None
        except OSError as error:
            raise StoreError(f"cannot read {location / name}: {error.strerror}; mend that or {again}") from None
        if found != (size if name in info.files else found):
            raise StoreError(f"{location / name} has {found} bytes instead of {size}; {again}")
