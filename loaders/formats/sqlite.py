"""SQLite: one database file with a table per split, one row per sample."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from loaders.core.batch import Indices
from loaders.core.errors import StoreError
from loaders.core.format import Candidate, Format, Reader, Written
from loaders.core.options import EncodingOptions, read_option, store_option
from loaders.core.payloads import Payloads
from loaders.store.intake import Intake
from loaders.store.manifest import Store

FILE = "images.sqlite"


class SqliteOptions(EncodingOptions):
    """Options of the SQLite loader."""

    page_size: int = store_option(
        4096,
        ge=512,
        le=65536,
        multiple_of=512,
        description="bytes of a database page; larger than most images is faster",
    )
    mmap_mb: int = read_option(1 << 20, ge=0, le=1 << 24, description="MiB of the file that SQLite maps; 0: none")


class SqliteFormat(Format[SqliteOptions]):
    """SQLite by Python's own module."""

    name = "sqlite"
    Options = SqliteOptions
    candidates = (Candidate(), Candidate({"encoding": "jpeg"}, needs="files"))

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """One transaction per block, without a journal, since an unfinished store is never read."""
        connection = sqlite3.connect(folder / FILE, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size = {self.options.page_size}")
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            for split in splits.values():
                table = quoted(split.name)
                connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, label INTEGER, image BLOB)")
                for block in split.blocks():
                    ids = range(split.stored, split.stored + len(block.labels))
                    rows = zip(ids, block.labels.tolist(), block.payloads, strict=True)
                    connection.execute("BEGIN")
                    connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)  # noqa: S608 - quoted
                    connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / FILE)) from error
            raise
        finally:
            connection.close()
        return Written([FILE])

    def open(self, store: Store, split: str) -> Reader:
        """Open the file read-only; it never changes, so SQLite need not lock it."""
        return _SqliteReader(store, split, self.options)


class _SqliteReader(Reader):
    """Reads the rows of a batch by one query, on one connection per thread."""

    def __init__(self, store: Store, split: str, options: SqliteOptions) -> None:
        self._path, self._remedy = store.location / FILE, store.remedy
        self._kind = options.kind
        self._mmap = options.mmap_mb << 20
        self._query = f"SELECT id, label, image FROM {quoted(split)} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        self._own = threading.local()
        self._all: list[sqlite3.Connection] = []
        self.fetch(np.zeros(1, np.int64))  # to detect damage on opening

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._own, "connection"):
            uri = f"{self._path.absolute().as_uri()}?mode=ro&immutable=1"
            self._own.connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._own.connection.execute(f"PRAGMA mmap_size = {self._mmap}")
            self._all.append(self._own.connection)
        connection: sqlite3.Connection = self._own.connection
        return connection

    def fetch(self, indices: Indices) -> Payloads:
        """Each row is returned once and in any order, and put in the requested order."""
        keys = indices.tolist()
        try:
            rows = {row[0]: row for row in self._connection().execute(self._query, (json.dumps(keys),))}
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}; {self._remedy}") from None
        if missing := set(keys) - rows.keys():
            raise StoreError(f"{self._path} has no row {min(missing)}; {self._remedy}")
        images = [rows[key][2] for key in keys]
        labels = np.array([rows[key][1] for key in keys], np.int64)
        return Payloads(images.__getitem__, labels, self._kind)

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._all:
            connection.close()


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
