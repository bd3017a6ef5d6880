"""Creates a store's PostgreSQL data directory, and gives the command that runs a server on it."""

from __future__ import annotations

import os
from pathlib import Path

from loaders.core.errors import BackendError, StoreError
from loaders.formats.postgres.programs import Programs, run_as
from loaders.formats.postgres.supervisor import last_lines

DATA = "pgdata"
USER = "bench"
PASSWORD = "password"  # noqa: S105 - the name of a file
_LONGEST_DATA_PATH = 960  # of PostgreSQL's 1023 bytes, some are for the names of its files
# After a crash the server must not restart: if it is stopped meanwhile it may wait forever.
_SETTINGS = (
    "recovery_init_sync_method=syncfs full_page_writes=off synchronous_commit=off wal_level=minimal max_wal_senders=0 "
    "min_wal_size=2MB checkpoint_timeout=1d bgwriter_lru_maxpages=0 restart_after_crash=off max_connections=200 "
    "max_worker_processes=0 max_logical_replication_workers=0 max_parallel_maintenance_workers=0 autovacuum=off "
    "jit=off track_counts=off update_process_title=off logging_collector=off log_destination=stderr log_line_prefix= "
    "password_encryption=scram-sha-256"
)


def check_path(store: Path) -> None:
    """Raise StoreError if the path is too long for PostgreSQL."""
    length = len(os.fsencode(store / DATA))
    if length > _LONGEST_DATA_PATH:
        raise StoreError(
            f"PostgreSQL takes folders whose path has at most {_LONGEST_DATA_PATH} bytes, not {length}; "
            f"choose a shorter --store-dir or --data-dir than {store.parent}"
        )


def initialise(store: Path, programs: Programs) -> None:
    """Create the data directory of a store that has a password file; BackendError if ``initdb`` failed."""
    data, password, identity = store / DATA, store / PASSWORD, programs.identity
    data.mkdir(0o700)
    if identity["kind"] == "switch":
        for path in (data, password):
            os.chown(path, identity["uid"], identity["gid"])
    done = run_as(
        identity,
        [
            *(str(programs.folder / "initdb"), "-D", str(data), "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"),
            *("--wal-segsize=1", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"),
            *("--pwfile", str(password)),
        ],
    )
    if done.returncode != 0:
        raise BackendError(f"cannot create the PostgreSQL server of {store}: initdb failed: {last_lines(done.stdout)}")


def server_command(store: Path, programs: Programs, cache_bytes: int, *, loading: bool) -> list[str]:
    """The command that starts a server, for loading tables or for reading only."""
    settings = [
        *_SETTINGS.split(),
        f"shared_buffers={max(cache_bytes, 16 << 20) >> 13}",
        *(["fsync=off", "max_wal_size=8GB"] if loading else ["fsync=on", "max_wal_size=64MB"]),
        *(["io_method=sync"] if programs.major >= 18 else []),
    ]
    arguments = [word for setting in settings for word in ("-c", setting)]
    return [str(programs.folder / "postgres"), "-D", str(store / DATA), *arguments]
