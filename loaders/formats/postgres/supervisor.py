"""Starts one PostgreSQL server, keeps it while any client is alive, then stops it and leaves nothing behind.

Run by path as a program of its own (``python -I -S supervisor.py CONFIG``), with the standard library alone. File
descriptor 3 is the first client's *lifeline*: a socket that the kernel closes when its process ends, however it ends.
Further clients connect to the control socket. When the last lifeline closes, the server is shut down.

Every client is told one line of JSON: ``{"ready": {...}}``, ``{"busy": true}`` or ``{"error": "..."}``.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from typing import Any, NoReturn

PREFIX = "loader-bench-pg-"
STOP = b"stop\n"  # a client's word before it lets go: what it wrote is to be kept
GOING_ON = b"going on\n"  # the answer to a client that lets go of a server that others still use
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LONGEST_SOCKET_PATH = 107
_MAPPED_ID = 1000
# Seconds given to each way of stopping a server, from polite to final: fast, immediate, killed.
_STOPPING = ((signal.SIGINT, 120.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
_READER_PATIENCE = 5.0  # in place of the first: a server that only reads has nothing to save
LONGEST_STOP = sum(seconds for _, seconds in _STOPPING)


class Abandoned(Exception):  # noqa: N818 - not an error: the clients have gone
    """Nobody is left to serve, or the supervisor was told to end."""


class Failed(Exception):  # noqa: N818 - carries a sentence for the client
    """The server cannot be started."""


class Supervisor:
    """One server and its clients."""

    def __init__(self, config: dict[str, Any], first: socket.socket) -> None:
        self.config = config
        self.clients = [first]
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.runtime = ""
        self.child = self.status = 0
        self.last: socket.socket | None = None
        self.ended = False
        self.polite = not config["disposable"]
        self.lock = os.open(config["lock"], os.O_RDWR | os.O_CREAT, 0o600)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what a killed server leaves comes to us
        self.wake, waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(waker, False)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._told_to_end)
        signal.set_wakeup_fd(waker)

    def _told_to_end(self, *_: object) -> None:
        self.ended = True

    def run(self) -> None:
        """Serve until the last client has gone."""
        if not self._locked():
            self._tell({"busy": True})
            return
        try:
            self._make_runtime()
            os.close(os.open(self.config["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            if self.config["initialise"]:
                self._initialise(self.config["initialise"])
            self._start()
            self._serve()
        except Abandoned:
            pass
        except Failed as error:
            self._tell({"error": str(error)})
        finally:
            self._stop()
            os.ftruncate(self.lock, 0)
            if self.runtime:
                remove_runtime(self.runtime)

    def _locked(self) -> bool:
        """Take the data directory for this server and its children, unless another has it."""
        for _ in range(20):  # a client that only looks holds the lock for microseconds
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.002)
            else:
                return True
        return False

    def _make_runtime(self) -> None:
        """A short private directory for the sockets; those of dead supervisors are removed."""
        reasons = []
        for base in dict.fromkeys((self.config["temporary"], "/tmp")):  # noqa: S108 - made with mode 0700
            path = os.path.join(base, PREFIX + os.urandom(6).hex())  # noqa: PTH118 - pathlib costs start-up time
            over = len(os.fsencode(path)) + len("/.s.PGSQL.65535.lock") - _LONGEST_SOCKET_PATH
            if over > 0:
                reasons.append(f"the path {base} is {over} bytes too long for a socket")
                continue
            try:
                remove_dead_runtimes(base)
                os.mkdir(path, 0o700)  # noqa: PTH102
                break
            except OSError as error:
                reasons.append(f"{base}: {error.strerror}")
        else:
            raise Failed(f"{', and '.join(reasons)}; set TMPDIR to a folder that can be written and has a short path")
        self.runtime = path
        held = os.open(path, os.O_RDONLY)  # locked until this process ends: the sign that the directory is in use
        fcntl.flock(held, fcntl.LOCK_EX)
        if self.config["identity"]["kind"] == "switch":
            os.chown(path, self.config["identity"]["uid"], self.config["identity"]["gid"])
        self.listener.bind(f"{path}/control")
        self.listener.listen(128)
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, json.dumps({"control": f"{path}/control"}).encode(), 0)

    def _initialise(self, command: list[str]) -> None:
        """Make the data directory, in place of one that another supervisor was killed over."""
        try:
            os.mkdir(self.config["data"], 0o700)  # noqa: PTH102
        except FileExistsError:
            import shutil  # hardly ever needed, and it costs start-up time

            shutil.rmtree(self.config["data"])
            os.mkdir(self.config["data"], 0o700)  # noqa: PTH102
        if self.config["identity"]["kind"] == "switch":
            for path in (self.config["data"], self.config["password"]):
                os.chown(path, self.config["identity"]["uid"], self.config["identity"]["gid"])
        self.child = self._spawn(command, signal.SIGKILL)
        try:
            while self._reaped() is None:
                self._watch(1.0)
        except Abandoned:
            os.killpg(self.child, signal.SIGKILL)
            raise
        if self.status != 0:
            raise Failed(f"{os.path.basename(command[0])} failed: {end_of_log(self.config['log'])}")  # noqa: PTH119

    def _start(self) -> None:
        """Start the server and wait until it accepts connections."""
        for _ in range(5):
            port = free_port() if self.config["tcp"] else 5432
            self.child = self._spawn(
                [
                    *self.config["server"],
                    *("-c", f"unix_socket_directories={self.runtime}", "-c", f"port={port}"),
                    *("-c", f"listen_addresses={'127.0.0.1' if self.config['tcp'] else ''}"),
                ],
                signal.SIGINT,
            )
            if self._became_ready(port):
                return
            if "Address already in use" not in end_of_log(self.config["log"]):  # else another port is tried
                break
        raise Failed(f"PostgreSQL did not start: {end_of_log(self.config['log'])}")

    def _became_ready(self, port: int) -> bool:
        server = self.child
        status = os.path.join(self.config["data"], "postmaster.pid")  # noqa: PTH118
        while self._reaped() is None:
            with contextlib.suppress(FileNotFoundError), open(status, encoding="utf-8") as file:  # noqa: PTH123
                lines = file.read().split("\n")
                if len(lines) > 7 and lines[0] == str(server) and lines[7].strip() == "ready":
                    ready = {"directory": self.runtime, "port": port, "tcp": self.config["tcp"], "pid": server}
                    self.config["ready"] = {"ready": {**ready, "supervisor": os.getpid()}}
                    self._tell(self.config["ready"])
                    return True
            self._watch(0.005)
        return False

    def _serve(self) -> None:
        while self._reaped() is None:
            self._watch(None, accept=True)

    def _watch(self, timeout: float | None, *, accept: bool = False) -> None:
        """Wait for a client to come or go or for a signal.

        Raises:
            Abandoned: the last client has gone.
        """
        waiting: list[Any] = [*self.clients, self.wake, *([self.listener] if accept else [])]
        readable, _, _ = select.select(waiting, [], [], timeout)
        if self.wake in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)
        if self.listener in readable:
            self._accept()
        for client in [client for client in self.clients if client in readable]:
            self._hear(client)
        if not self.clients and accept:
            # One may have come at the last moment; after the listener has closed, they start another server.
            self.listener.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                self._accept()
        if self.ended or not self.clients:
            raise Abandoned

    def _accept(self) -> None:
        client, _ = self.listener.accept()
        client.setblocking(True)
        self.clients.append(client)
        self._tell(self.config["ready"], [client])

    def _hear(self, client: socket.socket) -> None:
        try:
            said = client.recv(64)
        except OSError:
            said = b""
        if said == STOP:
            self.polite = True
        elif not said:
            self.clients.remove(client)
            if self.clients:
                with contextlib.suppress(OSError):
                    client.sendall(GOING_ON)
                client.close()
            else:
                self.last = client  # closed by the end of this process, which tells the client that all is over

    def _tell(self, message: dict[str, Any], clients: list[socket.socket] | None = None) -> None:
        for client in self.clients if clients is None else clients:
            with contextlib.suppress(OSError):  # it has gone; its end of file says so
                client.sendall(json.dumps(message).encode() + b"\n")

    def _stop(self) -> None:
        self.listener.close()
        for number, patience in _STOPPING[0 if self.polite else 1 :]:
            if self._reaped() is not None:
                break
            os.kill(self.child, number)
            reads = number == signal.SIGINT and not self.config["disposable"]
            end = time.monotonic() + (_READER_PATIENCE if reads else patience)
            while self._reaped() is None and time.monotonic() < end:
                select.select([self.wake], [], [], 0.02)
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake, 4096)

        end_children()

    def _reaped(self) -> int | None:
        """The child's exit status, or None while it runs; 0 where there is none."""
        if self.child:
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if pid == 0:
                return None
            self.child, self.status = 0, os.waitstatus_to_exitcode(status)
        return self.status

    def _spawn(self, command: list[str], death_signal: int) -> int:
        log = os.open(self.config["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return spawn(command, self.config["identity"], death_signal, log, keep=self.lock)
        finally:
            os.close(log)


def end_of_log(path: str) -> str:
    """The last lines of a server's log, in one."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            lines = file.read()[-4000:].strip().splitlines()
    except FileNotFoundError:
        return "it wrote no log"
    return " | ".join(line.strip() for line in lines[-6:] if line.strip()) or "it wrote no log"


def end_children() -> None:
    """Kill what is left of a server that was killed: its children may compute on, and would keep the next one out."""
    with (
        contextlib.suppress(FileNotFoundError),
        open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file,  # noqa: PTH123
    ):
        for child in file.read().split():
            os.kill(int(child), signal.SIGKILL)


def spawn(command: list[str], identity: dict[str, Any], death_signal: int, output: int, keep: int | None = None) -> int:
    """Start a program that gets ``death_signal`` when this process ends.

    Args:
        command: the program and its arguments.
        identity: ``{"kind": "same" | "map" | "switch"}``, the last with ``uid`` and ``gid``.
        death_signal: sent by the kernel.
        output: descriptor for its standard output and error.
        keep: a descriptor that it inherits: with the lock, no other server can start while any part of this one lives.

    Returns:
        Its process id.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        if death_signal == signal.SIGKILL:
            os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        take_identity(identity)
        # After the change of identity, which would clear it.
        if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(125)
        if keep is not None:
            os.set_inheritable(keep, True)
        os.execve(command[0], command, {**os.environ, "LC_ALL": "C", "TZ": "UTC"})  # noqa: S606
    except BaseException as error:  # a forked child must never return into its parent's code
        os.write(2, f"{command[0]}: {error}\n".encode())
    os._exit(126)


def take_identity(identity: dict[str, Any]) -> None:
    """Stop being root, which PostgreSQL refuses, without giving up the ownership of files where possible."""
    if identity["kind"] == "map":
        user, group = os.geteuid(), os.getegid()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "a user namespace was refused")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{_MAPPED_ID} {user} 1"),
            ("gid_map", f"{_MAPPED_ID} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
                file.write(text)
    elif identity["kind"] == "switch":
        os.setgroups([])
        os.setgid(identity["gid"])
        os.setuid(identity["uid"])


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def remove_runtime(path: str) -> None:
    """Remove a runtime directory, which is flat."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(path):  # noqa: PTH208
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}/{entry}")  # noqa: PTH108
        os.rmdir(path)  # noqa: PTH106


def remove_dead_runtimes(base: str) -> None:
    """Remove the runtime directories of this user whose supervisor was killed."""
    for entry in os.scandir(base):
        if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
            continue
        with contextlib.suppress(FileNotFoundError, PermissionError, BlockingIOError):
            held = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                status = os.fstat(held)
                # One that has just been made is not locked yet.
                if stat.S_ISDIR(status.st_mode) and time.time() - status.st_mtime > 1:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_runtime(entry.path)
            finally:
                os.close(held)


def close_others(keep: set[int]) -> None:
    """Close what was inherited from a library that does not mark its descriptors as private to its process."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) not in keep:
            with contextlib.suppress(OSError):  # the one that listed the directory
                os.close(int(name))


def main(arguments: list[str]) -> NoReturn:
    """Supervise, or with ``{"probe": command}`` only try to run a command under the identity."""
    config = json.loads(arguments[1])
    os.chdir("/")  # the starter's folder may be closed to the server's user, and must not be kept from being unmounted
    if "probe" in config:
        pid = spawn(config["probe"], config["identity"], signal.SIGKILL, 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 127)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    close_others({0, 1, 2, 3})
    os.set_inheritable(3, False)
    first = socket.socket(fileno=3)
    try:
        Supervisor(config, first).run()
    except Exception as error:
        first.sendall(json.dumps({"error": f"the supervisor failed: {error!r}"}).encode() + b"\n")
        raise
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv)
