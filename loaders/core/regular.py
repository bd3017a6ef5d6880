"""Opens regular files only: opening a named pipe would wait forever."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading, unless it is a pipe, a socket or a device.

    Raises:
        OSError: it cannot be opened, or is no regular file; ``strerror`` says which.
    """
    # Without O_NONBLOCK, opening a pipe waits for a writer. For a regular file it makes no difference.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path) -> bytes:
    """The content of a file; errors as of `open_regular`."""
    with open_regular(path) as file:
        return file.read()
