"""The manifest of a store, and the checks that detect a store that is damaged, foreign or changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from loaders.core.errors import StoreError, remedy
from loaders.core.regular import read_regular
from loaders.store.samples import DatasetInfo, SplitInfo
from loaders.store.sizes import map_sizes, sizes_name

FORMAT_VERSION = 3
MANIFEST = "store.json"


class StoreInfo(BaseModel, frozen=True, extra="forbid"):
    """The manifest of a store. Paths are relative to its folder."""

    format_version: int  # of the layout; other versions are refused
    loader: str  # name of the loader that wrote it
    dataset: DatasetInfo
    options: dict[str, Any]  # the store options
    splits: dict[str, SplitInfo]
    files: dict[str, int]  # size in bytes of each file that is checked on opening, by path
    data_files: list[str] | None = None  # paths of files that hold samples; None: all files
    elsewhere_bytes: int = 0  # size in bytes of data outside the folder, as in the user's database server
    bytes: int  # total size in bytes of all files and of data outside the folder
    allocated_bytes: int  # the space that they occupy on disk
    prepare_s: float  # seconds from the first sample to the durable store; of resumed work, without what was lost
    attempts: int = 1  # more than 1 if the preparation was interrupted and resumed
    checksum: str = ""  # sha256 of the above: a changed mean or class list would silently change the losses

    @property
    def samples(self) -> int:
        """Samples in all splits."""
        return sum(split.count for split in self.splits.values())

    def signed(self) -> StoreInfo:
        """The same with its checksum."""
        content = json.dumps(self.model_dump(mode="json", exclude={"checksum"}), sort_keys=True)
        return self.model_copy(update={"checksum": hashlib.sha256(content.encode()).hexdigest()})


class Store(NamedTuple):
    """A store that has been checked, as a format opens it."""

    location: Path  # its folder, absolute
    info: StoreInfo  # its manifest

    @property
    def remedy(self) -> str:
        """What to do about damage."""
        return remedy(self.location)

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
    """Write the manifest of a store durably; returns it with its checksum."""
    signed = info.signed()
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(signed.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    return signed


def read_manifest(location: Path) -> StoreInfo:
    """Read the manifest alone.

    Raises:
        StoreError: there is no store, or its manifest is damaged, changed or of another version.
    """
    path = location / MANIFEST
    again = remedy(location)
    try:
        info = StoreInfo.model_validate_json(read_regular(path))
    except FileNotFoundError:
        if is_other_folder(location):
            raise StoreError(f"{location} is no store, it has no {MANIFEST}; remove it and prepare it again") from None
        raise StoreError(f"no prepared store at {location}; run `bench prepare` first") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; fix that or {again}") from None
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
    """Whether a folder exists and is empty."""
    try:
        with os.scandir(location) as entries:
            return next(entries, None) is None
    except OSError:  # reported when it is read or written
        return False


def is_other_folder(location: Path) -> bool:
    """Whether a folder exists, is not empty and has no manifest."""
    # os.path: a folder without permission counts as another one, rather than as an error.
    return os.path.isdir(location) and not os.path.lexists(location / MANIFEST) and not is_empty_folder(location)  # noqa: PTH112


def read_store(location: Path, loader: str) -> StoreInfo:
    """Read the manifest and check that every file it names is complete.

    Raises:
        StoreError: there is no store, or it is incomplete, damaged, foreign or of another version.
    """
    info = read_manifest(location)
    if info.loader != loader:
        raise StoreError(f"{location} was written by loader {info.loader}, not {loader}; choose another store folder")
    check_files(location, info)
    return info


def check_files(location: Path, info: StoreInfo) -> None:
    """Check that every file in a manifest exists, and that those in ``files`` have their size.

    Raises:
        StoreError: a file is missing, has another size, or cannot be accessed.
    """
    again = remedy(location)
    for name in {**info.files, **dict.fromkeys(info.data_files or ())}:
        try:
            size = (location / name).stat().st_size
        except FileNotFoundError:
            raise StoreError(f"{location / name} is missing from its store; {again}") from None
        except OSError as error:
            raise StoreError(f"cannot read {location / name}: {error.strerror}; fix that or {again}") from None
        if size != (expected := info.files.get(name, size)):
            raise StoreError(f"{location / name} has {size} bytes instead of {expected}; {again}")
