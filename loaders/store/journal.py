"""Checkpoints of a preparation, from which an interrupted one resumes."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from loaders.core.regular import read_regular

INTERVAL = 30.0
"""Seconds of work that a kill may cost: what is done is noted so often."""

ROW = np.dtype([("digest", "u1", 32), ("label", "<i8"), ("height", "<i4"), ("width", "<i4"), ("kind", "<i4")])
"""What is kept of each stored sample: sha256 of its pixels, its label and, of a ragged split, its size and `Kind`."""
_CHUNK = 1 << 16


State = Mapping[str, int]
"""Lengths of the files that the core has written so far of a split, by name."""


class StaleError(Exception):
    """What an earlier attempt left does not agree with its notes; the work begins anew."""


class Past(BaseModel):
    """How far one split was.

    Attributes:
        taken: samples taken from the source.
        stored: those of them that were stored, the others being skipped.
        skipped: names of these.
        counts: how often each value occurs in each channel.
        pixels: sum of all images' heights times widths.
        state: what the loader said it needs to go on, such as lengths of files.
    """

    model_config = ConfigDict(extra="forbid")

    taken: int = 0
    stored: int = 0
    skipped: list[str] = []
    counts: list[list[int]] = []
    pixels: int = 0
    state: dict[str, int] = {}


class _Note(BaseModel):
    """The journal's one small file."""

    model_config = ConfigDict(extra="forbid")

    identity: str
    spent_s: float
    attempts: int
    splits: dict[str, Past]


class RowFile:
    """Rows of `ROW`, appended in a file; read again in chunks, so that memory stays bounded."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        """Args: count: of rows in the file that hold; what follows them is cut off."""
        self._file = file
        file.truncate(count * ROW.itemsize)

    def append(self, rows: NDArray[np.void]) -> None:
        """Add some at the end."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(rows.tobytes())

    def flush(self) -> None:
        """Hand over to the operating system."""
        self._file.flush()

    def chunks(self) -> Iterator[NDArray[np.void]]:
        """All rows, 65,536 at a time."""
        self._file.seek(0)
        while data := self._file.read(_CHUNK * ROW.itemsize):
            yield np.frombuffer(data, ROW)


class Journal:
    """Notes of one preparation, in a folder beside that of the store in the making."""

    def __init__(
        self,
        folder: Path,
        place: Path,
        identity: str,
        sync: Callable[[Path], None],
        interval: float | None = None,
    ) -> None:
        """Read what an earlier attempt left.

        Args:
            folder: of the store in the making.
            place: folder for the notes, made when there are any.
            identity: what is prepared from what; notes of anything else do not count.
            sync: makes all files in a folder durable.
            interval: seconds between two notes; None: `INTERVAL`.
        """
        self._folder, self._place = folder, place
        self._identity = identity
        self._sync = sync
        self._interval = INTERVAL if interval is None else interval
        self._life = contextlib.ExitStack()
        self._notes: dict[str, Callable[[], Past]] = {}
        self.past: Mapping[str, Past] = {}
        self.attempts, self._spent = 1, 0.0
        note = self._read()
        if note is not None and note.identity == identity:
            self.past = note.splits
            self.attempts, self._spent = note.attempts + 1, note.spent_s
        self._begun = self._noted = time.perf_counter()

    @property
    def kept(self) -> bool:
        """Whether there is anything to go on from."""
        return (self._place / "note.json").exists()

    def spent(self) -> float:
        """Seconds of work that are in the store, those of earlier attempts included."""
        return self._spent + time.perf_counter() - self._begun

    def restart(self) -> None:
        """Forget everything, the store's files included."""
        self.remove()
        for entry in self._folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        self.past, self.attempts, self._spent = {}, 1, 0.0
        self._notes.clear()
        self._begun = self._noted = time.perf_counter()

    def rows(self, split: str) -> RowFile:
        """The rows of a split, as many as hold."""
        self._place.mkdir(exist_ok=True)
        path = self._place / f"{split}.rows"
        path.touch()
        return RowFile(self._life.enter_context(path.open("r+b")), self.past[split].stored if split in self.past else 0)

    def whole(self) -> bool:
        """Whether the rows are all there that the notes speak of."""
        return all(
            (path := self._place / f"{name}.rows").exists() and path.stat().st_size >= past.stored * ROW.itemsize
            for name, past in self.past.items()
        )

    def describe(self, split: str, how_far: Callable[[], Past]) -> None:
        """Say who tells how far a split is; it will be asked for all later notes, too."""
        self._notes[split] = how_far

    def note_if_due(self) -> None:
        """Note how far all splits are, if the last time was long ago. What loaders have written must be durable."""
        if self._notes and time.perf_counter() - self._noted >= self._interval:
            splits = {**self.past, **{name: how_far() for name, how_far in self._notes.items()}}
            note = _Note(identity=self._identity, spent_s=self.spent(), attempts=self.attempts, splits=splits)
            self._sync(self._folder)
            beside = self._place / "note.partial"
            beside.write_text(note.model_dump_json(), encoding="utf-8")
            beside.replace(self._place / "note.json")
            self._noted = time.perf_counter()

    def close(self) -> None:
        """Close its files."""
        self._life.close()

    def remove(self) -> None:
        """Forget all notes: the store is complete, or is given up."""
        self.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def _read(self) -> _Note | None:
        try:
            return _Note.model_validate_json(read_regular(self._place / "note.json"))
        except (OSError, ValidationError):
            return None  # nothing, what a crash of the machine left of it, or no file: the work begins anew
