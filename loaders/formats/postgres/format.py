"""PostgreSQL: one row per image, one query per batch; on the store's own server or on the user's."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from loaders.core.errors import BackendError
from loaders.core.format import Candidate, Format, Written
from loaders.formats.postgres.cluster import DATA
from loaders.formats.postgres.connection import connect
from loaders.formats.postgres.options import PostgresOptions
from loaders.formats.postgres.programs import find_programs
from loaders.formats.postgres.reader import PostgresReader
from loaders.formats.postgres.server import EmbeddedServer
from loaders.formats.postgres.tables import TABLES, relation_files
from loaders.formats.postgres.write import write_tables
from loaders.store.intake import Intake
from loaders.store.manifest import Store


class PostgresFormat(Format[PostgresOptions]):
    """One table per split, with the sample's index as primary key."""

    name = "postgres"
    packages = ("psycopg",)
    Options = PostgresOptions
    candidates = (Candidate(reads=("process",)),)

    def unavailable(self) -> str | None:
        """None with a dsn; else why no server can be started here."""
        programs = None if self.options.server == "dsn" else find_programs()
        return programs if isinstance(programs, str) else None

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Load the tables into the user's server, or into a new one of the store."""
        if self.options.server == "dsn":
            with connect(self.options.conninfo()) as connection:
                tables = write_tables(connection, splits, folder, self.options.storage)
            return Written([TABLES], data=[], elsewhere_bytes=tables.bytes)
        try:
            rows, indexes = self._write_embedded(splits, folder)
        except BackendError as error:
            # The server reports a full disk in many ways, or crashes; for the user it is the disk of the store.
            if "No space left" in str(error) or shutil.disk_usage(folder).free < 1 << 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
            raise
        return Written([TABLES, f"{DATA}/PG_VERSION", f"{DATA}/global/pg_control", *rows, *indexes], data=rows)

    def _write_embedded(self, splits: Mapping[str, Intake], folder: Path) -> tuple[list[str], list[str]]:
        """Returns the files of rows, and those of indexes."""
        server = EmbeddedServer.create(folder)
        complete = False
        try:
            with connect(server.conninfo("socket")) as connection:
                tables = write_tables(connection, splits, folder, self.options.storage, server.log)
                files = relation_files(connection, tables, folder / DATA)
            complete = True
        finally:
            server.close(save=complete)
        server.log.unlink()
        rows, indexes = ([str(file.relative_to(folder)) for file in part] for part in files)
        return rows, indexes

    def open(self, store: Store, split: str) -> PostgresReader:
        """Start or join the store's server, or reach the user's, and check the table."""
        return PostgresReader(store, split, self.options)
