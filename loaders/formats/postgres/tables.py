"""PostgreSQL tables of splits: their names and files, and the check that a table is the one that was written."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Literal

from psycopg import sql
from pydantic import BaseModel, ValidationError

from loaders.core.errors import StoreError, remedy
from loaders.formats.postgres.connection import Connection
from loaders.store.manifest import Store

SCHEMA = "bench"
TABLES = "tables.json"
Storage = Literal["inline", "toast"]


class Tables(BaseModel, frozen=True, extra="forbid"):
    """The table of each split of a store. Written to ``tables.json``, which names no server."""

    token: str  # also in each table's comment, to identify it
    names: dict[str, str]
    bytes: int  # of tables and indexes


def read_tables(store: Path) -> Tables:
    """Read ``tables.json``; StoreError if it is missing or damaged."""
    try:
        return Tables.model_validate_json((store / TABLES).read_bytes())
    except (OSError, ValidationError):
        raise StoreError(f"{store / TABLES} cannot be read; {remedy(store)}") from None


def quoted(table: str) -> sql.Identifier:
    """A store's table as an identifier in a statement."""
    return sql.Identifier(SCHEMA, table)


def relation_files(connection: Connection, tables: Tables, data: Path) -> tuple[list[Path], list[Path]]:
    """Files in a data directory: those of rows and their out-of-line values, and those of their indexes."""
    rows: list[Path] = []
    indexes: list[Path] = []
    for name in tables.names.values():
        for path, is_index in connection.execute(
            "WITH parts AS (SELECT unnest(ARRAY[oid, reltoastrelid]) AS part FROM pg_class WHERE oid = %s::regclass) "
            "SELECT pg_relation_filepath(part), false FROM parts "
            "UNION ALL SELECT pg_relation_filepath(indexrelid), true FROM parts JOIN pg_index ON indrelid = part",
            [quoted(name).as_string()],
        ):
            first = data / path
            # A relation over 1 GB continues in more files: 16384, 16384.1, …
            (indexes if is_index else rows).extend([first, *sorted(first.parent.glob(f"{first.name}.*"))])
    return rows, indexes


def check_table(connection: Connection, tables: Tables, split: str, store: Store, *, rows: bool) -> None:
    """Raise StoreError unless the table of a split is the one that was written; ``rows``: also count its rows."""
    name, count = tables.names.get(split, ""), store.info.splits[split].count
    again = f"prepare {store.location} again, or choose the server that it was prepared on"
    row = connection.execute(
        "SELECT obj_description(to_regclass(%s), 'pg_class')", [quoted(name).as_string()]
    ).fetchone()
    identity: Any = None
    with contextlib.suppress(ValueError):
        identity = json.loads((row and row[0]) or "")
    if not isinstance(identity, dict) or "loader-bench" not in identity:
        raise StoreError(f"the PostgreSQL server has no table {SCHEMA}.{name} of store {store.location}; {again}")
    if (identity["loader-bench"], identity.get("split"), identity.get("count")) != (tables.token, split, count):
        raise StoreError(f"table {SCHEMA}.{name} is not the one that store {store.location} was prepared with; {again}")
    if rows:
        (counted,) = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(quoted(name))).fetchone() or (0,)
        if counted != count:
            raise StoreError(f"table {SCHEMA}.{name} has {counted} rows instead of {count}; {again}")
