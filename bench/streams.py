"""Standard output and error, which may be closed, full, left by their reader, or unable to show a character."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import IO, cast


class Stream:
    """A standard stream for a console: text that cannot be written is dropped, so that no work is lost for it."""

    def __init__(self, name: str) -> None:
        """Args: name in ``sys``, where it is looked up at each use: others put their own in its place."""
        self.error: OSError | None = None  # the first one; after it everything is dropped
        self._name = name

    @property
    def _file(self) -> IO[str]:
        file = getattr(sys, self._name)
        return cast("IO[str]", getattr(file, "rich_proxied_file", file))  # a bar's own, which would print to us

    @property
    def encoding(self) -> str:
        """Of the stream; by it a console chooses what it draws tables with."""
        return getattr(self._file, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._file.isatty()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._file.fileno()

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        with self._noted():
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Give what was written to the system, or drop it."""
        with self._noted():
            self._file.flush()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            # What it still holds would fail again, at last when the interpreter ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


OUT, ERR = Stream("stdout"), Stream("stderr")


def make_usable() -> None:
    """Open closed streams onto the null device, and escape characters that a stream cannot show."""
    # In the order of their descriptors, which each open takes: a file of ours must not become standard output.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (OUT, ERR):
        stream.error = None
        if isinstance(file := getattr(sys, stream._name), io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")
