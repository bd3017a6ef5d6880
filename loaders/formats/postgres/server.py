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
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Literal

from loaders.core.errors import BackendError, StoreError
from loaders.formats.postgres import supervisor as pgsupervisor
from loaders.formats.postgres.binaries import SUPERVISOR, Programs, find_programs, programs_for
from loaders.store.journal import StaleError

DATA = "pgdata"
LOG = "server.log"
USER = "bench"
DATABASE = "postgres"
Transport = Literal["socket", "tcp"]
_LOCK = "server.lock"
_PASSWORD = "password"  # noqa: S105 - the name of a file
# Longer than any supervisor takes to end its server, which it may be doing for another process.
_PATIENCE = pgsupervisor.LONGEST_STOP + 10.0
_LONGEST_DATA_PATH = 960  # of PostgreSQL's 1023 bytes, some are for the names of its files

# Every lifeline of this process. A forked child closes its copies: otherwise it would keep the server alive when its
# parent is killed.
_lifelines: set[socket.socket] = set()
# Supervisors that this process started and that serve others still.
_spawned: set[int] = set()
_guard = threading.RLock()  # reentrant: the garbage collector may let go of a server at any moment


def _drop_inherited() -> None:
    global _guard
    _guard = threading.RLock()
    for lifeline in _lifelines:
        lifeline.close()
    _lifelines.clear()
    _spawned.clear()


os.register_at_fork(after_in_child=_drop_inherited)


class EmbeddedServer:
    """This process's hold on the server of one store.

    The server runs under a supervisor process, which ends it when the last process that holds it has let go or died.
    """

    def __init__(self, store: Path, lifeline: socket.socket, ready: dict[str, Any]) -> None:
        self._store = store
        self._lifeline: socket.socket | None = lifeline
        self._ready = ready
        weakref.finalize(self, _forget, lifeline)  # for a dataset that is dropped without close()

    @classmethod
    def create(cls, store: Path, *, go_on: bool = False) -> EmbeddedServer:
        """Make a data directory in an empty folder and start a server for loading it.

        Args:
            store: the folder.
            go_on: the directory is there already, of an attempt that was killed.

        Raises:
            BackendError: it cannot be started.
            StaleError: it cannot be started with the directory that is there.
        """
        if go_on:
            try:
                return cls._start(store, programs_for(store / DATA), new=True, go_on=True)
            except (BackendError, StoreError) as error:
                raise StaleError(str(error)) from error
        found = find_programs()
        if found.programs is None:
            raise BackendError(f"cannot start a PostgreSQL server: {found.reason}")
        password = store / _PASSWORD
        password.touch(0o600, exist_ok=False)
        password.write_text(secrets.token_hex(32), encoding="ascii")
        return cls._start(store, found.programs, new=True)

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
        programs = programs_for(store / DATA)
        for path in (store, store / DATA):
            if not os.access(path, os.W_OK):
                raise StoreError(
                    f"{path} cannot be written, which PostgreSQL needs even to read; "
                    "make it writable or copy the store to another --store-dir"
                )
        return cls._start(store, programs, new=False, tcp=transport == "tcp", cache_bytes=cache_bytes)

    @property
    def log(self) -> Path:
        """The server's log, from its start to the start of the next."""
        return self._store / LOG

    @property
    def pid(self) -> int:
        """Process id of the server, whose children serve the connections."""
        return int(self._ready["pid"])

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor."""
        return int(self._ready["supervisor"])

    def conninfo(self, transport: Transport) -> dict[str, str]:
        """Connection parameters; each is set, so that no PG… variable of the environment interferes."""
        common = {
            "port": str(self._ready["port"]),
            "user": USER,
            "dbname": DATABASE,
            "hostaddr": "",
            "options": "",
            "sslmode": "disable",
            "gssencmode": "disable",
            "connect_timeout": "30",
            "application_name": "loader-bench",
        }
        if transport == "socket":
            return {**common, "host": str(self._ready["directory"]), "password": ""}
        return {**common, "host": "127.0.0.1", "password": (self._store / _PASSWORD).read_text(encoding="ascii")}

    def close(self, *, keep_data: bool = True) -> None:
        """Let go; if this was the last hold, return when the server has ended.

        Args:
            keep_data: False for a store that is thrown away, so that a server for loading need not save it.

        Raises:
            BackendError: the server does not end.
        """
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is None:
            return
        try:
            with contextlib.suppress(OSError):  # the supervisor is dead already: nothing to tell
                if keep_data:
                    lifeline.sendall(pgsupervisor.STOP)
                lifeline.shutdown(socket.SHUT_WR)
            if _farewell(lifeline) == "ended":
                _reap(self.supervisor_pid)
        except TimeoutError:
            raise BackendError(
                f"the PostgreSQL server of {self._store} did not end within {_PATIENCE:.0f} s; "
                f"end process {self.pid} yourself"
            ) from None
        finally:
            _forget(lifeline)

    @classmethod
    def _start(
        cls,
        store: Path,
        programs: Programs,
        *,
        new: bool,
        tcp: bool = False,
        cache_bytes: int = 128 << 20,
        go_on: bool = False,
    ) -> EmbeddedServer:
        length = len(os.fsencode(store / DATA))
        if length > _LONGEST_DATA_PATH:
            raise StoreError(
                f"PostgreSQL takes folders whose path has at most {_LONGEST_DATA_PATH} bytes, not {length}; "
                f"choose a shorter --store-dir or --data-dir than {store.parent}"
            )
        end = time.monotonic() + _PATIENCE
        while True:
            answer: dict[str, Any] = {}
            lifeline = _join(store / _LOCK)
            if lifeline is None and _is_free(store / _LOCK):
                lifeline = _spawn(
                    _config(store, programs, new=new, tcp=tcp, cache_bytes=cache_bytes, initialise=new and not go_on)
                )
            if lifeline is not None:
                try:
                    answer = _answer(lifeline)
                finally:
                    if "ready" not in answer:  # after Ctrl-C, too: without its lifeline the server ends
                        _forget(lifeline)
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
            if time.monotonic() > end:
                raise BackendError(
                    f"the PostgreSQL server of {store} neither starts nor ends; end the processes that use the store"
                )
            time.sleep(0.01)  # another process is starting or ending the server


def _config(
    store: Path, programs: Programs, *, new: bool, tcp: bool, cache_bytes: int, initialise: bool
) -> dict[str, Any]:
    data = store / DATA
    settings = {
        "shared_buffers": f"{max(cache_bytes, 16 << 20) >> 13}",
        "fsync": "off" if new else "on",
        "recovery_init_sync_method": "syncfs",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "8GB" if new else "64MB",
        "min_wal_size": "2MB",
        "checkpoint_timeout": "1d",
        "restart_after_crash": "off",  # it may wait for ever if it is told to end while it restarts
        "max_connections": "200",
        "max_worker_processes": "0",
        "max_logical_replication_workers": "0",
        "max_parallel_maintenance_workers": "0",
        "autovacuum": "off",
        "jit": "off",
        "track_counts": "off",
        "update_process_title": "off",
        "bgwriter_lru_maxpages": "0",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "",
        "password_encryption": "scram-sha-256",
        **({"io_method": "sync"} if programs.major >= 18 else {}),
    }
    initdb = [
        *(str(programs.folder / "initdb"), "-D", str(data), "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"),
        *("--wal-segsize=1", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"),
        *("--pwfile", str(store / _PASSWORD)),
    ]
    return {
        "initialise": initdb if initialise else None,
        "server": [
            *(str(programs.folder / "postgres"), "-D", str(data)),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ],
        "data": str(data),
        "password": str(store / _PASSWORD),
        "lock": str(store / _LOCK),
        "log": str(store / LOG),
        "temporary": tempfile.gettempdir(),
        "identity": programs.identity,
        "disposable": new,
        "tcp": tcp,
    }


def _is_free(lock: Path) -> bool:
    """Whether nobody serves the store."""
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
        path = json.loads(lock.read_bytes())["control"]
    except (FileNotFoundError, ValueError):  # none yet, or being written
        return None
    lifeline = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _remember(lifeline)
    try:
        lifeline.connect(path)
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        _forget(lifeline)
        return None
    except BaseException:
        _forget(lifeline)
        raise
    return lifeline


def _spawn(config: dict[str, Any]) -> socket.socket:
    """Start a supervisor in a session of its own, where no Ctrl-C of the terminal reaches it."""
    ours, theirs = socket.socketpair()
    _remember(ours)
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
        _forget(ours)
        raise
    _spawned.add(child)
    return ours


def _answer(lifeline: socket.socket) -> dict[str, Any]:
    """What the supervisor says; empty if it ended without a word."""
    lifeline.settimeout(_PATIENCE)
    said = b""
    try:
        while not said.endswith(b"\n"):
            part = lifeline.recv(65536)
            if not part:
                return {}
            said += part
    except ConnectionResetError:  # it ended while we were waiting in its queue
        return {}
    except TimeoutError:
        raise BackendError(
            f"the PostgreSQL server did not start within {_PATIENCE:.0f} s; try again when the machine is less busy"
        ) from None
    message: dict[str, Any] = json.loads(said)
    return message


def _farewell(lifeline: socket.socket) -> Literal["going on", "ended"]:
    """Wait until the supervisor has let go of us, or has ended.

    Raises:
        TimeoutError: neither happened.
    """
    lifeline.settimeout(_PATIENCE)
    said = b""
    with contextlib.suppress(ConnectionResetError):  # it was killed
        while part := lifeline.recv(65536):
            said += part
    return "going on" if said.endswith(pgsupervisor.GOING_ON) else "ended"


def _remember(lifeline: socket.socket) -> None:
    with _guard:
        _lifelines.add(lifeline)


def _forget(lifeline: socket.socket) -> None:
    """Close a lifeline."""
    with _guard:
        _lifelines.discard(lifeline)
    lifeline.close()
    _reap()


def _reap(ending: int | None = None) -> None:
    """Collect the exit status of this process's supervisors that have ended, and wait for one that is about to."""
    for child in list(_spawned):
        with contextlib.suppress(ChildProcessError):  # somebody else has collected it
            if os.waitpid(child, 0 if child == ending else os.WNOHANG)[0] == 0:
                continue
        _spawned.discard(child)
