"""Files of a dataset: read with clear errors, hashed, and folders that appear complete or not at all."""

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
from typing import Any

from bench.errors import DataError, UsageError
from loaders import open_regular, sync_filesystem

MARKER = "SYNTHETIC.json"  # a twin carries this file, so that it is never taken for the official data

_WRITE_REMEDIES = {
    errno.ENOSPC: "free some space or choose another --data-dir",
    errno.EDQUOT: "free some of your quota or choose another --data-dir",
    errno.EROFS: "choose a --data-dir that can be written",
    errno.ENAMETOOLONG: "choose a --data-dir of a shorter name",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "choose a --data-dir that you may read and write"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.ELOOP), "choose a --data-dir that is a folder"),
}
_READ_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "let this user read it, and every folder on the way to it"),
    errno.ELOOP: "remove the link that leads back to itself",
    errno.ENAMETOOLONG: "choose a shorter name or path",
    errno.EINVAL: "put a regular file in its place",
}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def shown(path: Path | str) -> str:
    """A path as text of one line that can be printed and stored, whatever bytes the file system has."""
    return _CONTROLS.sub("\ufffd", os.fsencode(path).decode(errors="replace"))


@contextlib.contextmanager
def read_errors(path: Path, remedy: str = "repair it or fetch the dataset again") -> Iterator[None]:
    """Turn what the system refuses while reading into a ``DataError`` of one sentence.

    ``path`` is named where the error names no file, and ``remedy`` where the error itself does not tell a better one.
    """
    try:
        yield
    except OSError as error:
        remedy = _READ_REMEDIES.get(error.errno or 0, remedy)
        what = f"{shown(error.filename or path)}: {error.strerror or error}"
        raise DataError(f"cannot read {what}; {remedy}") from error


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what a disk refuses while writing into a ``DataError`` of one sentence; other errors pass."""
    try:
        yield
    except OSError as error:
        if remedy := _WRITE_REMEDIES.get(error.errno or 0):
            raise DataError(f"cannot write {path}: {error.strerror}; {remedy}") from error
        raise


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a ``DataError`` where a folder on the way may not be searched."""
    with read_errors(path):
        return path.exists()


def refuse_special(path: Path) -> None:
    """Raise ``DataError`` where a file is to be written and a pipe or device lies, which may block for ever."""
    if exists(path) and not path.is_file():
        raise DataError(f"{shown(path)} is not a regular file; remove it")


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The whole of a file; a ``DataError`` where it is missing, unreadable or larger than ``most`` bytes."""
    with read_errors(path), open_regular(path) as file:
        data = file.read(-1 if most is None else most + 1)
    if most is not None and len(data) > most:
        raise DataError(f"{path} is larger than the {most} bytes that such a file may have; restore the official file")
    return data


def file_md5(path: Path) -> str:
    """The md5 checksum of a file, which is what publishers state; a ``DataError`` where it cannot be read."""
    with read_errors(path), open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def need_space(folder: Path, needed: int, remedy: str = "free some, or choose another --data-dir") -> None:
    """Raise ``DataError`` before a long step if fewer than ``needed`` bytes are free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(f"{folder} has {free / 1e6:,.1f} MB free and {needed / 1e6:,.1f} MB are needed; {remedy}")


def write_marker(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file; a ``DataError`` where a pipe or device lies in its target."""
    refuse_special(path)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Make the folder, and raise ``UsageError`` if another process holds it as its writer."""
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
def new_tree(target: Path) -> Iterator[Path]:
    """An empty folder that replaces ``target`` when the block ends well, and is removed otherwise.

    The caller holds ``sole_writer``, so what lies at the temporary names was left by a killed process.
    """
    partial, old = (target.with_name(f".{target.name}.{name}") for name in ("partial", "old"))
    if old.exists() and not target.exists():  # killed between the two renames: the old tree is still whole
        old.rename(target)
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        sync_filesystem(partial)
        if target.exists():
            target.rename(old)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
