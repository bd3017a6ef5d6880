"""Writes a store's tables by binary COPY, all in one transaction."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from loaders.formats.postgres.connection import OWN_LOG, Connection, backend_error
from loaders.formats.postgres.supervisor import last_lines
from loaders.formats.postgres.tables import SCHEMA, TABLES, Storage, Tables, quoted
from loaders.store.intake import Intake
from loaders.store.samples import StoredBlock

# Shorter rows are stored in line; rows over PostgreSQL's page of 8 KB are always moved out of line.
_TOAST_TARGET: dict[Storage, int] = {"inline": 8160, "toast": 128}
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_TABLES_OF_A_PLACE = (
    "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r' "
    "AND obj_description(oid, 'pg_class') LIKE %s"
)
# The fields of a row before the image's bytes in binary COPY: each value after its length.
_ROW = np.dtype(
    [("fields", ">i2"), ("id_size", ">i4"), ("id", ">i4"), ("label_size", ">i4"), ("label", ">i4"), ("size", ">i4")]
)


def write_tables(
    connection: Connection, splits: Mapping[str, Intake], folder: Path, storage: Storage, log: Path | None = None
) -> Tables:
    """Write a table per split, and ``tables.json``; tables of an earlier store at the same location are dropped.

    If that fails, the server is unchanged; ``log`` is that of the store's own server.

    Raises:
        BackendError: the server failed.
    """
    token = secrets.token_hex(8)
    names = {split: f"{split}_{token}" for split in splits}
    # The temporary folder is the same for each attempt, and the hash differs between machines that share a server.
    place = hashlib.sha256(f"{socket.gethostname()}:{folder}".encode()).hexdigest()[:16]
    try:
        with connection.transaction():
            # The manifest is written later: the server must not lose the tables if it is killed before.
            connection.execute("SET LOCAL synchronous_commit = on")
            earlier = connection.execute(_TABLES_OF_A_PLACE, [SCHEMA, f'%"place": "{place}"%']).fetchall()
            if connection.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone() == (None,):
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
            for name, split in splits.items():
                _write_table(connection, quoted(names[name]), split, storage)
                identity = {"loader-bench": token, "place": place, "split": name, "count": split.info.count}
                comment = sql.SQL("COMMENT ON TABLE {} IS {}")
                connection.execute(comment.format(quoted(names[name]), sql.Literal(json.dumps(identity))))
            for (name,) in earlier:  # last, since their readers must wait from here on
                connection.execute(sql.SQL("DROP TABLE {}").format(quoted(name)))
        size = connection.execute(
            "SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest(%s::text[]) AS name",
            [[quoted(name).as_string() for name in names.values()]],
        ).fetchone()
    except psycopg.Error as error:
        text = log.read_text(encoding="utf-8", errors="replace") if log else ""
        remedy = f"its log ends: {last_lines(text)}" if log else OWN_LOG
        raise backend_error("cannot write the tables", error, remedy) from None
    tables = Tables(token=token, names=names, bytes=size[0] if size else 0)
    (folder / TABLES).write_text(tables.model_dump_json(indent=1), encoding="utf-8")
    return tables


def _write_table(connection: Connection, table: sql.Identifier, split: Intake, storage: Storage) -> None:
    create = sql.SQL(
        "CREATE TABLE {} (id int4 NOT NULL, label int4 NOT NULL, image bytea NOT NULL) "
        "WITH (toast_tuple_target = {}, autovacuum_enabled = off)"
    )
    connection.execute(create.format(table, sql.Literal(_TOAST_TARGET[storage])))
    # Never compressed: pixels hardly shrink, and each read would have to decompress.
    connection.execute(sql.SQL("ALTER TABLE {} ALTER image SET STORAGE EXTERNAL").format(table))
    # FREEZE: rows are visible to all from the start, so that no later read writes hint bits.
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT binary, FREEZE)").format(table)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_COPY_HEADER)
        for block in split.blocks():
            copy.write(_rows(block, split.stored))
        copy.write(_COPY_END)
    connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id) WITH (fillfactor = 100)").format(table))


def _rows(block: StoredBlock, first: int) -> bytes:
    """Rows of a block in the format of binary COPY; ``first`` is the id of the first."""
    rows = np.empty(len(block.labels), _ROW)
    rows["fields"], rows["id_size"], rows["label_size"] = 3, 4, 4
    rows["id"], rows["label"] = np.arange(first, first + len(rows)), block.labels
    payloads: Sequence[Any] = block.payloads
    rows["size"] = [len(payload) for payload in payloads]
    heads, width = rows.tobytes(), _ROW.itemsize
    return b"".join(
        part for i, payload in enumerate(payloads) for part in (heads[i * width : (i + 1) * width], payload)
    )
