"""The embedded server: shared while it is used, gone with its last user, however that one ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loaders.core.errors import BackendError, StoreError
from loaders.formats.postgres import lifelines, programs
from loaders.formats.postgres import server as pgserver
from loaders.formats.postgres.cluster import DATA
from loaders.formats.postgres.server import EmbeddedServer
from loaders.reading.handover import SHARED_MEMORY
from loaders.testing import in_fork
from tests.private_mount import with_read_only

CACHE = 16 << 20
ROOT = os.geteuid() == 0

pytestmark = pytest.mark.skipif(isinstance(programs.find_programs(), str), reason=str(programs.find_programs()))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return met


def nothing_left(pids: list[int], runtime: str) -> bool:
    return not any(alive(pid) for pid in pids) and not Path(runtime).exists()


def query(server: EmbeddedServer, text: str = "SELECT 1") -> Any:
    with psycopg.connect(server.conninfo("socket")) as connection:
        return connection.execute(text.encode()).fetchone()


def parts(server: EmbeddedServer) -> tuple[list[int], str]:
    """Process ids of a server and its supervisor, and its runtime directory."""
    return [server.pid, server.supervisor_pid], server.directory


_made: list[Path] = []


def copy_of_a_store(factory: pytest.TempPathFactory) -> Path:
    """A store without tables; ``initdb`` takes seconds and runs once."""
    if not _made:
        _made.append(factory.mktemp("made"))
        EmbeddedServer.create(_made[0]).close(save=True)
    return Path(shutil.copytree(_made[0], factory.mktemp("pg") / "store"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_a_store(tmp_path_factory)


@pytest.fixture
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that the test may damage."""
    return copy_of_a_store(tmp_path_factory)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user can reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


@contextlib.contextmanager
def opened(store: Path, transport: pgserver.Transport = "socket") -> Iterator[EmbeddedServer]:
    server = EmbeddedServer.open(store, transport, CACHE)
    yield server
    server.close()


def works(store: Path) -> bool:
    """Whether a new server of the store can be used, and nothing of it is left."""
    with opened(store) as server:
        answer = query(server)
    return answer == (1,) and nothing_left(*parts(server))


class Child:
    """A forked process that holds the server, tells its pids and then does as it is told."""

    def __init__(self, store: Path, then: Callable[[], None] = lambda: time.sleep(60)) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(reading)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                server = EmbeddedServer.open(store, "socket", CACHE)
                pids, runtime = parts(server)
                os.write(writing, f"{pids[0]} {pids[1]} {runtime}".encode())
                os.close(writing)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                then()
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


def test_close_returns_when_the_last_hold_has_let_go(made: Path) -> None:
    first, second = (EmbeddedServer.open(made, "socket", CACHE) for _ in range(2))
    pids, runtime = parts(first)
    assert parts(second) == (pids, runtime)
    assert oct(Path(runtime).stat().st_mode & 0o777) == "0o700"
    # Ctrl-C in a terminal reaches the user alone.
    assert all(os.getpgid(pid) != os.getpgid(0) and os.getsid(pid) != os.getsid(0) for pid in pids)
    os.kill(first.supervisor_pid, signal.SIGINT)
    first.close()
    assert query(second) == (1,)
    second.close()
    second.close()
    assert nothing_left(pids, runtime)
    assert not Path(f"/proc/{pids[1]}").exists()  # and it was collected
    assert (made / "server.lock").read_bytes() == b""


def test_two_processes_share_one_server(made: Path) -> None:
    child = Child(made)
    with opened(made) as server:
        assert parts(server) == (child.pids, child.runtime)
        child.end(signal.SIGKILL)  # the one that started it
        assert query(server) == (1,)
    assert wait_until(lambda: nothing_left(child.pids, child.runtime))


def test_processes_that_start_it_at_the_same_time_agree(made: Path, tmp_path: Path) -> None:
    def work(number: int) -> None:
        with opened(made) as server:
            (tmp_path / str(number)).write_text(str(server.pid))
            wait_until(lambda: len(list(tmp_path.iterdir())) == 4)
            assert query(server) == (1,)

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
    (pid,) = {int(path.read_text()) for path in tmp_path.iterdir()}
    assert wait_until(lambda: not alive(pid))


def test_one_that_comes_as_it_ends_starts_another(made: Path) -> None:
    for _ in range(3):
        first = EmbeddedServer.open(made, "socket", CACHE)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if works(made) else 2
            finally:
                os._exit(code)
        first.close()
        assert os.waitpid(child, 0)[1] == 0


def test_nothing_is_left_when_its_user_is_ended(made: Path) -> None:
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        child = Child(made)
        child.end(number)
        assert wait_until(lambda: nothing_left(child.pids, child.runtime)), number  # noqa: B023 - called at once
    failed = Child(made, lambda: 1 // 0)  # type: ignore[arg-type]
    os.waitpid(failed.pid, 0)
    assert wait_until(lambda: nothing_left(failed.pids, failed.runtime))
    server = EmbeddedServer.open(made, "socket", CACHE)
    pids, runtime = parts(server)
    del server  # dropped without close()
    assert wait_until(lambda: nothing_left(pids, runtime))


def test_nothing_is_left_when_the_interpreter_ends_without_close(made: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from loaders.formats.postgres.server import EmbeddedServer;"
        f"server = EmbeddedServer.open(Path(sys.argv[1]), 'socket', {CACHE});"
        "print(server.pid, server.supervisor_pid, server.directory, flush=True); sys.exit(5)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(made)], capture_output=True, text=True, check=False
    )
    # That its output ended shows that the server holds no descriptor of the program.
    assert (done.returncode, done.stderr) == (5, "")
    server, supervisor, runtime = done.stdout.split()
    assert wait_until(lambda: nothing_left([int(server), int(supervisor)], runtime))


def test_a_killed_supervisor_takes_the_server_along(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    pids, runtime = parts(server)
    os.kill(server.supervisor_pid, signal.SIGKILL)
    assert wait_until(lambda: not any(alive(pid) for pid in pids))
    server.close()
    os.utime(runtime, (1, 1))
    with opened(made) as again:
        assert query(again) == (1,)
        assert not Path(runtime).exists()  # what the killed one left is removed by the next
        os.kill(again.supervisor_pid, signal.SIGKILL)
        assert works(made)  # at once, while the old server may still write


def test_a_supervisor_or_a_server_that_is_ended_takes_the_other_along(made: Path) -> None:
    for which, number in (("supervisor_pid", signal.SIGTERM), ("pid", signal.SIGQUIT)):
        with opened(made) as server:
            os.kill(getattr(server, which), number)
            assert wait_until(lambda: nothing_left(*parts(server))), which
        assert works(made), which  # recovers


def test_a_backend_that_was_killed_is_not_waited_for(made: Path) -> None:
    for delay in (0.01, 0.02, 0.05):
        server = EmbeddedServer.open(made, "socket", CACHE)
        with psycopg.connect(server.conninfo("socket"), autocommit=True) as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)
            time.sleep(delay)  # the server is at different points of noticing it
            begun = time.monotonic()
            server.close()
        assert time.monotonic() - begun < 30, delay
        assert nothing_left(*parts(server)), delay


def test_a_server_that_only_reads_is_given_a_short_time(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgserver, "_READING", 0.1)
    server = EmbeddedServer.open(made, "socket", CACHE)
    with psycopg.connect(server.conninfo("socket"), autocommit=True) as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)  # will not end when it is asked to
        begun = time.monotonic()
        server.close()
    assert time.monotonic() - begun < 60
    assert not alive(backend)
    assert nothing_left(*parts(server))


def test_the_number_of_a_killed_server_may_be_another_s(damaged: Path) -> None:
    """Or its own for as long as nobody has collected it."""
    (damaged / DATA / "postmaster.pid").write_text(f"{os.getppid()}\n{damaged / DATA}\n1\n5432\n\n\n\n")
    assert works(damaged)


def test_what_a_killed_server_computes_on_does_not_keep_the_next_out(made: Path) -> None:
    server = EmbeddedServer.open(made, "socket", CACHE)
    with contextlib.closing(psycopg.connect(server.conninfo("socket"))) as connection:
        backend = connection.info.backend_pid
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        time.sleep(0.1)
        os.kill(server.pid, signal.SIGKILL)
        server.close()
        assert wait_until(lambda: not alive(backend))
    assert works(made)


def test_one_that_is_killed_while_it_makes_the_data_directory_leaves_nothing(tmp_path: Path) -> None:
    def left() -> list[Path]:
        return [process for process in Path("/proc").glob("[0-9]*") if str(tmp_path) in _command_line(process)]

    child = os.fork()
    if child == 0:
        try:
            EmbeddedServer.create(tmp_path)
        finally:
            os._exit(1)
    assert wait_until(lambda: (tmp_path / DATA / "PG_VERSION").exists())
    assert left()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert wait_until(lambda: not left())


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_forked_child_does_not_keep_it_alive(made: Path) -> None:
    """DataLoader workers outlive a killed parent by seconds."""
    reading, writing = os.pipe()

    def fork_and_wait() -> None:
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


def test_a_supervisor_that_cannot_begin_says_so(tmp_path: Path) -> None:
    lifeline, theirs = socket.socketpair()
    config = {"lock": str(tmp_path / "no folder" / "lock"), "patience": 0.0}
    # The supervisor expects its end of the lifeline at descriptor 3.
    program = [sys.executable, "-I", str(programs.SUPERVISOR), json.dumps(config)]
    words = ["/bin/sh", "-c", 'exec "$@" 3<&0 2>&-', "-", *program]
    assert subprocess.run(words, stdin=theirs.fileno(), check=False).returncode == 1
    theirs.close()
    assert "FileNotFoundError" in json.loads(lifelines.line(lifeline, 10))["error"]
    lifeline.close()


def test_tcp_asks_for_the_password(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", "PGSSLMODE"):
        monkeypatch.setenv(name, "127.0.0.9" if name == "PGHOSTADDR" else "1")  # for another server
    with opened(made, "tcp") as server:
        good = server.conninfo("tcp")
        with psycopg.connect(good) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert query(server) == (1,)
        for password in ("wrong", ""):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(good, password=password, passfile="/dev/null")
    assert (made / "password").stat().st_mode & 0o077 == 0
    with opened(made) as server:  # without TCP
        with pytest.raises(BackendError, match="without TCP"):
            EmbeddedServer.open(made, "tcp", CACHE)
        assert query(server, "SHOW listen_addresses") == ("",)


def test_a_failed_start_shows_the_end_of_the_log(
    damaged: Path, open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(open_place))
    (damaged / DATA / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with pytest.raises(BackendError, match=r"cannot start the PostgreSQL server of .*: .*incompatible with server"):
        EmbeddedServer.open(damaged, "socket", CACHE)
    assert wait_until(lambda: not any(open_place.iterdir()))


def test_a_store_that_cannot_be_served_is_refused(damaged: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (damaged / DATA / "PG_VERSION").write_text("9\n")
    with pytest.raises(StoreError, match="was made by PostgreSQL 9 and this machine has version"):
        EmbeddedServer.open(damaged, "socket", CACHE)
    (damaged / DATA / "PG_VERSION").unlink()
    with pytest.raises(StoreError, match="prepare the store again"):
        EmbeddedServer.open(damaged, "socket", CACHE)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(StoreError, match="cannot be written, which PostgreSQL needs"):
        EmbeddedServer.open(made, "socket", CACHE)


def test_a_long_temporary_directory_is_not_used(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert works(made)


def test_no_place_for_sockets_is_told_with_its_reason(made: Path) -> None:
    long = SHARED_MEMORY / ("x" * 100)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        store = Path(shutil.copytree(made, Path(name) / "store"))  # elsewhere than /tmp

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
    server = EmbeddedServer.create(fits)
    assert query(server) == (1,)
    server.close()


def written_again(path: Path) -> bool:
    """Whether someone still writes a file that is removed."""
    path.unlink(missing_ok=True)
    time.sleep(0.2)
    return path.exists()


def test_nothing_of_a_program_goes_on_after_it(tmp_path: Path) -> None:
    output = tmp_path / "output"
    command = ["/bin/sh", "-c", f"while :; do echo on > {output}; sleep 0.01; done & wait"]
    with pytest.raises(subprocess.TimeoutExpired):
        programs.run_as({"kind": "same"}, command, timeout=1)
    assert not written_again(output)

    caller = os.fork()
    if caller == 0:
        programs.run_as({"kind": "same"}, command)
        os._exit(1)
    assert wait_until(output.exists)
    os.kill(caller, signal.SIGKILL)
    os.waitpid(caller, 0)
    assert wait_until(lambda: not written_again(output))


def test_programs_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PACKAGE", "no_such_package")
    monkeypatch.setenv("PG_BINDIR", str(tmp_path))
    for name in ("postgres", "initdb"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o755)
    assert programs._folders()[0] == tmp_path
    monkeypatch.setattr(programs, "_folders", lambda: [tmp_path])
    assert "cannot be started" in str(programs.find_programs())
    monkeypatch.setattr(programs, "_folders", list)
    assert "no PostgreSQL programs were found" in str(programs.find_programs())
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "needs Linux, not darwin" in str(programs.find_programs())


@pytest.mark.skipif(not ROOT, reason="only root has to become another user")
@pytest.mark.parametrize("kind", ["map", "switch"])
def test_root_runs_it_in_either_way(open_place: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    identities = [identity for identity in programs._identities() if identity["kind"] == kind]
    assert identities
    monkeypatch.setattr(programs, "_identities", lambda: identities)
    programs._tried.cache_clear()
    try:
        found = programs.find_programs()
        if isinstance(found, str):
            pytest.skip(f"{kind}: {found}")
        EmbeddedServer.create(open_place).close(save=True)
        with opened(open_place, "tcp") as server:
            assert query(server) == (1,)
            owner = (open_place / DATA).stat().st_uid
            assert owner == (identities[0]["uid"] if kind == "switch" else 0)
            os.kill(server.supervisor_pid, signal.SIGKILL)
            assert wait_until(lambda: not alive(server.pid))
    finally:
        programs._tried.cache_clear()


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
        programs._tried.cache_clear()
        EmbeddedServer.create(open_place).close(save=True)
        assert works(open_place)

    code = in_fork(work)
    if code == 78:
        pytest.skip("no Python here can be run by another user")
    assert code == 0
    assert (open_place / DATA).stat().st_uid == 65534
    assert works(open_place)  # root may use the store as its owner would
