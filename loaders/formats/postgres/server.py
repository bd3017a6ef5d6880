"""A store's own PostgreSQL server: shared by all processes that read the store, gone with the last of them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any, Literal

from loaders.core.errors import BackendError, StoreError
from loaders.formats.postgres import supervisor
from loaders.formats.postgres.cluster import DATA, PASSWORD, USER, check_path, initialise, server_command
from loaders.formats.postgres.programs import SUPERVISOR, Programs, find_programs, programs_for

LOG = "server.log"
Transport = Literal["socket", "tcp"]
_LOCK = "server.lock"
_READING = 5.0  # seconds that a server gets to end which has nothing to save
# Seconds. Longer than any supervisor takes to end its server, which it may be doing for another process.
_PATIENCE = supervisor.LONGEST_STOP + 10.0

# Every lifeline of this process. A forked child closes its copies, which would keep the server alive when its parent
# is killed.
_lifelines: weakref.WeakSet[socket.socket] = weakref.WeakSet()
# Process ids of supervisors that this process started and that still run.
_spawned: set[int] = set()


def _drop_inherited() -> None:
    for lifeline in _lifelines:
        lifeline.close()
    _spawned.clear()


os.register_at_fork(after_in_child=_drop_inherited)


class EmbeddedServer:
    """This process's hold on the server of one store.

    The server runs under a supervisor process, which ends it when the last process that holds it has let go or died.
    """

    def __init__(self, store: Path, lifeline: socket.socket, ready: dict[str, Any]) -> None:
        """Args: ready is what the supervisor said."""
        self._store = store
        self.log = store / LOG
        self.pid: int = ready["pid"]
        self.supervisor_pid: int = ready["supervisor"]
        self._port, self._directory = str(ready["port"]), str(ready["directory"])
        self._lifeline = lifeline
        self._let_go = weakref.finalize(self, _close, lifeline)  # also for a dataset that is dropped without close()

    @classmethod
    def create(cls, store: Path) -> EmbeddedServer:
        """Make a data directory in an empty folder and start a server for loading it.

        Raises:
            BackendError: it cannot be started.
        """
        check_path(store)
        programs = find_programs()
        if isinstance(programs, str):
            raise BackendError(f"cannot start a PostgreSQL server: {programs}")
        password = store / PASSWORD
        password.touch(0o600, exist_ok=False)
        password.write_text(secrets.token_hex(32), encoding="ascii")
        initialise(store, programs)
        return cls._start(store, programs, server_command(store, programs, 128 << 20, loading=True), patience=0.0)

    @classmethod
    def open(cls, store: Path, transport: Transport, cache_bytes: int) -> EmbeddedServer:
        """Start the server of a store, or join the one that another process started.

        Args:
            store: folder of the store.
            transport: whether the server must listen on TCP, too.
            cache_bytes: wanted size of the server's own cache, if it is started now.

        Raises:
            StoreError: the store cannot be served by this machine's programs or user.
            BackendError: the server cannot be started.
        """
        check_path(store)
        programs = programs_for(store / DATA)
        for path in (store, store / DATA):
            if not os.access(path, os.W_OK):
                raise StoreError(
                    f"{path} cannot be written, which PostgreSQL needs even to read; "
                    "make it writable or copy the store to another --store-dir"
                )
        command = server_command(store, programs, cache_bytes, loading=False)
        return cls._start(store, programs, command, patience=_READING, tcp=transport == "tcp")

    def conninfo(self, transport: Transport) -> dict[str, str]:
        """Connection parameters; each is set, so that no PG… variable of the environment interferes."""
        common = {
            "port": self._port,
            "user": USER,
            "dbname": "postgres",
            "hostaddr": "",
            "options": "",
            "sslmode": "disable",
            "gssencmode": "disable",
            "connect_timeout": "30",
            "application_name": "loader-bench",
        }
        if transport == "socket":
            return {**common, "host": self._directory, "password": ""}
        return {**common, "host": "127.0.0.1", "password": (self._store / PASSWORD).read_text(encoding="ascii")}

    def close(self, *, save: bool = False) -> None:
        """Let go; if this was the last hold, return when the server has ended.

        Args:
            save: after loading: let the server save the tables, rather than end at once.

        Raises:
            BackendError: the server does not end.
        """
        if not self._let_go.alive:
            return
        try:
            with contextlib.suppress(OSError):  # the supervisor has died
                if save:
                    self._lifeline.sendall(supervisor.SAVE)
                self._lifeline.shutdown(socket.SHUT_WR)
            if _line(self._lifeline) != supervisor.GOING_ON:
                _reap(self.supervisor_pid)
        except TimeoutError:
            raise BackendError(
                f"the PostgreSQL server of {self._store} did not end within {_PATIENCE:.0f} s; "
                f"end process {self.pid} yourself"
            ) from None
        finally:
            self._let_go()

    @classmethod
    def _start(
        cls, store: Path, programs: Programs, command: list[str], *, patience: float, tcp: bool = False
    ) -> EmbeddedServer:
        config = {
            "server": command,
            "data": str(store / DATA),
            "lock": str(store / _LOCK),
            "log": str(store / LOG),
            "temporary": tempfile.gettempdir(),
            "identity": programs.identity,
            "patience": patience,
            "tcp": tcp,
        }
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            lifeline = _join(store / _LOCK) or (_spawn(config) if _is_free(store / _LOCK) else None)
            answer: dict[str, Any] = {}
            if lifeline is not None:
                try:
                    answer = json.loads(_line(lifeline) or b"{}")
                except TimeoutError:
                    raise BackendError(
                        f"the PostgreSQL server did not start within {_PATIENCE:.0f} s; "
                        "try again when the machine is less busy"
                    ) from None
                finally:
                    if "ready" not in answer:  # after Ctrl-C, too: without its lifeline the server ends
                        _close(lifeline)
                if ready := answer.get("ready"):
                    server = cls(store, lifeline, ready)
                    if tcp and not ready["tcp"]:
                        server.close()
                        raise BackendError(
                            f"another process has started the server of {store} without TCP; "
                            "wait until it has ended, or use transport=socket"
                        )
                    return server
            if reason := answer.get("error"):
                raise BackendError(f"cannot start the PostgreSQL server of {store}: {reason}")
            time.sleep(0.01)  # another process is starting or ending the server
        raise BackendError(
            f"the PostgreSQL server of {store} neither starts nor ends; end the processes that use the store"
        )


def _is_free(lock: Path) -> bool:
    """Whether no supervisor serves the store."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _join(lock: Path) -> socket.socket | None:
    """A lifeline to a running supervisor, or None if there is none at the moment."""
    try:
        control = json.loads(lock.read_bytes())["control"]
    except (FileNotFoundError, ValueError):  # none yet, or being written
        return None
    lifeline = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _lifelines.add(lifeline)
    try:
        lifeline.connect(control)
    except BaseException as error:
        _close(lifeline)
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError, BlockingIOError)):
            return None
        raise
    return lifeline


def _spawn(config: dict[str, Any]) -> socket.socket:
    """Start a supervisor in a session of its own, where no Ctrl-C of the terminal reaches it."""
    _remove_dead_runtimes({Path(config["temporary"]), Path("/tmp")})  # noqa: S108 - where supervisors make theirs
    ours, theirs = socket.socketpair()
    _lifelines.add(ours)
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
    except BaseException:
        _close(ours)
        raise
    _spawned.add(child)
    return ours


def _remove_dead_runtimes(bases: set[Path]) -> None:
    """Remove the runtime directories of this user whose supervisor was killed."""
    for path in (path for base in bases for path in base.glob(f"{supervisor.PREFIX}*")):
        with contextlib.suppress(OSError):  # of another user, in use, or gone meanwhile
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if time.time() - os.fstat(descriptor).st_mtime > 1:  # one that has just been made is not locked yet
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    supervisor.remove_runtime(str(path))
            finally:
                os.close(descriptor)


def _line(lifeline: socket.socket) -> bytes:
    """The next line that the supervisor says; empty if it has ended.

    Raises:
        TimeoutError: it does neither.
    """
    lifeline.settimeout(_PATIENCE)
    with contextlib.suppress(ConnectionResetError), lifeline.makefile("rb") as file:
        return file.readline()
    return b""


def _close(lifeline: socket.socket) -> None:
    lifeline.close()
    _reap()


def _reap(ending: int | None = None) -> None:
    """Collect the exit status of this process's supervisors that have ended, and wait for one that is about to."""
    for child in list(_spawned):
        with contextlib.suppress(ChildProcessError):  # somebody else has collected it
            if os.waitpid(child, 0 if child == ending else os.WNOHANG)[0] == 0:
                continue
        _spawned.discard(child)
