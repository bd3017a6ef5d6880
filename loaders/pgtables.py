"""A split as a PostgreSQL table, one image a row: written by one binary COPY, and recognised again later."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import psycopg
from psycopg import sql
from pydantic import BaseModel, ConfigDict, ValidationError

from loaders.errors import BackendError, StoreError
from loaders.options import Encoding
from loaders.split import StoredBlock, StreamedSplit

SCHEMA = "bench"
TABLES = "tables.json"
Storage = Literal["inline", "toast"]
# Below it a row is kept whole; a row over PostgreSQL's page of 8 KB is always moved out of line.
_TOAST_TARGET: dict[Storage, int] = {"inline": 8160, "toast": 128}
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
# The fields of a row before the image's bytes, as binary COPY wants them: each value after its length.
_ROW = [("fields", ">i2"), ("id_size", ">i4"), ("id", ">i4"), ("label_size", ">i4"), ("label", ">i4"), ("size", ">i4")]


class Tables(BaseModel):
    """Which tables a store has. It stands in ``tables.json`` and names no server.

    Attributes:
        token: also in the comment of each table, so that a table of the same name is not mistaken for the store's.
        names: table of each split.
        bytes: size of tables and indexes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str
    names: dict[str, str]
    bytes: int


def read_tables(store: Path) -> Tables:
    """Read ``tables.json``.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        return Tables.model_validate_json((store / TABLES).read_bytes())
    except (OSError, ValidationError):
        raise StoreError(f"{store / TABLES} cannot be read; remove {store} and prepare it again") from None


def write_tables(
    connection: psycopg.Connection[Any],
    splits: Mapping[str, StreamedSplit],
    folder: Path,
    encoding: Encoding,
    storage: Storage,
) -> Tables:
    """Write all splits in one transaction: either all tables are there afterwards, or everything is as it was.

    Tables of an earlier store at the same place, or of one that was killed there, are dropped.
    """
    token = secrets.token_hex(8)
    # The folder under construction is the same at each attempt, and differs between machines that share a server.
    place = hashlib.sha256(f"{socket.gethostname()}:{folder}".encode()).hexdigest()[:16]
    names = {split: f"{split}_{token}" for split in splits}
    with connection.transaction():
        if connection.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone() == (None,):
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
        for old in _tables_of(connection, place):
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(SCHEMA, old)))
        for name, split in splits.items():
            _write_table(connection, names[name], split, encoding, storage)
            comment = json.dumps({"loader-bench": token, "place": place, "split": name, "count": split.info.count})
            connection.execute(
                sql.SQL("COMMENT ON TABLE {} IS {}").format(_quoted(names[name]), sql.Literal(comment)),
            )
        sizes = [
            connection.execute("SELECT pg_total_relation_size(%s::regclass)", [_quoted(name).as_string()]).fetchone()
            for name in names.values()
        ]
    tables = Tables(token=token, names=names, bytes=sum(size[0] for size in sizes if size))
    (folder / TABLES).write_text(tables.model_dump_json(indent=1))
    return tables


def _quoted(table: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, table)


def _tables_of(connection: psycopg.Connection[Any], place: str) -> list[str]:
    rows = connection.execute(
        "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'",
        [SCHEMA],
    ).fetchall()
    return [name for name, comment in rows if _identity(comment).get("place") == place]


def _identity(comment: str | None) -> dict[str, Any]:
    """What one of our tables says of itself; empty for any other table."""
    try:
        found = json.loads(comment or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "loader-bench" in found else {}


def _write_table(
    connection: psycopg.Connection[Any], table: str, split: StreamedSplit, encoding: Encoding, storage: Storage
) -> None:
    name = _quoted(table)
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} (id int4 NOT NULL, label int4 NOT NULL, image bytea NOT NULL) "
            "WITH (toast_tuple_target = {}, autovacuum_enabled = off)"
        ).format(name, sql.Literal(_TOAST_TARGET[storage]))
    )
    # Never compressed: pixels hardly shrink, and each read would pay for the attempt.
    connection.execute(sql.SQL("ALTER TABLE {} ALTER image SET STORAGE EXTERNAL").format(name))
    # FREEZE: rows are born visible to all, so that no later read has anything to write.
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary, FREEZE)").format(name)) as copy,
    ):
        copy.write(_COPY_HEADER)
        first = 0
        for block in split.blocks():
            for part in _rows(block, first, encoding):
                copy.write(part)
            first += len(block.labels)
        copy.write(_COPY_END)
    connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id) WITH (fillfactor = 100)").format(name))


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


class RelationFiles(NamedTuple):
    """Files within a data directory: those of rows and their out-of-line values, and those of their indexes."""

    rows: list[Path]
    indexes: list[Path]


def relation_files(connection: psycopg.Connection[Any], tables: Tables, data: Path) -> RelationFiles:
    """The files in which the tables lie."""
    found = RelationFiles([], [])
    for name in tables.names.values():
        for path, is_index in connection.execute(
            "SELECT pg_relation_filepath(relation), is_index FROM ("
            " SELECT oid AS relation, false AS is_index FROM pg_class WHERE oid = %(table)s::regclass"
            " UNION ALL SELECT indexrelid, true FROM pg_index WHERE indrelid = %(table)s::regclass"
            " UNION ALL SELECT reltoastrelid, false FROM pg_class"
            "  WHERE oid = %(table)s::regclass AND reltoastrelid <> 0"
            " UNION ALL SELECT indexrelid, true FROM pg_index JOIN pg_class ON indrelid = reltoastrelid"
            "  WHERE pg_class.oid = %(table)s::regclass AND reltoastrelid <> 0) AS parts",
            {"table": _quoted(name).as_string()},
        ).fetchall():
            base = data / path
            # A relation over 1 GB goes on in further files: 16384, 16384.1, …
            files = [base, *sorted(base.parent.glob(f"{base.name}.*"))]
            (found.indexes if is_index else found.rows).extend(files)
    return found


def check_table(
    connection: psycopg.Connection[Any], tables: Tables, split: str, count: int, store: Path, *, rows: bool
) -> None:
    """Check that the table of a split is the one that was written.

    Args:
        connection: to the server.
        tables: what the store says.
        split: name of the split.
        count: its number of samples.
        store: for messages.
        rows: count the rows, too.

    Raises:
        StoreError: it is another table, or rows are missing.
    """
    name = tables.names.get(split, "")
    again = f"prepare {store} again, or choose the server that it was prepared on"
    found = connection.execute(
        "SELECT obj_description(to_regclass(%s), 'pg_class')", [_quoted(name).as_string()]
    ).fetchone()
    identity = _identity(found[0] if found else None)
    if not identity:
        raise StoreError(f"the PostgreSQL server has no table {SCHEMA}.{name} of store {store}; {again}")
    if (identity["loader-bench"], identity.get("split"), identity.get("count")) != (tables.token, split, count):
        raise StoreError(f"table {SCHEMA}.{name} is not the one that store {store} was prepared with; {again}")
    if rows:
        counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(_quoted(name))).fetchone()
        if counted != (count,):
            raise StoreError(
                f"table {SCHEMA}.{name} has {counted[0] if counted else 0} rows instead of {count}; {again}"
            )


def one_line(error: BaseException | str, secrets_: tuple[str, ...] = ()) -> str:
    """The first line of a message of libpq, which says where and why, without any secret."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].removeprefix("connection failed: ") if lines else "no reason given"
    for secret in secrets_:
        text = text.replace(secret, "…") if secret else text
    return text


def backend_error(doing: str, error: psycopg.Error) -> BackendError:
    """A failed statement as one sentence."""
    remedies = {
        "53100": "free some space on the server's disk",
        "42501": "grant the user CREATE on the database",
        "53300": "allow the server more connections or use fewer workers",
    }
    remedy = remedies.get(
        error.sqlstate or "", "check that the server is running and look into its log, then try again"
    )
    return BackendError(f"{doing}: {one_line(error)}; {remedy}")
