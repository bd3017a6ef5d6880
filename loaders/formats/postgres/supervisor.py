"""Runs one PostgreSQL server as long as a client is alive, then stops it and removes its temporary files.

A separate program, run by path as ``python -I -S supervisor.py CONFIG``, with the standard library alone. File
descriptor 3 is the first client's *lifeline*: a socket that the kernel closes when the client's process ends for any
reason. More clients connect to the control socket. When the last lifeline closes, the server is shut down.

Each client gets one line of JSON, ``{"ready": {...}}`` or ``{"error": "..."}``. If another supervisor has the store's
lock, it gets none, and its lifeline closes.
"""
# ruff: noqa: PTH100, PTH102, PTH106, PTH108, PTH118, PTH120, PTH123, PTH208 - pathlib would double the start-up time

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

PREFIX = "loader-bench-pg-"
SAVE = b"save\n"  # sent by a client before it leaves: the server gets time to save the loaded tables
GOING_ON = b"going on\n"  # the answer to a client that leaves while others still use the server
LONGEST_STOP = 140.0  # seconds, for a server that saves and then must be killed
_SAVING = 120.0  # seconds
_PR_SET_CHILD_SUBREAPER = 36
_LONGEST_SOCKET_PATH = 107


class Ended(Exception):  # noqa: N818 - not always an error
    """No client is left, or the supervisor was terminated; or, with a message, the server cannot be started."""


class Supervisor:
    """One server and its clients."""

    def __init__(self, config: dict[str, Any], first: socket.socket) -> None:
        self.config = config
        self.clients = [first]
        self.last: list[socket.socket] = []  # closed with this process, which tells the clients that the server ended
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.setblocking(False)
        self.runtime = ""
        self.server = 0  # its process id while it runs
        self.ready: dict[str, Any] = {}
        self.patience: float = config["patience"]
        self.terminated = False
        self.lock = os.open(config["lock"], os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(self.lock, True)  # no other server can start before all processes of this one have ended
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # adopts the children of a server that was killed
        self.wake, waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(waker, False)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(waker)  # gets the number of each signal as a byte

    def run(self) -> None:
        """Serve until the last client has left."""
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another serves the store, or a client checks whether one does: the client retries
            return
        try:
            self._make_runtime()
            # All processes of a server have its lock, so this is of one that was killed; PostgreSQL refuses to start
            # while a process of that number exists, such as its own that nobody has collected.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.config["data"], "postmaster.pid"))
            self._start(os.open(self.config["log"], os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600))
            while self._running():
                self._watch(None)
        except Ended as error:
            if message := str(error):
                tell(self.clients, {"error": message})
        except Exception as error:
            tell(self.clients, {"error": f"the supervisor failed: {error!r}"})
            raise
        finally:
            self._stop()
            os.ftruncate(self.lock, 0)
            if self.runtime:
                remove_runtime(self.runtime)

    def _make_runtime(self) -> None:
        """Create a private directory with a short path for the sockets."""
        reasons = []
        for base in dict.fromkeys((self.config["temporary"], "/tmp")):  # noqa: S108 - made with mode 0700
            path = os.path.join(base, PREFIX + os.urandom(6).hex())
            over = len(os.fsencode(path)) + len("/.s.PGSQL.65535.lock") - _LONGEST_SOCKET_PATH
            if over > 0:
                reasons.append(f"the path {base} is {over} bytes too long for a socket")
                continue
            try:
                os.mkdir(path, 0o700)
                break
            except OSError as error:
                reasons.append(f"{base}: {error.strerror}")
        else:
            why = ", and ".join(reasons)
            raise Ended(f"{why}; set TMPDIR to a folder that can be written and has a short path")
        self.runtime = path
        fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)  # until this process ends: the directory is in use
        if self.config["identity"]["kind"] == "switch":
            os.chown(path, self.config["identity"]["uid"], self.config["identity"]["gid"])
        self.listener.bind(f"{path}/control")
        self.listener.listen(128)
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, json.dumps({"control": f"{path}/control"}).encode(), 0)

    def _start(self, log: int) -> None:
        """Start the server, whose output goes to the descriptor, and wait until it accepts connections."""
        supervisor, tcp = os.getpid(), self.config["tcp"]
        become = importlib.import_module("identity").become  # by its package it would import PyTorch
        for _ in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]  # free at the moment
            arguments = ["-c", f"port={port}", "-c", f"unix_socket_directories={self.runtime}"]
            arguments += ["-c", f"listen_addresses={'127.0.0.1' if tcp else ''}"]
            self.server = os.fork()
            if not self.server:
                become([*self.config["server"], *arguments], self.config["identity"], supervisor, signal.SIGINT, log)
            if self._became_ready():
                ready = {"directory": self.runtime, "port": port, "tcp": tcp}
                self.ready = {"ready": {**ready, "pid": self.server, "supervisor": supervisor}}
                tell(self.clients, self.ready)
                return
            reason = last_lines(os.pread(log, 1 << 20, 0).decode(errors="replace"))
            if "Address already in use" not in reason:  # else another port is tried
                break
        raise Ended(f"PostgreSQL did not start: {reason}")

    def _became_ready(self) -> bool:
        status = os.path.join(self.config["data"], "postmaster.pid")
        while self._running():
            with contextlib.suppress(FileNotFoundError), open(status, encoding="utf-8") as file:
                lines = file.read().split("\n")
                if len(lines) > 7 and lines[0] == str(self.server) and lines[7].strip() == "ready":
                    return True
            self._watch(0.005)
        return False

    def _running(self) -> bool:
        """Whether the server runs; collects its exit status if it has ended."""
        if self.server and os.waitpid(self.server, os.WNOHANG)[0]:
            self.server = 0
        return self.server != 0

    def _wait(self, sockets: list[socket.socket], timeout: float | None) -> list[Any]:
        """The readable sockets; returns early on a signal."""
        waiting: list[Any] = [*sockets, self.wake]
        readable = select.select(waiting, [], [], timeout)[0]
        with contextlib.suppress(BlockingIOError):
            self.terminated |= signal.SIGTERM in os.read(self.wake, 4096)
        return readable

    def _watch(self, timeout: float | None) -> None:
        """Wait for a client to come or leave, or for a signal.

        Raises:
            Ended: the last client has left.
        """
        readable = self._wait([*self.clients, self.listener], timeout)
        leaving = [client for client in self.clients if client in readable and not self._hears(client)]
        self.clients = [client for client in self.clients if client not in leaving]
        # Also a client that came while the last one left. Later ones start another server.
        with contextlib.suppress(BlockingIOError):
            while True:
                client, _ = self.listener.accept()
                client.setblocking(True)
                self.clients.append(client)
                if self.ready:
                    tell([client], self.ready)
        if self.terminated or not self.clients:
            self.last = leaving
            raise Ended
        for client in leaving:
            with contextlib.suppress(OSError):
                client.sendall(GOING_ON)
            client.close()

    def _hears(self, client: socket.socket) -> bool:
        """Read what a client sent; False if it has left."""
        try:
            message = client.recv(64)
        except OSError:
            return False
        if message == SAVE:
            self.patience = _SAVING
        return message != b""

    def _stop(self) -> None:
        """Stop the server: fast, then at once, then by force."""
        self.listener.close()
        for number, patience in ((signal.SIGINT, self.patience), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            end = time.monotonic() + patience
            if patience and self._running():
                os.kill(self.server, number)
            while self._running() and time.monotonic() < end:
                self._wait([], 0.02)
        end_children()


def tell(clients: list[socket.socket], message: dict[str, Any]) -> None:
    """Send each client one line."""
    for client in clients:
        with contextlib.suppress(OSError):  # it has left
            client.sendall(json.dumps(message).encode() + b"\n")


def last_lines(output: str) -> str:
    """The last lines of a program's output, in one."""
    lines = [line.strip() for line in output[-4000:].splitlines() if line.strip()]
    return " | ".join(lines[-6:]) or "it wrote no log"


def end_children() -> None:
    """Kill the children of a killed server: they may still run, and would keep the next server out."""
    with (
        contextlib.suppress(FileNotFoundError),
        open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file,
    ):
        for child in file.read().split():
            os.kill(int(child), signal.SIGKILL)


def remove_runtime(path: str) -> None:
    """Remove a runtime directory, which has no subdirectories; what cannot be removed is left for a later start."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(path):
            os.unlink(f"{path}/{entry}")
        os.rmdir(path)


def main(arguments: list[str]) -> None:
    """Supervise a server."""
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # which isolated mode leaves out
    config = json.loads(arguments[1])
    os.chdir("/")  # the server's user may not enter the caller's folder, and a process there would keep it mounted
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Descriptors of libraries that do not mark them as close-on-exec are still open here.
    for name in set(os.listdir("/proc/self/fd")) - {"0", "1", "2", "3"}:
        with contextlib.suppress(OSError):  # the descriptor that listed the directory
            os.close(int(name))
    os.set_inheritable(3, False)
    first = socket.socket(fileno=3)
    try:
        supervisor = Supervisor(config, first)
    except Exception as error:
        tell([first], {"error": f"the supervisor failed: {error!r}"})
        raise
    supervisor.run()


if __name__ == "__main__":
    main(sys.argv)
