"""Files of a dataset: read with clear errors, hashed, and folders that appear all at once or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from bench.errors import DataError, UsageError
from loaders import open_regular, sync_filesystem

MARKER = "SYNTHETIC.json"
"""A twin carries this file, so that it is never taken for the official data."""
VERIFIED = "VERIFIED.json"
"""Left in a tree by ``bench fetch``: the checksum of the archive that it came from, and its files' fingerprint."""

_REMEDIES = {
    errno.ENOSPC: "free some space or choose another --data-dir",
    errno.EDQUOT: "free some of your quota or choose another --data-dir",
    errno.EROFS: "choose a --data-dir that can be written",
    errno.EACCES: "choose a --data-dir that you may read and write",
    errno.EPERM: "choose a --data-dir that you may read and write",
    errno.ENOTDIR: "choose a --data-dir that is a folder",
    errno.EEXIST: "choose a --data-dir that is a folder",
    errno.ELOOP: "choose a --data-dir that is a folder",
    errno.ENAMETOOLONG: "choose a --data-dir of a shorter name",
}


_READING = {
    errno.EACCES: "let this user read it, and every folder on the way to it",
    errno.EPERM: "let this user read it, and every folder on the way to it",
    errno.ELOOP: "remove the link that leads back to itself",
    errno.ENAMETOOLONG: "choose a shorter name or path",
    errno.EINVAL: "put a regular file in its place",
}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def shown(path: Path | str) -> str:
    """A path as text of one line that can be printed and kept, whatever bytes the file system has."""
    return _CONTROLS.sub("\ufffd", os.fsencode(path).decode(errors="replace"))


def unreadable(path: Path | str, error: OSError, remedy: str = "mend it or fetch the dataset again") -> NoReturn:
    """Say in one sentence that a file cannot be read.

    Args:
        path: of the file.
        error: what the system said.
        remedy: where the error itself does not tell a better one.
    """
    remedy = _READING.get(error.errno or 0, remedy)
    raise DataError(f"cannot read {shown(path)}: {error.strerror or error}; {remedy}") from error


def exists(path: Path) -> bool:
    """Whether there is such a file or folder.

    Raises:
        DataError: a folder on the way may not be searched, so nobody knows.
    """
    try:
        return path.exists()
    except OSError as error:
        unreadable(path, error)


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; errors as of `exists`."""
    try:
        return path.is_dir()
    except OSError as error:
        unreadable(path, error)


def refuse_special(path: Path) -> None:
    """Refuse to write into a pipe or device: it would be waited for without end.

    Raises:
        DataError: something is there, and it is no regular file.
    """
    if exists(path) and not path.is_file():
        raise DataError(f"{shown(path)} is not a regular file; remove it")


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what a disk refuses while writing into one sentence; other errors pass."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        raise DataError(f"cannot write {path}: {error.strerror}; {remedy}") from error


def read_bytes(path: Path, most: int) -> bytes:
    """The whole of a file that should have at most ``most`` bytes.

    Raises:
        DataError: a file that is missing, unreadable or larger.
    """
    try:
        with open_regular(path) as file:
            data = file.read(most + 1)
    except OSError as error:
        unreadable(path, error)
    if len(data) > most:
        raise DataError(f"{path} is larger than the {most} bytes that such a file may have; restore the official file")
    return data


def file_md5(path: Path) -> str:
    """The md5 checksum of a file, which is what the publishers state.

    Raises:
        DataError: a file that cannot be read.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        unreadable(path, error)


def need_space(folder: Path, needed: int, remedy: str) -> None:
    """Refuse before a long step that the disk cannot hold.

    Raises:
        DataError: fewer than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(f"{folder} has {free / 1e6:,.1f} MB free and {needed / 1e6:,.1f} MB are needed; {remedy}")


def is_verified(tree: Path, archive_md5: str, fingerprint: str, dataset: str) -> bool:
    """Whether ``bench fetch`` made or checked a tree of these files from the archive of this checksum.

    Raises:
        DataError: its marker is damaged.
    """
    marker = tree / VERIFIED
    if not exists(marker):
        return False
    try:
        verified = json.loads(read_bytes(marker, 10_000))
    except ValueError as error:
        raise DataError(f"{marker} is damaged; remove it and run `bench fetch {dataset}`") from error
    return bool(verified == {"archive_md5": archive_md5, "fingerprint": fingerprint})


def write_marker(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file.

    Raises:
        DataError: a pipe or device lies in its place.
    """
    refuse_special(path)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Make the folder and keep a second writing process out of it.

    Raises:
        UsageError: another process is at it.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        refuse_special(folder / ".lock")
        with (folder / ".lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another process is writing in {folder}; wait for it to finish") from None
            yield


@contextlib.contextmanager
def new_tree(place: Path) -> Iterator[Path]:
    """An empty folder beside ``place`` that takes its place when the block ends well, and is removed otherwise.

    The caller holds ``sole_writer``, so what lies at the temporary names was left by a killed process.
    """
    partial, old = place.with_name(f".{place.name}.partial"), place.with_name(f".{place.name}.old")
    if old.exists():
        if place.exists():
            shutil.rmtree(old)
        else:  # killed between the two renames: the old tree is still whole
            old.rename(place)
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        yield partial
        sync_filesystem(partial)
        if place.exists():
            place.rename(old)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
