"""Errors that a user can act on: one sentence that names the mistake and the remedy."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn


class LoaderError(Exception):
    """Anything wrong with a loader, its store or its backend that the user can fix."""


class OptionError(LoaderError):
    """An option that this loader does not have, or a value that it does not take."""


class UnavailableError(LoaderError):
    """The loader cannot run on this machine; the message is the reason."""


class StoreError(LoaderError):
    """A store that is missing, incomplete, damaged, foreign or of another format version."""


class DecodeError(LoaderError):
    """Encoded bytes that are not an image of the expected shape."""


class BackendError(LoaderError):
    """A server or worker process that cannot be started, reached or used, or that was lost."""


class LoaderFaultError(LoaderError):
    """A loader that breaks its contract: an exception of its own, batches of another type, other samples."""


_PASSING = re.compile("DataLoader worker|CUDA error|CUDA out of memory")
"""PyTorch notices a dead worker by a signal, and a failed kernel late: both are raised in unrelated code."""
_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""The process ran out of something; the store is not to blame."""


def remedy(store: Path) -> str:
    """What to do about a damaged store, to end a message with."""
    return f"remove {store} and prepare it again"


@contextlib.contextmanager
def blamed(loader: str, doing: str, store: Path) -> Iterator[None]:
    """Name the loader and what it was doing in any exception that it raises; a `LoaderError` passes unchanged.

    Raises:
        StoreError: the operating system refused a file.
        LoaderFaultError: anything else.
    """
    try:
        yield
    except Exception as error:
        raise_blamed(error, loader, doing, store)


def raise_blamed(error: Exception, loader: str, doing: str, store: Path) -> NoReturn:
    """The same for a caught exception: a context manager would cost a microsecond per batch."""
    if isinstance(error, LoaderError | MemoryError) or _PASSING.search(str(error)):
        raise error
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in _RESOURCES:
            raise error
        file = error.filename or store
        if isinstance(file, bytes):
            file = file.decode(errors="replace")
        raise StoreError(
            f"loader {loader} failed {doing}: {file}: {error.strerror}; fix that or {remedy(store)}"
        ) from error
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    raise LoaderFaultError(
        f"loader {loader} failed {doing}: {type(error).__name__}: {lines[0].strip()}; this is a fault of the loader, "
        "--debug shows where"
    ) from error
