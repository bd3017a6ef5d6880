"""The embedded server: shared while it is used, gone with its last user, however that one ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loaders.core.errors import BackendError, StoreError
from loaders.formats.postgres import binaries as pgbinaries
from loaders.formats.postgres.server import DATA, EmbeddedServer
from loaders.reading.handover import SHARED_MEMORY
from loaders.testing import in_fork
from tests.private_mount import with_read_only

CACHE = 16 << 20
ROOT = os.geteuid() == 0

pytestmark = pytest.mark.skipif(
    pgbinaries.find_programs().programs is None, reason=str(pgbinaries.find_programs().reason)
)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def nothing_left(pids: list[int], runtime: str) -> bool:
    return not any(alive(pid) for pid in pids) and not Path(runtime).exists()


def query(server: EmbeddedServer, text: str = "SELECT 1") -> Any:
    with psycopg.connect(**server.conninfo("socket")) as connection:  # type: ignore[arg-type]
        return connection.execute(text.encode()).fetchone()


def told(server: EmbeddedServer) -> tuple[list[int], str]:
    """Process ids of a server, and its runtime directory."""
    return [server.pid, server.supervisor_pid], server.conninfo("socket")["host"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("pg")
    server = EmbeddedServer.create(store)
    server.close()
    return store


@pytest.fixture
def damaged(made: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user can reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


class Child:
    """A forked process that holds the server, tells its pids and then does as it is told."""

    def __init__(self, store: Path, then: Callable[[EmbeddedServer], None]) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(reading)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                server = EmbeddedServer.open(store, "socket", CACHE)
                pids, runtime = told(server)
                os.write(writing, f"{pids[0]} {pids[1]} {runtime}".encode())
                os.close(writing)
                then(server)
            finally:
                os._exit(3)
        os.close(writing)
        with os.fdopen(reading) as file:
            server_pid, supervisor_pid, self.runtime = file.read().split()
        self.pids = [int(server_pid), int(supervisor_pid)]
        assert all(alive(pid) for pid in self.pids)

    def end(self, number: int) -> None:
        os.kill(self.pid, number)
        os.waitpid(self.pid, 0)


def idle(_: EmbeddedServer) -> None:
    time.sleep(60)


def test_close_returns_when_the_server_has_ended(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    pids, runtime = told(server)
    assert query(server) == (1,)
    assert oct(Path(runtime).stat().st_mode & 0o777) == "0o700"
    server.close()
    server.close()
    assert nothing_left(pids, runtime)
    assert not Path(f"/proc/{pids[1]}").exists()  # and it was collected
    assert (made / "server.lock").read_bytes() == b""


def test_two_holds_share_one_server(made: Path) -> None:
    first = EmbeddedServer.open(made, "socket", CACHE)
    second = EmbeddedServer.open(made, "socket", CACHE)
    assert told(first) == told(second)
    first.close()
    assert query(second) == (1,)
    second.close()
    assert nothing_left(*told(second))


def test_two_processes_share_one_server(made: Path) -> None:
    child = Child(made, idle)
    server = EmbeddedServer.open(made, "socket", CACHE)
    assert told(server) == (child.pids, child.runtime)
    child.end(signal.SIGKILL)  # the one that started it
    assert query(server) == (1,)
    server.close()
    assert wait_until(lambda: nothing_left(child.pids, child.runtime))


def test_processes_that_start_it_at_the_same_time_agree(made: Path) -> None:
    with tempfile.TemporaryDirectory() as place:

        def work(number: int) -> None:
            server = EmbeddedServer.open(made, "socket", CACHE)
            Path(place, str(number)).write_text(str(server.pid))
            wait_until(lambda: len(list(Path(place).iterdir())) == 4)
            assert query(server) == (1,)
            server.close()

        children = []
        for number in range(4):
            children.append(os.fork())
            if children[-1] == 0:
                code = 1
                try:
                    work(number)
                    code = 0
                finally:
                    os._exit(code)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        (pid,) = {int(path.read_text()) for path in Path(place).iterdir()}
    assert wait_until(lambda: not alive(pid))


def test_one_that_comes_as_it_ends_starts_another(made: Path) -> None:
    for _ in range(5):
        first = EmbeddedServer.open(made, "socket", CACHE)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                server = EmbeddedServer.open(made, "socket", CACHE)
                assert query(server) == (1,)
                server.close()
                code = 0
            finally:
                os._exit(code)
        first.close()
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_its_user_is_ended(made: Path, number: int) -> None:
    child = Child(made, idle)
    child.end(number)
    assert wait_until(lambda: nothing_left(child.pids, child.runtime))


def test_nothing_is_left_when_its_user_fails(made: Path) -> None:
    def fail(_: EmbeddedServer) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        raise RuntimeError

    child = Child(made, fail)
    os.waitpid(child.pid, 0)
    assert wait_until(lambda: nothing_left(child.pids, child.runtime))


def test_nothing_is_left_when_the_interpreter_ends_without_close(made: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from loaders.formats.postgres.server import EmbeddedServer;"
        f"server = EmbeddedServer.open(Path(sys.argv[1]), 'socket', {CACHE});"
        "print(server.pid, server.supervisor_pid, server.conninfo('socket')['host'], flush=True); sys.exit(5)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(made)], capture_output=True, text=True, check=False
    )
    # That its output ended shows that the server holds no descriptor of the program.
    assert (done.returncode, done.stderr) == (5, "")
    server, supervisor, runtime = done.stdout.split()
    assert wait_until(lambda: nothing_left([int(server), int(supervisor)], runtime))


def test_ctrl_c_reaches_the_user_alone(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    pids, _ = told(server)
    assert all(os.getpgid(pid) != os.getpgid(0) and os.getsid(pid) != os.getsid(0) for pid in pids)
    os.kill(server.supervisor_pid, signal.SIGINT)
    assert query(server) == (1,)
    server.close()


def test_a_killed_supervisor_takes_the_server_along(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    pids, runtime = told(server)
    os.kill(server.supervisor_pid, signal.SIGKILL)
    assert wait_until(lambda: not any(alive(pid) for pid in pids))
    server.close()
    os.utime(runtime, (1, 1))
    again = EmbeddedServer.open(made, "socket", CACHE)
    assert query(again) == (1,)
    assert not Path(runtime).exists()  # what the killed one left is removed by the next
    again.close()
    assert nothing_left(*told(again))


def test_a_server_that_still_ends_keeps_the_next_out(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    os.kill(server.supervisor_pid, signal.SIGKILL)
    again = EmbeddedServer.open(made, "socket", CACHE)  # at once, while the old server may still write
    assert query(again) == (1,)
    server.close()
    again.close()


def test_a_terminated_supervisor_ends_the_server(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    os.kill(server.supervisor_pid, signal.SIGTERM)
    assert wait_until(lambda: not alive(server.pid))
    server.close()
    assert wait_until(lambda: nothing_left(*told(server)))


def test_a_killed_server_ends_its_supervisor(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    os.kill(server.pid, signal.SIGQUIT)
    assert wait_until(lambda: nothing_left(*told(server)))
    server.close()
    again = EmbeddedServer.open(made, "socket", CACHE)  # recovers
    assert query(again) == (1,)
    again.close()


@pytest.mark.parametrize("delay", [0.01, 0.02, 0.05])
def test_a_backend_that_was_killed_is_not_waited_for(made: Path, delay: float) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    with psycopg.connect(**server.conninfo("socket"), autocommit=True) as connection:  # type: ignore[arg-type]
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        time.sleep(delay)
        begun = time.monotonic()
        server.close()
    assert time.monotonic() - begun < 30
    assert nothing_left(*told(server))


def test_a_server_that_only_reads_is_given_a_few_seconds(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    with psycopg.connect(**server.conninfo("socket"), autocommit=True) as connection:  # type: ignore[arg-type]
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)  # will not end when it is asked to
        begun = time.monotonic()
        server.close()
    assert time.monotonic() - begun < 60
    assert not alive(backend)
    assert nothing_left(*told(server))


def test_what_a_killed_server_computes_on_does_not_keep_the_next_out(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    with contextlib.closing(psycopg.connect(**server.conninfo("socket"))) as connection:  # type: ignore[arg-type]
        backend = connection.info.backend_pid
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        time.sleep(0.2)
        os.kill(server.pid, signal.SIGKILL)
        server.close()
        assert wait_until(lambda: not alive(backend))
    again = EmbeddedServer.open(made, "socket", CACHE)
    assert query(again) == (1,)
    again.close()


def test_a_supervisor_killed_while_it_makes_the_data_directory(tmp_path: Path) -> None:
    def supervisors() -> list[int]:
        own = [pid for pid in Path("/proc").iterdir() if pid.name.isdigit()]
        return [int(pid.name) for pid in own if f'"{tmp_path}/server.lock"' in _command_line(pid)]

    killed: list[int] = []

    def kill() -> None:
        assert wait_until(lambda: (tmp_path / DATA / "PG_VERSION").exists())
        killed.extend(supervisors())
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    server = EmbeddedServer.create(tmp_path)
    killer.join()
    assert killed
    assert query(server) == (1,)
    assert server.supervisor_pid not in killed
    server.close()
    again = EmbeddedServer.open(tmp_path, "socket", CACHE)
    assert query(again) == (1,)
    again.close()


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_forked_child_does_not_keep_it_alive(made: Path) -> None:
    """DataLoader workers outlive a killed parent by seconds."""
    reading, writing = os.pipe()

    def fork_and_wait(_: EmbeddedServer) -> None:
        grandchild = os.fork()
        if grandchild:
            os.write(writing, str(grandchild).encode())
        time.sleep(60)

    child = Child(made, fork_and_wait)
    grandchild = int(os.read(reading, 20))
    os.close(reading)
    os.close(writing)
    child.end(signal.SIGKILL)
    assert wait_until(lambda: nothing_left(child.pids, child.runtime))
    assert alive(grandchild)
    os.kill(grandchild, signal.SIGKILL)


def test_a_dropped_hold_is_let_go(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    pids, runtime = told(server)
    del server
    assert wait_until(lambda: nothing_left(pids, runtime))


def test_tcp_asks_for_the_password(made: Path) -> None:
    server = EmbeddedServer.open(made, "tcp", CACHE)
    good = server.conninfo("tcp")
    with psycopg.connect(**good) as connection:  # type: ignore[arg-type]
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
    assert query(server) == (1,)
    for bad in ({**good, "password": "wrong"}, {**good, "password": ""}):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(**bad, passfile="/dev/null")  # type: ignore[arg-type]
    server.close()
    assert (made / "password").stat().st_mode & 0o077 == 0


def test_tcp_is_not_to_be_had_from_a_server_without_it(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    with pytest.raises(BackendError, match="without TCP"):
        EmbeddedServer.open(made, "tcp", CACHE)
    assert query(server, "SHOW listen_addresses") == ("",)
    server.close()


def test_a_failed_start_shows_the_end_of_the_log(
    damaged: Path, open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(open_place))
    (damaged / DATA / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with pytest.raises(BackendError, match=r"cannot start the PostgreSQL server of .*: .*incompatible with server"):
        EmbeddedServer.open(damaged, "socket", CACHE)
    assert wait_until(lambda: not any(open_place.iterdir()))


def test_another_version_is_refused(damaged: Path) -> None:
    (damaged / DATA / "PG_VERSION").write_text("9\n")
    with pytest.raises(StoreError, match="was made by PostgreSQL 9 and this machine has version"):
        EmbeddedServer.open(damaged, "socket", CACHE)
    (damaged / DATA / "PG_VERSION").unlink()
    with pytest.raises(StoreError, match="prepare the store again"):
        EmbeddedServer.open(damaged, "socket", CACHE)


def test_a_store_that_cannot_be_written_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(StoreError, match="cannot be written, which PostgreSQL needs"):
        EmbeddedServer.open(made, "socket", CACHE)


def test_a_long_temporary_directory_is_not_used(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    server = EmbeddedServer.open(made, "socket", CACHE)
    assert query(server) == (1,)
    server.close()


def test_no_place_for_sockets_is_told_with_its_reason() -> None:
    long = SHARED_MEMORY / ("x" * 100)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        store = Path(name)
        EmbeddedServer.create(store).close()

        def work() -> None:
            long.mkdir()
            try:
                tempfile.tempdir = str(long)
                with pytest.raises(BackendError) as caught:
                    EmbeddedServer.open(store, "socket", CACHE)
            finally:
                long.rmdir()
            said = str(caught.value)
            assert (
                f"the path {long} is 51 bytes too long for a socket, and /tmp: Read-only file system; set TMPDIR"
                in said
            )

        with_read_only(Path("/tmp"), work)  # noqa: S108 - that is the place meant


def test_a_path_too_long_for_postgresql_is_told(tmp_path: Path) -> None:
    store = tmp_path
    while len(bytes(store)) <= 960:
        store /= "x" * 100
    store.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"at most 960 bytes, not \d+; choose a shorter --store-dir"):
        EmbeddedServer.create(store)
    fits = Path(*store.parts[:-1]) / ("x" * (960 - len(bytes(store.parent)) - len(f"//{DATA}")))
    fits.mkdir()
    EmbeddedServer.create(fits).close()
    server = EmbeddedServer.open(fits, "tcp", CACHE)
    assert query(server) == (1,)
    server.close()


def test_variables_for_other_servers_do_not_interfere(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", "PGSSLMODE"):
        monkeypatch.setenv(name, "127.0.0.9" if name == "PGHOSTADDR" else "1")
    server = EmbeddedServer.open(made, "socket", CACHE)
    assert query(server) == (1,)
    server.close()


def test_programs_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgbinaries, "PACKAGE", "no_such_package")
    (tmp_path / "postgres").touch()
    (tmp_path / "initdb").touch()
    assert pgbinaries._candidates(str(tmp_path), "/nowhere")[0] == tmp_path
    for name in ("postgres", "initdb"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(pgbinaries, "_candidates", lambda *_: [tmp_path])
    reason = pgbinaries._find(None, "first").reason
    assert reason is not None
    assert "cannot be started" in reason
    monkeypatch.setattr(pgbinaries, "_candidates", lambda *_: [])
    assert "no PostgreSQL programs were found" in str(pgbinaries._find(None, "second").reason)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "needs Linux, not darwin" in str(pgbinaries._find(None, "third").reason)


@pytest.mark.skipif(not ROOT, reason="only root has to become another user")
@pytest.mark.parametrize("kind", ["map", "switch"])
def test_root_runs_it_in_either_way(open_place: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    identities = [identity for identity in pgbinaries._identities() if identity["kind"] == kind]
    assert identities
    monkeypatch.setattr(pgbinaries, "_identities", lambda: identities)
    pgbinaries._find.cache_clear()
    pgbinaries._tried.cache_clear()
    try:
        found = pgbinaries.find_programs()
        if found.programs is None:
            pytest.skip(f"{kind}: {found.reason}")
        EmbeddedServer.create(open_place).close()
        server = EmbeddedServer.open(open_place, "tcp", CACHE)
        assert query(server) == (1,)
        owner = (open_place / DATA).stat().st_uid
        assert owner == (identities[0]["uid"] if kind == "switch" else 0)
        os.kill(server.supervisor_pid, signal.SIGKILL)
        assert wait_until(lambda: not alive(server.pid))
        server.close()
    finally:
        pgbinaries._find.cache_clear()
        pgbinaries._tried.cache_clear()


@pytest.mark.skipif(not ROOT, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_runs_it(open_place: Path) -> None:
    os.chown(open_place, 65534, 65534)

    def work() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            subprocess.run([sys.executable, "-c", ""], check=True)
        except PermissionError:  # this interpreter lies where only root can reach it; any other will do
            sys.executable = shutil.which("python3", path="/usr/bin:/bin") or os._exit(78)
        pgbinaries._find.cache_clear()
        pgbinaries._tried.cache_clear()
        assert pgbinaries.find_programs().programs is not None, pgbinaries.find_programs().reason
        EmbeddedServer.create(open_place).close()
        server = EmbeddedServer.open(open_place, "socket", CACHE)
        assert query(server) == (1,)
        server.close()

    code = in_fork(work)
    if code == 78:
        pytest.skip("no Python here can be run by another user")
    assert code == 0
    assert (open_place / DATA).stat().st_uid == 65534
    # Root may then use the store as its owner would.
    server = EmbeddedServer.open(open_place, "socket", CACHE)
    assert query(server) == (1,)
    server.close()
