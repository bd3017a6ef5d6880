"""Options of the PostgreSQL loader: storage of rows, and the server."""

from __future__ import annotations

import os
from typing import Any, Literal, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import ConfigDict, SecretStr, field_validator, model_validator

from loaders.core.options import EncodingOptions, read_option, store_option
from loaders.formats.postgres.server import Transport
from loaders.formats.postgres.tables import Storage

DSN_VARIABLE = "BENCH_POSTGRES_DSN"


class PostgresOptions(EncodingOptions):
    """Options of the PostgreSQL loader. The dsn is a secret: it is in no manifest, record or message."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    storage: Storage = store_option(
        "inline", description="inline: in the row if it fits a page of 8 KB; toast: out of line, in pieces of 2 KB"
    )
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
        dsn = given.get("dsn") or None
        default = dsn or os.environ.get(DSN_VARIABLE) or None
        values = {"server": "dsn" if default else "embedded", **given}
        return {**values, "dsn": default if values["server"] == "dsn" else dsn}

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
        """All options; of the dsn only whether there is one."""
        return {**super().public(), "dsn": "given" if self.dsn else None}

    def private(self) -> list[str]:
        """Names and password in the dsn."""
        parameters = self._parameters()
        return [str(parameters[key]) for key in ("host", "hostaddr", "user", "password", "dbname") if key in parameters]

    def conninfo(self) -> str:
        """Connection string of the user's server."""
        defaults = {"connect_timeout": "10", "application_name": "loader-bench"}
        return make_conninfo("", **{**defaults, **self._parameters()})

    def _parameters(self) -> dict[str, Any]:
        parameters = conninfo_to_dict(self.dsn.get_secret_value() if self.dsn else "")
        return {name: value for name, value in parameters.items() if value}
