"""Reads a split's table: one prepared binary query per batch, on a connection that no other thread uses."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import psycopg
from psycopg import pq, sql

from loaders.core.batch import Indices
from loaders.core.errors import StoreError
from loaders.core.format import Reader
from loaders.core.payloads import Payloads
from loaders.formats.postgres.connection import OWN_LOG, Connection, backend_error, connect
from loaders.formats.postgres.options import PostgresOptions
from loaders.formats.postgres.server import EmbeddedServer
from loaders.formats.postgres.tables import SCHEMA, check_table, quoted, read_tables
from loaders.store.manifest import Store

_STATEMENT = b"batch"
_INT4, _INT4_ARRAY = 23, 1007
# A batch is always rows by key: without statistics and for any number of keys the index is the right plan.
SETTINGS = (
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off"
)
_BLOCKS_READ = """
    SELECT (coalesce(heap_blks_read, 0) + coalesce(idx_blks_read, 0) + coalesce(toast_blks_read, 0)
            + coalesce(tidx_blks_read, 0)) * current_setting('block_size')::bigint
    FROM pg_statio_all_tables
    WHERE schemaname = %s AND relname = %s AND current_setting('track_counts')::bool
"""


class ConnectionInfo(NamedTuple):
    """How another client can read the same rows while the reader is open."""

    conninfo: str  # of libpq, password included
    schema: str
    table: str  # with columns id, label and image
    server_pid: int | None  # None: the user's server


class PostgresReader(Reader):
    """Rows of one table. Threads that read at the same time use separate connections."""

    def __init__(self, store: Store, split: str, options: PostgresOptions) -> None:
        """Start or join the store's server, or connect to the user's, and check the table."""
        tables, pid = read_tables(store.location), None
        self._kind = options.kind
        self._lock = threading.Lock()
        self._closed = False
        self._idle: list[Connection] = []
        with contextlib.ExitStack() as life:
            if options.server == "embedded":
                server = EmbeddedServer.open(store.location, options.transport, _cache_bytes(tables.bytes))
                life.callback(server.close)
                conninfo, pid = server.conninfo(options.transport), server.pid
                self._remedy = f"read its log {server.log}, then try again"
                connection = connect(conninfo, self._remedy)
            else:
                conninfo, self._remedy = options.conninfo(), OWN_LOG
                connection = connect(conninfo)
            try:
                with connection:
                    check_table(connection, tables, split, store, rows=pid is None)
            except psycopg.Error as error:
                raise backend_error(f"cannot check the tables of store {store.location}", error, self._remedy) from None
            self._life = life.pop_all()
        self.connection_info = ConnectionInfo(conninfo, SCHEMA, tables.names[split], pid)
        query = sql.SQL("SELECT id, label, image FROM {} WHERE id = ANY ($1)").format(quoted(tables.names[split]))
        self._query = query.as_string().encode()
        self._name = f"table {SCHEMA}.{tables.names[split]}"
        # Also for a dataset that is garbage-collected without close().
        self._close_idle = weakref.finalize(self, _close_all, self._idle, os.getpid())

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """An idle or new connection, kept for the next batch if nothing is raised.

        Raises:
            BackendError: the server was lost, or failed.
        """
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        connection = idle or connect(self.connection_info.conninfo, self._remedy)
        try:
            if idle is None:
                connection.execute(SETTINGS)
                _require_success(connection.pgconn.prepare(_STATEMENT, self._query, [_INT4_ARRAY]))
            yield connection
        except BaseException as error:
            connection.close()
            if isinstance(error, psycopg.Error):
                raise backend_error(f"cannot read {self._name}", error, self._remedy) from None
            raise
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def fetch(self, indices: Indices) -> Payloads:
        """The columns ``image`` and ``label`` of these samples, by one query."""
        if not len(indices):
            return Payloads(bytes, np.empty(0, np.int64), self._kind)
        with self.connection() as connection:
            # libpq directly: psycopg's cursor would create Python objects per row, in a third of the batch's time.
            result = connection.pgconn.exec_prepared(_STATEMENT, [_int4_array(indices)], [1], 1)
            _require_success(result)
        # Each row is returned once, in any order.
        value: Any = result.get_value
        row_of = {value(row, 0): row for row in range(result.ntuples)}
        keys = indices.astype(">i4").tobytes()
        try:
            rows = [row_of[keys[at : at + 4]] for at in range(0, len(keys), 4)]
        except KeyError as missing:
            key = int.from_bytes(missing.args[0], "big")
            raise StoreError(f"{self._name} has no row {key}; prepare the store again") from None
        labels = np.frombuffer(b"".join([value(row, 1) for row in rows]), ">i4").astype(np.int64)
        return Payloads([value(row, 2) for row in rows].__getitem__, labels, self._kind)

    def read_bytes(self) -> int | None:
        """Bytes of the table and its indexes that the user's server has read from outside its cache.

        They may have been in the operating system's cache. The last second of worker processes may be missing. None if
        the server does not count them (``track_counts`` is off), and for the embedded server, whose files are in the
        store.

        Raises:
            BackendError: the server was lost.
        """
        if self.connection_info.server_pid is not None:
            return None
        with self.connection() as connection:
            for each in [connection, *self._idle]:
                # Otherwise a session reports its counts at most once a second.
                if each.info.server_version >= 150000:
                    each.execute("SELECT pg_stat_force_next_flush()")
            counted = connection.execute(_BLOCKS_READ, [SCHEMA, self.connection_info.table]).fetchone()
        return int(counted[0]) if counted else None

    def close(self) -> None:
        """Close all connections and release the server."""
        with self._lock:
            self._closed = True
        self._close_idle()
        self._life.close()


def _cache_bytes(table_bytes: int) -> int:
    """Size of the server's cache: all tables and some more, but at most a quarter of the machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(table_bytes + table_bytes // 16 + (32 << 20), memory // 4)


def _int4_array(values: Indices) -> bytes:
    """Values in PostgreSQL's binary format of ``int4[]``: one dimension, no nulls, lower bound 1."""
    words = np.empty(5 + 2 * len(values), ">i4")
    words[:5] = 1, 0, _INT4, len(values), 1
    words[5::2] = 4
    words[6::2] = values
    return words.tobytes()


def _require_success(result: pq.abc.PGresult) -> None:
    if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        raise psycopg.errors.error_from_result(result)


def _close_all(connections: list[Connection], owner: int) -> None:
    if os.getpid() == owner:  # a forked child's copies must not end its parent's sessions
        while connections:
            connections.pop().close()
