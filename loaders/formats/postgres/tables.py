"""A split as a PostgreSQL table, one image a row: what it is called, where it lies, and how it is recognised again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psycopg
from psycopg import sql
from pydantic import BaseModel, ConfigDict, ValidationError

from loaders.core.errors import BackendError, StoreError

SCHEMA = "bench"
TABLES = "tables.json"
Storage = Literal["inline", "toast"]
OWN_LOG = "check that the server is running and look into the server's own log, then try again"
_LET_IN = "correct user and password in the dsn, or let the user in by the server's pg_hba.conf"
_DIRECT = "name the server itself in the dsn, not a pooler that shares sessions"
_AGAIN = "prepare the store again"
REMEDIES = {
    "25006": "prepare on a server that may be written: no standby, and default_transaction_read_only off for the user",
    "25P03": "set idle_in_transaction_session_timeout to 0 for the user (ALTER ROLE … SET …)",
    "25P04": "set transaction_timeout to 0 for the user (ALTER ROLE … SET …)",
    "26000": _DIRECT,
    "28000": _LET_IN,
    "28P01": _LET_IN,
    "3D000": "correct dbname in the dsn",
    "40001": "raise max_standby_streaming_delay on the standby, or read from the primary",
    "40P01": "end the other sessions that use the tables, and try again",
    "42501": "grant the user CREATE on the database to prepare, USAGE on schema bench and SELECT on its tables to read",
    "42P01": _AGAIN,
    "42P05": _DIRECT,
    "53100": "free some space on the server's disk",
    "53200": "give the server more memory, or use fewer workers",
    "53300": "allow the server more connections (max_connections) or use fewer workers",
    "55P03": "end the session that locks the table, or set lock_timeout to 0 for the user (ALTER ROLE … SET …)",
    "57014": "set statement_timeout to 0 for the user (ALTER ROLE … SET …), unless somebody cancelled the statement",
    "57P01": "the server or the session was ended by its administrator: try again when the server is running",
    "57P02": "the server crashed: try again when it has recovered",
    "57P03": "wait until the server has started",
    "57P05": "set idle_session_timeout to 0 for the user (ALTER ROLE … SET …)",
    "58030": "the server cannot read or write its disk: check that disk",
    "XX001": f"the server's data is damaged: check its disk and {_AGAIN}",
    "XX002": f"the server's index is damaged: check its disk and {_AGAIN}",
}
"""What to do about an SQLSTATE."""


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


def quoted(table: str) -> sql.Identifier:
    """A table of ours as it stands in a statement."""
    return sql.Identifier(SCHEMA, table)


def tables_of(connection: psycopg.Connection[Any], place: str) -> dict[str, dict[str, Any]]:
    """The tables that were written for a store at a place, and what each says of itself."""
    rows = connection.execute(
        "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'",
        [SCHEMA],
    ).fetchall()
    found = {name: identity_of(comment) for name, comment in rows}
    return {name: identity for name, identity in found.items() if identity.get("place") == place}


def identity_of(comment: str | None) -> dict[str, Any]:
    """What one of our tables says of itself; empty for any other table."""
    try:
        found = json.loads(comment or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "loader-bench" in found else {}


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
            {"table": quoted(name).as_string()},
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
        "SELECT obj_description(to_regclass(%s), 'pg_class')", [quoted(name).as_string()]
    ).fetchone()
    identity = identity_of(found[0] if found else None)
    if not identity:
        raise StoreError(f"the PostgreSQL server has no table {SCHEMA}.{name} of store {store}; {again}")
    if (identity["loader-bench"], identity.get("split"), identity.get("count")) != (tables.token, split, count):
        raise StoreError(f"table {SCHEMA}.{name} is not the one that store {store} was prepared with; {again}")
    if rows:
        counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(quoted(name))).fetchone()
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


def backend_error(doing: str, error: psycopg.Error, look: str = OWN_LOG) -> BackendError:
    """A failed statement as one sentence.

    Args:
        doing: what failed.
        error: how.
        look: what to do about an error that has no remedy of its own.
    """
    return BackendError(f"{doing}: {one_line(error)}; {REMEDIES.get(error.sqlstate or '', look)}")
