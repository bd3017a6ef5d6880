"""Runs something in a forked process with a file system of its own at some place, which nobody else sees."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from loaders.testing import in_fork

_NEW_MOUNTS, _NEW_USER, _PRIVATE = 0x00020000, 0x10000000, (1 << 14) | (1 << 18)
_READ_ONLY, _REMOUNT, _BIND = 1, 1 << 5, 1 << 12
_REFUSED = 78


def with_private_mount(place: Path, size: str, work: Callable[[], None]) -> None:
    """Run with an empty tmpfs there; what hangs is killed. Skips where no such mount may be made.

    Args:
        place: a folder.
        size: as in tmpfs's option.
        work: run in the forked process.
    """
    _run(work, [(b"tmpfs", bytes(place), b"tmpfs", 0, f"size={size}".encode())])


def with_read_only(place: Path, work: Callable[[], None]) -> None:
    """Run with what is there, this program perhaps, but nothing may be written; else as `with_private_mount`."""
    there = bytes(place)
    _run(work, [(there, there, None, _BIND, None), (None, there, None, _BIND | _REMOUNT | _READ_ONLY, None)])


def _run(work: Callable[[], None], mounts: list[tuple[bytes | None, bytes, bytes | None, int, bytes | None]]) -> None:
    def child() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(150)
        libc = ctypes.CDLL(None)
        if libc.unshare(_NEW_MOUNTS | (0 if os.geteuid() == 0 else _NEW_USER)) != 0 or any(
            libc.mount(*mount) != 0 for mount in [(b"none", b"/", None, _PRIVATE, None), *mounts]
        ):
            os._exit(_REFUSED)
        work()

    code = in_fork(child)
    if code == _REFUSED:
        pytest.skip("no mount of its own may be made here")
    assert code == 0
