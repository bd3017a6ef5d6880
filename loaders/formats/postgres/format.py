"""PostgreSQL: one image a row, one query a batch; on a server of its own or on the user's."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import ConfigDict, SecretStr, field_validator, model_validator

from loaders.core.batch import Batch, Indices
from loaders.core.errors import BackendError
from loaders.core.faults import check_labels
from loaders.core.options import DecodingOptions, Encoding, LoaderOptions, encoding_option, read_option, store_option
from loaders.formats.postgres.binaries import find_programs
from loaders.formats.postgres.reader import TableReader, connect
from loaders.formats.postgres.server import DATA, LOG, EmbeddedServer, Transport
from loaders.formats.postgres.supervisor import end_of_log
from loaders.formats.postgres.tables import (
    OWN_LOG,
    SCHEMA,
    TABLES,
    RelationFiles,
    Storage,
    backend_error,
    check_table,
    read_tables,
    relation_files,
)
from loaders.formats.postgres.write import write_tables
from loaders.images.codecs import ImageDecoder
from loaders.images.ragged import Payloads
from loaders.reading.dataset import ImageDataset
from loaders.store.intake import StreamedSplit
from loaders.store.samples import StoredBlock
from loaders.store.writer import Written

DSN_VARIABLE = "BENCH_POSTGRES_DSN"


class PostgresOptions(DecodingOptions):
    """How rows are stored, and on which server.

    The dsn is a secret: it stands in no manifest, record or message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    storage: Storage = store_option(
        "inline", description="inline: in the row if it fits a page of 8 KB; toast: out of line, in pieces of 2 KB"
    )
    encoding: Encoding = encoding_option()
    server: Literal["embedded", "dsn"] = store_option(
        "embedded",
        description=f"embedded: a server within the store; dsn: yours (default if dsn or {DSN_VARIABLE} is set)",
    )
    dsn: SecretStr | None = read_option(
        None, repr=False, description=f"connection string of your own server; default: ${DSN_VARIABLE}"
    )
    transport: Transport = read_option("socket", description="of the embedded server: unix socket or tcp on 127.0.0.1")

    @model_validator(mode="before")
    @classmethod
    def _choose_server(cls, given: Any) -> Any:
        values = dict(given)
        values["dsn"] = values.get("dsn") or None
        values.setdefault("server", "dsn" if values["dsn"] or os.environ.get(DSN_VARIABLE) else "embedded")
        if values["server"] == "dsn" and values["dsn"] is None:
            values["dsn"] = os.environ.get(DSN_VARIABLE) or None
        return values

    @field_validator("dsn")
    @classmethod
    def _readable(cls, dsn: SecretStr | None) -> SecretStr | None:
        try:
            conninfo_to_dict(dsn.get_secret_value() if dsn else "")
        except psycopg.ProgrammingError:  # its message may quote the password
            raise ValueError(
                "not a connection string; write postgresql://user@host/dbname or host=… dbname=…"
            ) from None
        return dsn

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.server == "dsn" and self.dsn is None:
            raise ValueError(f"server=dsn needs a connection string; give dsn=… or set {DSN_VARIABLE}")
        if self.server == "embedded" and self.dsn is not None:
            raise ValueError("server=embedded takes no dsn; leave one of the two out")
        if self.server == "dsn" and self.transport == "tcp":
            raise ValueError("transport is for the embedded server; say in the dsn how to reach yours")
        return self

    def public(self) -> dict[str, Any]:
        """All options, of the dsn only whether there is one."""
        return {**super().public(), "dsn": "given" if self.dsn else None}

    def private(self) -> list[str]:
        """What the dsn names."""
        given = conninfo_to_dict(self.dsn.get_secret_value() if self.dsn else "")
        return [str(given[key]) for key in ("host", "hostaddr", "user", "password", "dbname") if given.get(key)]


class ConnectionInfo(NamedTuple):
    """What another client needs to read the same rows.

    Attributes:
        conninfo: libpq's connection string, password included.
        schema: schema of the table.
        table: name of the table, with columns ``id``, ``label`` and ``image``.
        server_pid: the embedded server's process id, None for a server of the user's.
    """

    conninfo: str
    schema: str
    table: str
    server_pid: int | None


class PostgresHandle(NamedTuple):
    """What one process holds open."""

    server: EmbeddedServer | None
    reader: TableReader
    info: ConnectionInfo


@final
class PostgresDataset(ImageDataset[PostgresHandle]):
    """A table a split, with the sample's index as primary key."""

    name = "postgres"
    device = "cpu"
    max_workers = None
    Options = PostgresOptions
    ragged = True

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:
        """None with a dsn; else why no server can be started here."""
        return None if _own(options).server == "dsn" else find_programs().reason

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: PostgresOptions) -> Written:
        if options.server == "dsn":
            with connect(_dsn(options)) as connection:
                _load(connection, splits, folder, options)
            return Written([TABLES], data=[], elsewhere_bytes=read_tables(folder).bytes)
        try:
            files = _write_embedded(splits, folder, options)
        except BackendError as error:
            # The server says it in many ways, or dies of it; to the user it is the disk of the store like any other.
            if "No space left" in str(error) or shutil.disk_usage(folder).free < 1 << 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
            raise
        rows, indexes = ([str(file.relative_to(folder)) for file in part] for part in files)
        return Written([TABLES, f"{DATA}/PG_VERSION", f"{DATA}/global/pg_control", *rows, *indexes], data=rows)

    @classmethod
    def _kept_bytes(cls, block: StoredBlock, options: PostgresOptions) -> int | None:
        """Rows with their headers and keys; on a server of the user's, on a disk that is not known here."""
        if options.server == "dsn":
            return None
        return (super()._kept_bytes(block, options) or 0) + 60 * len(block.labels)

    def _open(self) -> PostgresHandle:
        options = _own(self.options)
        tables = read_tables(self.location)
        server = None
        if options.server == "embedded":
            server = EmbeddedServer.open(self.location, options.transport, _cache_bytes(tables.bytes))
        try:
            conninfo = make_conninfo(**server.conninfo(options.transport)) if server else _dsn(options)
            look = f"look into its log {server.log}, then try again" if server else OWN_LOG
            with connect(conninfo, look) if server else connect(conninfo) as connection:
                try:
                    count = self.split_info.count
                    check_table(connection, tables, self.split, count, self.location, rows=server is None)
                except psycopg.Error as error:
                    raise backend_error(f"cannot check the tables of store {self.location}", error, look) from None
            decodes = options.encoding == "jpeg" and self.split_info.shape is not None
            decoder = ImageDecoder(options.threads, checked=True) if decodes else None
            table = tables.names[self.split]
            info = ConnectionInfo(conninfo, SCHEMA, table, server.pid if server else None)
            reader = TableReader(conninfo, table, self.split_info.shape, decoder, look)
            return PostgresHandle(server, reader, info)
        except BaseException:
            if server is not None:
                server.close()
            raise

    def _read(self, handle: PostgresHandle, indices: Indices) -> Batch:
        batch = handle.reader.read(indices)
        self._check(batch.labels.numpy(), indices)
        return batch

    def _payloads(self, handle: PostgresHandle, indices: Indices) -> Payloads:
        payloads = handle.reader.payloads(indices)
        self._check(payloads.labels, indices)
        return payloads

    def _check(self, labels: NDArray[np.int64], indices: Indices) -> None:
        """At each read: to look at all labels when the store is opened would read all of the table."""
        check_labels(labels, len(self.info.dataset.classes), self.split, self.location, indices)

    def _close(self, handle: PostgresHandle) -> None:
        handle.reader.close()
        if handle.server is not None:
            handle.server.close()

    def elsewhere_read_bytes(self) -> int | None:
        """What a server of the user's counts for the table; opens the dataset. Worker processes' last second may lack.

        The server's own cache lacked these bytes; the operating system's may have had them.
        """
        return self._ready().reader.read_bytes() if _own(self.options).server == "dsn" else None

    def connection_info(self) -> ConnectionInfo:
        """How to reach the same rows by other means; opens the dataset. Valid until it is closed."""
        return self._ready().info


def _own(options: LoaderOptions) -> PostgresOptions:
    assert isinstance(options, PostgresOptions)
    return options


def _dsn(options: PostgresOptions) -> str:
    assert options.dsn is not None
    given = conninfo_to_dict(options.dsn.get_secret_value())
    parameters: dict[str, Any] = {"connect_timeout": "10", "application_name": "loader-bench", **given}
    return make_conninfo("", **parameters)


def _load(
    connection: psycopg.Connection[Any], splits: Mapping[str, StreamedSplit], folder: Path, options: PostgresOptions
) -> RelationFiles | None:
    """Gives the files where the server is the store's own."""
    try:
        tables = write_tables(connection, splits, folder, options.encoding, options.storage)
        return relation_files(connection, tables, folder / DATA) if options.server == "embedded" else None
    except psycopg.Error as error:
        # The log of a server of the store's own goes with the store that did not come about.
        look = OWN_LOG if options.server == "dsn" else f"its log ends: {end_of_log(str(folder / LOG))}"
        raise backend_error("cannot write the tables", error, look) from None


def _write_embedded(splits: Mapping[str, StreamedSplit], folder: Path, options: PostgresOptions) -> RelationFiles:
    server = EmbeddedServer.create(folder, go_on=any(split.state for split in splits.values()))
    complete = False
    try:
        with connect(make_conninfo(**server.conninfo("socket"))) as connection:
            files = _load(connection, splits, folder, options)
        complete = True
    finally:
        server.close(keep_data=complete)
    assert files is not None
    server.log.unlink()
    return files


def _cache_bytes(table_bytes: int) -> int:
    """The server's cache: all tables with some room, but no more than a quarter of the machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(table_bytes + table_bytes // 16 + (32 << 20), memory // 4)
