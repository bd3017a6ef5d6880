"""Files that a preparation appends to, and that one which goes on cuts back to where its notes were taken."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from loaders.store.intake import StreamedSplit
from loaders.store.journal import StaleError


class AppendedFiles:
    """Some files of one split, open for appending; says how long each is."""

    def __init__(self, split: StreamedSplit, folder: Path, names: list[str]) -> None:
        """Open them at the lengths that the split's ``state`` has, or new ones.

        Raises:
            StaleError: a file is missing, or shorter than its state says.
        """
        self._lengths: dict[str, int | str] = {}
        self.files = []
        for name in names:
            try:
                file = (folder / name).open("r+b" if split.state else "wb")
            except FileNotFoundError:
                self.close()
                if split.state:
                    raise StaleError(name) from None
                raise
            self.files.append(file)
            if split.state:
                length = int(split.state[name])
                if file.seek(0, 2) < length:
                    self.close()
                    raise StaleError(name)
                file.truncate(length)
                file.seek(length)
        self._names = names
        split.resumable(self.lengths)

    def lengths(self) -> dict[str, int | str]:
        """Bytes of each file by its name, all of them handed over to the operating system."""
        for name, file in zip(self._names, self.files, strict=True):
            if not file.closed:
                file.flush()
                self._lengths[name] = file.tell()
        return self._lengths

    def close(self) -> None:
        """Close all files; their lengths are still told."""
        for file in self.files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.lengths()
        finally:
            self.close()
