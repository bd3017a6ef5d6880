"""Reads batches from a table: one prepared query a batch, in binary, on a connection of the calling thread's own."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

import numpy as np
import psycopg
import torch
from numpy.typing import NDArray
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict

from loaders.core.batch import Batch, Indices
from loaders.core.errors import BackendError, StoreError
from loaders.formats.postgres.tables import OWN_LOG, REMEDIES, SCHEMA, backend_error, one_line
from loaders.images.codecs import ImageDecoder
from loaders.images.ragged import Payloads

_STATEMENT = b"batch"
_INT4, _INT4_ARRAY = 23, 1007
# A batch is always some rows by key: without statistics and for any number of keys the index is right.
SETTINGS = (
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off"
)

_BLOCKS_READ = """
    SELECT (coalesce(heap_blks_read, 0) + coalesce(idx_blks_read, 0) + coalesce(toast_blks_read, 0)
            + coalesce(tidx_blks_read, 0)) * current_setting('block_size')::bigint
    FROM pg_statio_all_tables
    WHERE schemaname = %s AND relname = %s AND current_setting('track_counts')::bool
"""


# A refused connection comes without SQLSTATE: by what it says, in the order in which they are looked for.
_REFUSALS = (
    (("too many", "connection slots"), REMEDIES["53300"]),
    (("starting up", "shutting down", "in recovery mode", "accepting connections"), REMEDIES["57P03"]),
    (("permission denied for database",), "grant the user CONNECT on the database"),
    (("too long",), "give the socket's folder a shorter path (unix_socket_directories), or reach the server by TCP"),
    (("password", "authentication", 'role "', "pg_hba.conf"), REMEDIES["28000"]),
    (("does not exist",), REMEDIES["3D000"]),
)


def connect(
    conninfo: str, look: str = "check that it is running and that host and port are right"
) -> psycopg.Connection[Any]:
    """Connect to a server.

    Args:
        conninfo: where and as whom.
        look: what to do about an error that has no remedy of its own.

    Raises:
        BackendError: it cannot be reached or refuses.
    """
    parameters = conninfo_to_dict(conninfo)
    password = str(parameters.get("password") or "")
    try:
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.Error as error:
        reason = one_line(error, (password,))
    remedy = next((remedy for words, remedy in _REFUSALS if any(word in reason for word in words)), look)
    raise BackendError(f"cannot connect to the PostgreSQL server: {reason}; {remedy}")


class TableReader:
    """Batches of one table. Each thread that reads at the same time gets a connection of its own."""

    def __init__(
        self,
        conninfo: str,
        table: str,
        shape: tuple[int, int, int] | None,
        decoder: ImageDecoder | None,
        look: str = OWN_LOG,
    ) -> None:
        """Connect at the first read.

        Args:
            conninfo: libpq's connection string.
            table: its name.
            shape: of each image; None for a ragged split, which is read by `payloads` alone.
            decoder: of images that are kept as JPEG.
            look: what to do about an error that has no remedy of its own.
        """
        self._look = look
        self._conninfo = conninfo
        self._table = table
        self._shape = shape
        self._decoder = decoder
        self._query = (
            sql.SQL("SELECT id, label, image FROM {} WHERE id = ANY ($1)")
            .format(sql.Identifier(SCHEMA, table))
            .as_string()
            .encode()
        )
        self._lock = threading.Lock()
        self._closed = False
        self._idle: list[psycopg.Connection[Any]] = []
        # For a dataset that is dropped without close().
        self._forgotten = weakref.finalize(self, _close_all, self._idle, os.getpid())

    def connection(self) -> psycopg.Connection[Any]:
        """An idle connection, or a new one; ``release`` gives it back."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = connect(self._conninfo, self._look)
        try:
            connection.execute(SETTINGS)
            _require(connection.pgconn.prepare(_STATEMENT, self._query, [_INT4_ARRAY]), pq.ExecStatus.COMMAND_OK)
        except psycopg.Error as error:
            connection.close()
            raise backend_error(f"cannot read table {SCHEMA}.{self._table}", error, self._look) from None
        return connection

    def release(self, connection: psycopg.Connection[Any]) -> None:
        """Keep a sound connection for the next batch."""
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def read(self, indices: Indices) -> Batch:
        """Samples in the order asked, in fresh memory."""
        shape = self._shape
        assert shape is not None
        images, labels = self._rows(indices)
        if self._decoder is not None:
            return Batch(self._decoder.decode(images, shape), torch.from_numpy(labels))
        # A bytearray is filled by one copy and may be written to by the receiver.
        pixels = np.frombuffer(bytearray().join(images), np.uint8)
        if pixels.size != len(images) * int(np.prod(shape)):
            raise StoreError(f"table {SCHEMA}.{self._table} holds images of another size; prepare the store again")
        return Batch(torch.from_numpy(pixels.reshape(len(images), *shape)), torch.from_numpy(labels))

    def payloads(self, indices: Indices) -> Payloads:
        """What is kept of each sample, by one query."""
        images, labels = self._rows(indices)
        return Payloads(images.__getitem__, labels)

    def _rows(self, indices: Indices) -> tuple[list[bytes], NDArray[np.int64]]:
        """The column ``image`` and the labels, int64 ``[B]``."""
        if not len(indices):
            return [], np.empty(0, np.int64)
        connection = self.connection()
        try:
            # libpq itself: psycopg's cursor would build Python objects of each row, at a third of the batch's time.
            result = connection.pgconn.exec_prepared(_STATEMENT, [_int4_array(indices)], [1], 1)
            _require(result, pq.ExecStatus.TUPLES_OK)
        except psycopg.Error as error:
            connection.close()
            raise backend_error("lost the PostgreSQL server or its table during a read", error, self._look) from None
        except BaseException:
            connection.close()
            raise
        self.release(connection)
        return self._assemble(result, indices)

    def read_bytes(self) -> int | None:
        """Bytes that the server ever had to read from outside its cache, of the table and all that belongs to it.

        None if it does not count (``track_counts`` is off).

        Raises:
            BackendError: the server was lost.
        """
        connection = self.connection()
        try:
            for one in [connection, *self._idle]:
                # But for this, a session reports its counts once a second at most.
                if one.info.server_version >= 150000:
                    one.execute("SELECT pg_stat_force_next_flush()")
            found = connection.execute(_BLOCKS_READ, [SCHEMA, self._table]).fetchone()
        except psycopg.Error as error:
            connection.close()
            raise backend_error("lost the PostgreSQL server while asking what it read", error, self._look) from None
        self.release(connection)
        return int(found[0]) if found else None

    def _assemble(self, result: pq.abc.PGresult, indices: Indices) -> tuple[list[bytes], NDArray[np.int64]]:
        """Put the rows, which come once each and in any order, where they were asked."""
        value: Any = result.get_value
        row_of = {value(row, 0): row for row in range(result.ntuples)}
        keys = indices.astype(">i4").tobytes()
        try:
            rows = [row_of[keys[at : at + 4]] for at in range(0, len(keys), 4)]
        except KeyError as missing:
            key = int.from_bytes(missing.args[0], "big")
            raise StoreError(f"table {SCHEMA}.{self._table} has no row {key}; prepare the store again") from None
        labels = np.frombuffer(b"".join([value(row, 1) for row in rows]), ">i4").astype(np.int64)
        return [value(row, 2) for row in rows], labels

    def close(self) -> None:
        """Close all connections and end the decoding threads."""
        with self._lock:
            self._closed = True
        self._forgotten()
        if self._decoder is not None:
            self._decoder.close()


def _int4_array(values: Indices) -> bytes:
    """Values in PostgreSQL's binary format of ``int4[]``: one dimension, no nulls, lower bound 1."""
    words = np.empty(5 + 2 * len(values), ">i4")
    words[:5] = 1, 0, _INT4, len(values), 1
    words[5::2] = 4
    words[6::2] = values
    return words.tobytes()


def _require(result: pq.abc.PGresult, status: pq.ExecStatus) -> None:
    if result.status != status:
        try:
            kind = psycopg.errors.lookup(_sqlstate(result) or "08006")
        except KeyError:  # a code of an extension or a pooler
            kind = psycopg.OperationalError
        raise kind(result.error_message.decode(errors="replace"))


def _sqlstate(result: pq.abc.PGresult) -> str | None:
    code = result.error_field(pq.DiagnosticField.SQLSTATE)
    return code.decode() if code else None


def _close_all(connections: list[psycopg.Connection[Any]], owner: int) -> None:
    if os.getpid() == owner:  # a forked child's copies must not end its parent's sessions
        while connections:
            connections.pop().close()
