"""A store's own PostgreSQL server: shared by all processes that read the store, ended with the last of them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
import weakref
from pathlib import Path
from typing import Any, Literal

from psycopg.conninfo import make_conninfo

from loaders.core.errors import BackendError, StoreError
from loaders.formats.postgres import lifelines
from loaders.formats.postgres.cluster import DATA, PASSWORD, USER, check_path, initialise, server_command
from loaders.formats.postgres.programs import Programs, find_programs, programs_for
from loaders.formats.postgres.supervisor import GOING_ON, LONGEST_STOP, SAVE

LOG = "server.log"
Transport = Literal["socket", "tcp"]
_LOCK = "server.lock"
_READING = 5.0  # seconds for a server without unsaved data to end
# Seconds: longer than any supervisor takes to end its server, possibly for another process.
_PATIENCE = LONGEST_STOP + 10.0
# All parameters are set, so that no PG… variable of the environment interferes.
_CONNINFO = (
    f"user={USER} dbname=postgres hostaddr='' options='' sslmode=disable gssencmode=disable connect_timeout=30 "
    "application_name=loader-bench"
)


class EmbeddedServer:
    """This process's hold on the server of one store.

    The server runs under a supervisor process, which ends it when the last process with a hold has closed it or ended.
    """

    def __init__(self, store: Path, lifeline: socket.socket, ready: dict[str, Any]) -> None:
        """Args: ready: the supervisor's message."""
        self._store = store
        self.log = store / LOG
        self.pid: int = ready["pid"]
        self.supervisor_pid: int = ready["supervisor"]
        self.directory: str = ready["directory"]
        self._port: int = ready["port"]
        self._lifeline = lifeline
        # Also for a dataset that is garbage-collected without close().
        self._let_go = weakref.finalize(self, lifelines.close, lifeline)

    @classmethod
    def create(cls, store: Path) -> EmbeddedServer:
        """Create a data directory in an empty folder and start a server for loading it; may raise BackendError."""
        check_path(store)
        programs = find_programs()
        if isinstance(programs, str):
            raise BackendError(f"cannot start a PostgreSQL server: {programs}")
        password = store / PASSWORD
        password.touch(0o600, exist_ok=False)
        password.write_text(secrets.token_hex(32), encoding="ascii")
        initialise(store, programs)
        return cls._start(store, programs, 128 << 20, loading=True)

    @classmethod
    def open(cls, store: Path, transport: Transport, cache_bytes: int) -> EmbeddedServer:
        """Start the server of a store, with a cache of this size, or join the one that another process started.

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
        return cls._start(store, programs, cache_bytes, tcp=transport == "tcp")

    def conninfo(self, transport: Transport) -> str:
        """Libpq's connection string."""
        host, password = self.directory, ""
        if transport == "tcp":
            host, password = "127.0.0.1", (self._store / PASSWORD).read_text(encoding="ascii")
        return make_conninfo(_CONNINFO, host=host, port=self._port, password=password)

    def close(self, *, save: bool = False) -> None:
        """Release the server; if this was the last hold, return when the server has ended.

        After loading, ``save`` lets the server write the tables to the disk rather than end at once.

        Raises:
            BackendError: the server does not end.
        """
        if not self._let_go.alive:
            return
        try:
            with contextlib.suppress(OSError):  # the supervisor has ended
                if save:
                    self._lifeline.sendall(SAVE)
                self._lifeline.shutdown(socket.SHUT_WR)
            if lifelines.line(self._lifeline, _PATIENCE) != GOING_ON:
                lifelines.reap(self.supervisor_pid)
        except TimeoutError:
            raise BackendError(
                f"the PostgreSQL server of {self._store} did not end within {_PATIENCE:.0f} s; "
                f"end process {self.pid} yourself"
            ) from None
        finally:
            self._let_go()

    @classmethod
    def _start(
        cls, store: Path, programs: Programs, cache_bytes: int, *, loading: bool = False, tcp: bool = False
    ) -> EmbeddedServer:
        config = {
            "server": server_command(store, programs, cache_bytes, loading=loading),
            "data": str(store / DATA),
            "lock": str(store / _LOCK),
            "log": str(store / LOG),
            "identity": programs.identity,
            "patience": 0.0 if loading else _READING,
            "tcp": tcp,
        }
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            answer: dict[str, Any] = {}
            if lifeline := lifelines.join(store / _LOCK) or lifelines.spawn(config, store / _LOCK):
                try:
                    answer = json.loads(lifelines.line(lifeline, _PATIENCE) or b"{}")
                except TimeoutError:
                    raise BackendError(
                        f"the PostgreSQL server did not start within {_PATIENCE:.0f} s; "
                        "try again when the machine is less busy"
                    ) from None
                finally:
                    if "ready" not in answer:  # after Ctrl-C, too: without its lifeline the server ends
                        lifelines.leave(lifeline)
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
