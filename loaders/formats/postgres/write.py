"""Writes tables by binary COPY: in one transaction, or in as many as there are notes to go on from after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString, Self

import numpy as np
import psycopg
from psycopg import sql

from loaders.core.options import Encoding
from loaders.formats.postgres.tables import SCHEMA, TABLES, Storage, Tables, quoted, tables_of
from loaders.store.intake import StreamedSplit
from loaders.store.journal import StaleError
from loaders.store.samples import StoredBlock

# Below it a row is kept whole; a row over PostgreSQL's page of 8 KB is always moved out of line.
_TOAST_TARGET: dict[Storage, int] = {"inline": 8160, "toast": 128}
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
# The fields of a row before the image's bytes, as binary COPY wants them: each value after its length.
_ROW = [("fields", ">i2"), ("id_size", ">i4"), ("id", ">i4"), ("label_size", ">i4"), ("label", ">i4"), ("size", ">i4")]
_UNFINISHED = -1


class _Session:
    """A transaction that begins when it is needed, and at most one COPY within it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._life: contextlib.ExitStack | None = None
        self._copy: psycopg.Copy | None = None
        self._end = contextlib.ExitStack()  # of that COPY

    def begin(self) -> psycopg.Connection[Any]:
        """The connection, in a transaction."""
        if self._life is None:
            self._life = contextlib.ExitStack()
            self._life.enter_context(self._connection.transaction())
            # Notes are taken of what is committed: the server must not lose it if it is killed a moment later.
            self._connection.execute("SET LOCAL synchronous_commit = on")
        return self._connection

    def copying(self, statement: sql.Composed) -> psycopg.Copy:
        """The COPY that is under way, or the one of this statement."""
        if self._copy is None:
            cursor = self.begin().cursor()
            self._end = contextlib.ExitStack()
            self._copy = self._end.enter_context(cursor.copy(statement))
            self._copy.write(_COPY_HEADER)
        return self._copy

    def end_copy(self) -> None:
        """End the COPY, if one is under way."""
        if self._copy is not None:
            copy, self._copy = self._copy, None
            copy.write(_COPY_END)
            self._end.close()

    def commit(self) -> None:
        """Make everything so far permanent."""
        self.end_copy()
        if self._life is not None:
            life, self._life = self._life, None
            life.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.commit()
            return
        try:
            if self._copy is not None:
                self._end.__exit__(kind, error, trace)
        finally:
            if self._life is not None:
                self._life.__exit__(kind, error, trace)


def write_tables(
    connection: psycopg.Connection[Any],
    splits: Mapping[str, StreamedSplit],
    folder: Path,
    encoding: Encoding,
    storage: Storage,
) -> Tables:
    """Write all splits: afterwards all tables are there, or, but for what notes speak of, everything is as it was.

    Tables of an earlier store at the same place, or of one that was killed there, are dropped.

    Raises:
        StaleError: the tables that a split's ``state`` speaks of are not there.
    """
    token = str(next((split.state["token"] for split in splits.values() if split.state), secrets.token_hex(8)))
    # The folder under construction is the same at each attempt, and differs between machines that share a server.
    place = hashlib.sha256(f"{socket.gethostname()}:{folder}".encode()).hexdigest()[:16]
    names = {split: f"{split}_{token}" for split in splits}
    with _Session(connection) as session:
        session.begin()
        if connection.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone() == (None,):
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
        earlier = tables_of(connection, place)
        for name, identity in earlier.items():
            if identity.get("count") == _UNFINISHED and identity["loader-bench"] != token:
                connection.execute(sql.SQL("DROP TABLE {}").format(quoted(name)))
        in_parts = []
        for name, split in splits.items():
            if split.state and names[name] not in earlier:
                raise StaleError(names[name])
            identity = {"loader-bench": token, "place": place, "split": name, "count": _UNFINISHED}
            if _write_table(session, names[name], split, encoding, storage, identity):
                in_parts.append(names[name])
        session.begin()
        for name, split in splits.items():
            _describe(connection, names[name], {**identity, "split": name, "count": split.info.count})
        for name, identity in earlier.items():
            if identity.get("count") != _UNFINISHED and identity["loader-bench"] != token:
                connection.execute(sql.SQL("DROP TABLE {}").format(quoted(name)))
    for name in in_parts:
        # As FREEZE would have left them: rows visible to all, so that no later read has anything to write.
        connection.execute(sql.SQL("VACUUM (FREEZE) {}").format(quoted(name)))
    sizes = [
        connection.execute("SELECT pg_total_relation_size(%s::regclass)", [quoted(name).as_string()]).fetchone()
        for name in names.values()
    ]
    tables = Tables(token=token, names=names, bytes=sum(size[0] for size in sizes if size))
    (folder / TABLES).write_text(tables.model_dump_json(indent=1), encoding="utf-8")
    return tables


def _describe(connection: psycopg.Connection[Any], table: str, identity: Mapping[str, Any]) -> None:
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(quoted(table), sql.Literal(json.dumps(identity))))


def _write_table(
    session: _Session,
    table: str,
    split: StreamedSplit,
    encoding: Encoding,
    storage: Storage,
    identity: Mapping[str, Any],
) -> bool:
    """Write one split; gives whether it took more than one transaction."""
    name = quoted(table)
    connection = session.begin()
    # FREEZE: rows are born visible to all, so that no later read has anything to write. It is for the transaction that
    # makes the table.
    option: LiteralString = ", FREEZE"
    if split.state:
        option = ""
        _cut_back(connection, table, split.stored)
    else:
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} (id int4 NOT NULL, label int4 NOT NULL, image bytea NOT NULL) "
                "WITH (toast_tuple_target = {}, autovacuum_enabled = off)"
            ).format(name, sql.Literal(_TOAST_TARGET[storage]))
        )
        # Never compressed: pixels hardly shrink, and each read would pay for the attempt.
        connection.execute(sql.SQL("ALTER TABLE {} ALTER image SET STORAGE EXTERNAL").format(name))
        _describe(connection, table, identity)

    def save() -> dict[str, int | str]:
        nonlocal option
        option = ""
        session.commit()
        return {"token": str(identity["loader-bench"])}

    split.resumable(save)
    first = split.stored
    for block in split.blocks():
        copy = session.copying(sql.SQL("COPY {} FROM STDIN (FORMAT binary" + option + ")").format(name))
        for part in _rows(block, first, encoding):
            copy.write(part)
        first += len(block.labels)
    session.end_copy()
    connection = session.begin()
    if connection.execute(_HAS_KEY, [name.as_string()]).fetchone() is None:
        connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id) WITH (fillfactor = 100)").format(name))
    return not option


_HAS_KEY = "SELECT 1 FROM pg_index WHERE indrelid = %s::regclass AND indisprimary"


def _cut_back(connection: psycopg.Connection[Any], table: str, count: int) -> None:
    """Remove what was committed after the last note.

    Raises:
        StaleError: rows are missing.
    """
    name = quoted(table)
    connection.execute(sql.SQL("DELETE FROM {} WHERE id >= {}").format(name, sql.Literal(count)))
    if connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone() != (count,):
        raise StaleError(table)


def _rows(block: StoredBlock, first: int, encoding: Encoding) -> Iterator[bytes]:
    """Rows of a block in the format of binary COPY."""
    count = len(block.labels)
    at_once = encoding == "raw" and not block.pictures
    fields: list[Any] = _ROW
    if at_once:
        images = block.images.reshape(count, int(np.prod(block.images.shape[1:])))
        fields = [*_ROW, ("image", "u1", (images.shape[1],))]
    rows = np.empty(count, np.dtype(fields))
    rows["fields"], rows["id_size"], rows["label_size"] = 3, 4, 4
    rows["id"], rows["label"] = np.arange(first, first + count), block.labels
    if at_once:
        rows["size"], rows["image"] = images.shape[1], images
        yield rows.tobytes()
        return
    files = block.payloads(encoding)
    rows["size"] = [len(file) for file in files]
    head, width = rows.tobytes(), rows.dtype.itemsize
    yield b"".join(piece for i, file in enumerate(files) for piece in (head[i * width : (i + 1) * width], file))
