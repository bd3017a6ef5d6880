"""Lifelines: sockets by which a supervisor detects that this process has ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

from loaders.formats.postgres.programs import SUPERVISOR
from loaders.formats.postgres.supervisor import PREFIX, remove_runtime

# A forked child closes its copies, which would keep the server running after its parent was killed.
_lifelines: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_spawned: set[int] = set()  # process ids of running supervisors that this process started


def _drop_inherited() -> None:
    for lifeline in _lifelines:
        lifeline.close()
    _spawned.clear()


os.register_at_fork(after_in_child=_drop_inherited)


def join(lock: Path) -> socket.socket | None:
    """A lifeline to a running supervisor, or None if there is none."""
    lifeline = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _lifelines.add(lifeline)
    try:
        lifeline.connect(json.loads(lock.read_bytes())["control"])
    except (FileNotFoundError, ValueError, ConnectionRefusedError, BlockingIOError):  # it starts or ends
        lifeline.close()
        return None
    return lifeline


def spawn(config: dict[str, Any], lock: Path) -> socket.socket | None:
    """A lifeline to a new supervisor in its own session, so that Ctrl-C does not reach it; None if one is running."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)
    config = {**config, "temporary": tempfile.gettempdir()}
    _remove_dead_runtimes({Path(config["temporary"]), Path("/tmp")})  # noqa: S108 - where supervisors make theirs
    lifeline, theirs = socket.socketpair()
    _lifelines.add(lifeline)
    try:
        with theirs:
            child = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(SUPERVISOR), json.dumps(config)],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, 0, 2),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                ],
                setsid=True,
            )
        _spawned.add(child)
    except BaseException:  # Ctrl-C
        leave(lifeline)
        raise
    return lifeline


def _remove_dead_runtimes(bases: set[Path]) -> None:
    """Remove the runtime directories of this user whose supervisor was killed."""
    for path in (path for base in bases for path in base.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):  # of another user, in use, or removed in between
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if time.time() - os.fstat(descriptor).st_mtime > 1:  # a new one may not be locked yet
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_runtime(str(path))
            finally:
                os.close(descriptor)


def line(lifeline: socket.socket, patience: float) -> bytes:
    """The supervisor's next line, empty if it has ended; TimeoutError after ``patience`` seconds."""
    lifeline.settimeout(patience)
    with contextlib.suppress(ConnectionResetError), lifeline.makefile("rb") as file:
        return file.readline()
    return b""


def close(lifeline: socket.socket) -> None:
    """Tell the supervisor that this process no longer needs the server."""
    lifeline.close()
    reap()


def leave(lifeline: socket.socket) -> None:
    """Close a lifeline when the supervisor has ended, or goes on for others: it writes no more for this process."""
    with contextlib.suppress(OSError):
        lifeline.shutdown(socket.SHUT_WR)
        while lifeline.recv(4096):
            pass
    close(lifeline)


def reap(ending: int | None = None) -> None:
    """Collect the exit status of supervisors that have ended, and wait for the one that is ending."""
    for child in list(_spawned):
        with contextlib.suppress(ChildProcessError):  # already collected elsewhere
            if os.waitpid(child, 0 if child == ending else os.WNOHANG)[0] == 0:
                continue
        _spawned.discard(child)
