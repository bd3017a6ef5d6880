"""Writes a store to disk so that it appears complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loaders.core.errors import LoaderError, LoaderFaultError, StoreError
from loaders.core.format import Format, Written
from loaders.store.journal import Journal, sync_filesystem
from loaders.store.manifest import FORMAT_VERSION, StoreInfo, is_other_folder, write_manifest
from loaders.store.samples import DatasetInfo, SplitInfo

REMEDIES = {
    errno.ENOSPC: "free some space or choose another --store-dir",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) or choose another --store-dir",
    errno.EDQUOT: "free some of your quota or choose another --store-dir",
    errno.EROFS: "choose a --store-dir that can be written",
    errno.EACCES: "choose a --store-dir that you may write",
    errno.EPERM: "choose a --store-dir that you may write",
    errno.ENOTDIR: "choose a --store-dir that is a folder",
    errno.EEXIST: "choose a --store-dir that is a folder",
    errno.ELOOP: "choose a --store-dir without a loop of symbolic links",
    errno.ENAMETOOLONG: "choose a --store-dir with a shorter path",
    errno.EIO: "check the disk or choose another --store-dir",
}
"""What to do about an error of the disk while a store is written."""


class StoreWriter:
    """Writes a store to a temporary folder next to its location and renames it when it is complete.

    A lock keeps a second writer out. An unfinished store is resumed if there is a checkpoint of the same work, else
    removed. An earlier store stays readable until it is replaced.
    """

    def __init__(self, location: Path) -> None:
        self.location = location
        self.folder = location.with_name(f".{location.name}.partial")
        self._old = location.with_name(f".{location.name}.old")
        self._notes = location.with_name(f".{location.name}.journal")
        self._lock = location.with_name(f".{location.name}.lock")

    @contextlib.contextmanager
    def writing(self, identity: str = "", *, anew: bool = False) -> Iterator[Journal]:
        """Hold the lock and yield the journal of the work in ``folder``, new or that of an earlier attempt.

        The folder is removed unless ``commit`` is reached or there is a checkpoint. ``identity`` identifies the work;
        without it, or with ``anew``, nothing is resumed.
        """
        with _disk_errors(self.location):
            self.location.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._restore_old()
                self._refuse_what_is_no_store()
                journal = Journal(self.folder, self._notes, identity)
                try:
                    if anew or not (journal.past and self.folder.exists()):
                        journal.remove()
                        remove_tree(self.folder)
                        self.folder.mkdir()
                        journal = Journal(self.folder, self._notes, identity)
                    with _disk_errors(self.location):
                        yield journal
                except LoaderError as error:
                    if journal.resumable and not anew:
                        error.args = (f"{error}; the same command resumes from the last checkpoint",)
                    raise
                finally:
                    journal.close()
                    if not journal.resumable:
                        journal.remove()
                        shutil.rmtree(self.folder, ignore_errors=True)

    def commit(
        self,
        format_: Format[Any],
        dataset: DatasetInfo,
        splits: dict[str, SplitInfo],
        written: Written,
        journal: Journal,
    ) -> StoreInfo:
        """Make the folder durable, write its manifest and rename it to its location."""
        journal.close()
        self._check_written(format_.name, written)
        sync_filesystem(self.folder)
        size, allocated = folder_bytes(self.folder)
        info = StoreInfo(
            format_version=FORMAT_VERSION,
            loader=format_.name,
            dataset=dataset,
            options=format_.options.stored(),
            splits=splits,
            files={name: (self.folder / name).stat().st_size for name in written.checked},
            data_files=None if written.data is None else list(written.data),
            elsewhere_bytes=written.elsewhere_bytes,
            bytes=size + written.elsewhere_bytes,
            allocated_bytes=allocated + written.elsewhere_bytes,
            prepare_s=journal.spent(),
            attempts=journal.attempts,
        )
        info = write_manifest(info, self.folder)
        journal.remove()
        if self.location.exists():
            self.location.rename(self._old)
        try:
            self.folder.rename(self.location)
        except OSError:
            if self._old.exists():
                self._old.rename(self.location)
            raise
        sync_filesystem(self.location)
        shutil.rmtree(self._old, ignore_errors=True)
        return info

    def _check_written(self, loader: str, written: Written) -> None:
        """The files that a loader reports must be files of the store."""
        for name in {*written.checked, *(written.data or ())}:
            path = self.folder / name
            if not (path.is_file() and path.resolve().is_relative_to(self.folder.resolve())):
                raise LoaderFaultError(f"loader {loader} says that it wrote {name!r}, which is no file of its store")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock.exists() and not self._lock.is_file():  # opening a pipe would wait for a reader
            raise StoreError(f"{self._lock} is not a regular file; remove it")
        with self._lock.open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(
                    f"another process is preparing {self.location}; wait for it to finish, then try again"
                ) from None
            yield

    def _restore_old(self) -> None:
        """Undo the renaming by a writer that was killed at its end; the lock proves that it has ended."""
        if self._old.exists():
            if self.location.exists():
                shutil.rmtree(self._old)
            else:  # killed between the two renames: the old store is still complete
                self._old.rename(self.location)

    def _refuse_what_is_no_store(self) -> None:
        """A store replaces, and so deletes, only a store."""
        is_folder = self.location.is_dir()
        if is_other_folder(self.location) or (os.path.lexists(self.location) and not is_folder):
            raise StoreError(
                f"{self.location} exists and is not a store; remove it or choose another --store-dir, "
                "since preparing would delete it"
            )


def remove_tree(folder: Path) -> None:
    """Remove a folder that a helper process of a killed writer, such as a server, may still be writing to."""
    end = time.monotonic() + 30
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or time.monotonic() > end:
                raise


@contextlib.contextmanager
def _disk_errors(location: Path) -> Iterator[None]:
    """Turn errors of the disk into one sentence; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        remedy = REMEDIES[error.errno]
        # The system's own message: HDF5, for example, adds a page of its internals.
        raise StoreError(f"cannot write the store {location}: {os.strerror(error.errno)}; {remedy}") from error


def folder_bytes(folder: Path) -> tuple[int, int]:
    """Sum of all files' sizes and of what they occupy on disk."""
    size = allocated = 0
    for root, _, names in os.walk(folder):
        for name in names:
            status = (Path(root) / name).lstat()
            size += status.st_size
            allocated += status.st_blocks * 512
    return size, allocated
