"""Checkpoints of a preparation, from which an interrupted one resumes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from loaders.core.regular import read_regular

INTERVAL = 30.0
"""Seconds between two checkpoints: the work that an interruption may cost."""

ROW = np.dtype([("digest", "u1", 32), ("label", "<i8"), ("height", "<i4"), ("width", "<i4"), ("kind", "<i4")])
"""Of each stored sample: sha256 of its pixels, its label and, of images of many sizes, its size and `Kind`."""
_CHUNK = 1 << 16

State = Mapping[str, int]
"""Lengths of the files that the core has written so far of a split, by name."""


class StaleError(Exception):
    """The files do not agree with the checkpoint; the preparation starts again from the beginning."""


class Past(BaseModel, extra="forbid"):
    """The progress of one split."""

    taken: int = 0  # samples taken from the source
    stored: int = 0  # of these, samples stored and not skipped
    skipped: list[str] = []  # names of the others
    counts: list[list[int]] = []  # how often each value occurs in each channel
    pixels: int = 0  # sum of all images' heights times widths
    state: dict[str, int] = {}  # lengths of the split's files


class _Checkpoint(BaseModel, extra="forbid"):
    identity: str
    spent_s: float
    attempts: int
    splits: dict[str, Past]


class RowFile:
    """Rows of `ROW`, appended to a file and read back in chunks, so that memory stays bounded."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        """Args: count: number of rows to keep; later ones are cut off."""
        self._file = file
        file.truncate(count * ROW.itemsize)

    def append(self, rows: NDArray[np.void]) -> None:
        """Add rows at the end."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(rows.tobytes())

    def flush(self) -> None:
        """Hand all rows over to the operating system."""
        self._file.flush()

    def chunks(self) -> Iterator[NDArray[np.void]]:
        """All rows, 65,536 at a time."""
        self._file.seek(0)
        while data := self._file.read(_CHUNK * ROW.itemsize):
            yield np.frombuffer(data, ROW)


class Journal:
    """The checkpoints of one preparation, in a folder beside that of the unfinished store."""

    def __init__(self, folder: Path, notes: Path, identity: str) -> None:
        """Read the checkpoint of an earlier attempt.

        Args:
            folder: of the unfinished store.
            notes: folder of the checkpoints.
            identity: identifies the work; checkpoints of other work are ignored. "": no checkpoints.
        """
        self._folder, self._notes, self._identity = folder, notes, identity
        self._file = notes / "note.json"
        self._life = contextlib.ExitStack()
        self._past_of: dict[str, Callable[[], Past]] = {}
        self.past: Mapping[str, Past] = {}
        self._begin()
        try:
            checkpoint = _Checkpoint.model_validate_json(read_regular(self._file))
        except (OSError, ValidationError):
            return  # none, one that a crash of the machine damaged, or no file: the work starts from the beginning
        if identity and checkpoint.identity == identity and self._has_rows(checkpoint.splits):
            self.past, self.attempts, self._spent = checkpoint.splits, checkpoint.attempts + 1, checkpoint.spent_s

    def _begin(self) -> None:
        self.past = {}
        self.attempts, self._spent = 1, 0.0
        self._past_of.clear()
        self._begun = self._last = time.perf_counter()

    def _has_rows(self, splits: Mapping[str, Past]) -> bool:
        return all(
            (path := self._notes / f"{name}.rows").exists() and path.stat().st_size >= past.stored * ROW.itemsize
            for name, past in splits.items()
        )

    @property
    def resumable(self) -> bool:
        """Whether there is a checkpoint."""
        return self._file.exists()

    def spent(self) -> float:
        """Seconds of work that are in the store, those of earlier attempts included."""
        return self._spent + time.perf_counter() - self._begun

    def restart(self) -> None:
        """Delete all checkpoints and empty the store's folder."""
        self.remove()
        for entry in self._folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        self._begin()

    def rows(self, split: str) -> RowFile:
        """The rows of a split, cut to those of the checkpoint."""
        self._notes.mkdir(exist_ok=True)
        path = self._notes / f"{split}.rows"
        path.touch()
        return RowFile(self._life.enter_context(path.open("r+b")), self.past[split].stored if split in self.past else 0)

    def describe(self, split: str, past: Callable[[], Past]) -> None:
        """Include a split in this and all later checkpoints."""
        self._past_of[split] = past

    def checkpoint_if_due(self) -> None:
        """Write a checkpoint if the last one is `INTERVAL` old. The files that it describes are made durable first."""
        if self._identity and self._past_of and time.perf_counter() - self._last >= INTERVAL:
            splits = {**self.past, **{name: past() for name, past in self._past_of.items()}}
            checkpoint = _Checkpoint(
                identity=self._identity, spent_s=self.spent(), attempts=self.attempts, splits=splits
            )
            sync_filesystem(self._folder)
            partial = self._notes / "note.partial"
            partial.write_text(checkpoint.model_dump_json(), encoding="utf-8")
            partial.replace(self._file)
            self._last = time.perf_counter()

    def close(self) -> None:
        """Close the files of rows."""
        self._life.close()

    def remove(self) -> None:
        """Remove all checkpoints."""
        self.close()
        shutil.rmtree(self._notes, ignore_errors=True)


def sync_filesystem(path: Path) -> None:
    """Flush the filesystem that holds ``path`` to its device; one call, however many files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):
            os.sync()
        elif libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)
