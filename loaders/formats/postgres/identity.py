"""Runs a program under another identity, to its end or its caller's.

Run by path as ``python -I -S identity.py CONFIG``, and imported by the supervisor, with the standard library alone.
"""
# ruff: noqa: PTH123 - pathlib would double the start-up time

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any, NoReturn

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_MAPPED_ID = 1000


def run_program(command: list[str], identity: dict[str, Any], parent: int) -> NoReturn:
    """Run a program; when the parent ends, kill it with its own children, which could go on writing after it.

    It begins when the parent has sent a byte, and so is ready to end it.
    """
    if not os.read(0, 1):
        sys.exit(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    itself = os.getpid()
    child = os.fork()
    if not child:
        become(command, identity, itself, signal.SIGKILL, output=1)
    sys.exit(os.waitpid(child, 0)[1] != 0)


def become(command: list[str], identity: dict[str, Any], parent: int, death_signal: int, output: int) -> NoReturn:
    """Turn this process into a program that gets ``death_signal`` when the parent ends, and writes to ``output``.

    ``identity`` is ``{"kind": "same" | "map" | "switch"}``, the last with ``uid`` and ``gid``.
    """
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        take_identity(identity)
        # After the change of identity, which would clear it.
        if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) == 0 and os.getppid() == parent:
            os.execve(command[0], command, {**os.environ, "LC_ALL": "C", "TZ": "UTC"})  # noqa: S606
    except BaseException as error:  # a forked child must never return to its parent's code
        os.write(2, f"{command[0]}: {error}\n".encode())
    os._exit(126)


def take_identity(identity: dict[str, Any]) -> None:
    """Drop root, which PostgreSQL refuses, and stay the owner of the files if possible."""
    if identity["kind"] == "map":
        user, group = os.geteuid(), os.getegid()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "a user namespace was refused")
        maps = {"setgroups": "deny", "uid_map": f"{_MAPPED_ID} {user} 1", "gid_map": f"{_MAPPED_ID} {group} 1"}
        for name, text in maps.items():
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    elif identity["kind"] == "switch":
        os.setgroups([])
        os.setgid(identity["gid"])
        os.setuid(identity["uid"])


if __name__ == "__main__":
    os.chdir("/")  # the program's user may not enter the caller's folder, and a process there would keep it mounted
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    run_program(**json.loads(sys.argv[1]))
