"""Connects to PostgreSQL, and gives a remedy for each of its errors."""

from __future__ import annotations

from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict

from loaders.core.errors import BackendError

Connection: TypeAlias = psycopg.Connection[Any]
OWN_LOG = "check that the server is running and read the server's own log, then try again"
_ACCESS = "correct user and password in the dsn, or let the user in by the server's pg_hba.conf"
_DIRECT = "name the server itself in the dsn, not a pooler that shares sessions"
_AGAIN = "prepare the store again"
REMEDIES = {
    "25006": "prepare on a server that may be written: no standby, and default_transaction_read_only off for the user",
    "25P03": "set idle_in_transaction_session_timeout to 0 for the user (ALTER ROLE … SET …)",
    "25P04": "set transaction_timeout to 0 for the user (ALTER ROLE … SET …)",
    "26000": _DIRECT,
    "28000": _ACCESS,
    "28P01": _ACCESS,
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
# A refused connection has no SQLSTATE: remedies by words of its message, the first that matches.
_REFUSALS = (
    (("too many", "connection slots"), REMEDIES["53300"]),
    (("starting up", "shutting down", "in recovery mode", "accepting connections"), REMEDIES["57P03"]),
    (("permission denied for database",), "grant the user CONNECT on the database"),
    (("too long",), "give the socket's folder a shorter path (unix_socket_directories), or reach the server by TCP"),
    (("password", "authentication", 'role "', "pg_hba.conf"), REMEDIES["28000"]),
    (("does not exist",), REMEDIES["3D000"]),
)


def connect(conninfo: str, remedy: str = "check that it is running and that host and port are right") -> Connection:
    """Connect to a server, or raise BackendError; ``remedy`` is for errors without a specific one."""
    try:
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.Error as error:
        reason = _first_line(error)
    if password := str(conninfo_to_dict(conninfo).get("password") or ""):
        reason = reason.replace(password, "…")
    remedy = next((known for words, known in _REFUSALS if any(word in reason for word in words)), remedy)
    raise BackendError(f"cannot connect to the PostgreSQL server: {reason}; {remedy}")


def backend_error(doing: str, error: psycopg.Error, remedy: str = OWN_LOG) -> BackendError:
    """A failed statement as one sentence; ``remedy`` is for errors without a specific one."""
    return BackendError(f"{doing}: {_first_line(error)}; {REMEDIES.get(error.sqlstate or '', remedy)}")


def _first_line(error: psycopg.Error) -> str:
    """The first line of libpq's message, which says what failed and why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].removeprefix("connection failed: ") if lines else "no reason given"
