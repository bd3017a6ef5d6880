"""What is special to PostgreSQL: servers of the user's own, secrets, tables, and what a lost server leaves."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from torch.utils.data import DataLoader

from bench.idioms.postgres import idiom
from loaders import BackendError, LoaderError, OptionError, StoreError, parse_options
from loaders.formats.postgres import format as postgres
from loaders.formats.postgres.binaries import Found
from loaders.formats.postgres.format import PostgresFormat, PostgresOptions
from loaders.formats.postgres.server import EmbeddedServer
from loaders.formats.postgres.tables import SCHEMA, TABLES, read_tables
from loaders.testing import (
    INFO,
    Breaking,
    Interruption,
    Samples,
    assert_same,
    in_fork,
    make_splits,
    open_store,
    store_samples,
)
from tests.test_pgserver import alive, nothing_left, wait_until

Stored = tuple[Path, dict[str, Samples]]

pytestmark = pytest.mark.skipif(
    PostgresFormat.unavailable(PostgresOptions()) is not None,
    reason=str(PostgresFormat.unavailable(PostgresOptions())),
)


def prepare(location: Path, splits: dict[str, Any], options: dict[str, Any] | None = None) -> Any:
    return store_samples(
        PostgresFormat, splits, location, parse_options(PostgresOptions, options or {}, "postgres"), dataset=INFO
    )


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    location = tmp_path_factory.mktemp("embedded") / "store"
    splits = make_splits("jpeg")
    prepare(location, splits)
    return location, splits


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that stands for the user's own: on TCP, with a password."""
    folder = tmp_path_factory.mktemp("own")
    EmbeddedServer.create(folder).close()
    server = EmbeddedServer.open(folder, "tcp", 32 << 20)
    parameters: dict[str, Any] = server.conninfo("tcp")
    yield make_conninfo("", **{key: parameters[key] for key in ("host", "port", "user", "dbname", "password")})
    server.close()


@pytest.fixture
def on_dsn(dsn: str, tmp_path: Path) -> Stored:
    location, splits = tmp_path / "store", make_splits()
    prepare(location, splits, {"dsn": dsn})
    return location, splits


def password_of(dsn: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["password"])


def run(dsn: str, text: LiteralString, *names: str) -> list[Any]:
    """Run one statement; each ``{}`` is a table."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql.SQL(text).format(*(sql.Identifier(SCHEMA, name) for name in names)))
        return cursor.fetchall() if cursor.description else []


def tables_on(dsn: str) -> set[str]:
    rows = run(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'bench'")
    return {row[0] for row in rows}


def test_the_server_is_gone_after_use(embedded: Stored) -> None:
    location, _ = embedded
    with open_store(PostgresFormat, location, "train") as train, open_store(PostgresFormat, location, "test") as test:
        pids = [train.connection_info().server_pid, test.connection_info().server_pid]
        assert pids[0] == pids[1]
    assert not alive(int(pids[0] or 0))
    with pytest.raises(ZeroDivisionError), open_store(PostgresFormat, location, "train") as train:
        pid = train.connection_info().server_pid
        raise ZeroDivisionError
    assert not alive(int(pid or 0))


def test_workers_alone_start_and_share_it(embedded: Stored) -> None:
    location, splits = embedded
    dataset = open_store(PostgresFormat, location, "train", {"storage": "inline"})
    loader: Any = DataLoader(dataset, batch_size=6, num_workers=2, multiprocessing_context="spawn")
    for number, batch in enumerate(loader):
        assert_same(batch, splits["train"].expect(list(range(41))[number * 6 : number * 6 + 6]))
    assert wait_until(lambda: (location / "server.lock").read_bytes() == b"")


def test_a_forgotten_dataset_leaves_no_server(embedded: Stored) -> None:
    location, _ = embedded
    dataset = open_store(PostgresFormat, location, "train")
    dataset.batch([1, 2])
    pid = dataset.connection_info().server_pid
    del dataset
    assert wait_until(lambda: not alive(int(pid or 0)))


@pytest.mark.parametrize(("storage", "place"), [("inline", "main"), ("toast", "toast")])
def test_storage_decides_where_the_bytes_are(tmp_path: Path, storage: str, place: str) -> None:
    splits = {"train": Samples(100, (3, 32, 32)), "test": Samples(3, (3, 64, 64))}
    prepare(tmp_path / "store", splits, {"storage": storage})
    with open_store(PostgresFormat, tmp_path / "store", "train", {"storage": storage}) as dataset:
        info = dataset.connection_info()
        (sizes,) = run(
            info.conninfo,
            "SELECT pg_relation_size(oid) AS main, pg_relation_size(reltoastrelid) AS toast FROM pg_class "
            "WHERE oid = (SELECT tableoid FROM {} LIMIT 1)",
            info.table,
        )
        assert sizes[["main", "toast"].index(place)] >= 100 * 3072
        assert sizes[["toast", "main"].index(place)] < 100 * 1000
        order = np.random.default_rng(0).integers(0, 100, 64)
        assert_same(dataset.batch(order), splits["train"].expect(order.tolist()))
    # More than a page can hold: out of line in either case.
    with open_store(PostgresFormat, tmp_path / "store", "test", {"storage": storage}) as dataset:
        assert_same(dataset.batch([2, 0]), splits["test"].expect([2, 0]))
    with pytest.raises(StoreError, match="was prepared with"):
        open_store(
            PostgresFormat, tmp_path / "store", "train", {"storage": "toast" if storage == "inline" else "inline"}
        ).open()


def test_reading_leaves_every_file_as_it_was(embedded: Stored) -> None:
    location, _ = embedded
    files = open_store(PostgresFormat, location, "train").info.files
    assert len([name for name in files if name.startswith("pgdata/base/")]) == 8
    before = {name: (location / name).read_bytes() for name in files if "pg_control" not in name}
    with open_store(PostgresFormat, location, "train") as dataset:
        for _ in range(3):
            dataset.batch(list(range(41)))
    assert {name: (location / name).read_bytes() for name in before} == before


def test_rows_are_found_by_the_index(embedded: Stored) -> None:
    location, _ = embedded
    with open_store(PostgresFormat, location, "train") as dataset:
        dataset.batch([0])
        reader = dataset._ready().reader
        connection = reader.connection()
        plan = connection.execute("EXPLAIN EXECUTE batch('{1,2,3}')").fetchall()
        reader.release(connection)
        assert "Index Scan" in plan[0][0]


def test_the_idiom_gives_the_same_batches(embedded: Stored) -> None:
    location, _ = embedded
    batches = [np.array([3, 1, 3, 40]), np.array([0])]
    with open_store(PostgresFormat, location, "train") as dataset, idiom(dataset) as read:
        for wanted in batches:
            images, labels = read(wanted)
            batch = dataset.batch(wanted)
            assert np.array_equal(batch.images.numpy(), images)
            assert np.array_equal(batch.labels.numpy(), labels)


def test_a_killed_prepare_leaves_no_server(embedded: Stored, tmp_path: Path) -> None:
    location, splits = tmp_path / "store", embedded[1]
    told = tmp_path / "told"

    def die() -> None:
        told.write_bytes((tmp_path / ".store.partial" / "server.lock").read_bytes())
        pid = (tmp_path / ".store.partial" / "pgdata" / "postmaster.pid").read_text().split()[0]
        (tmp_path / "pid").write_text(pid)
        os.kill(os.getpid(), signal.SIGKILL)

    breaking = {"train": Breaking(splits["train"], die)}
    assert in_fork(lambda: prepare(location, breaking)) == -signal.SIGKILL
    prepare(location, splits)  # at once
    with open_store(PostgresFormat, location, "test") as dataset:
        assert_same(dataset.batch([1]), splits["test"].expect([1]))
    runtime = told.read_text().split('"')[3].rsplit("/", 1)[0]
    assert wait_until(lambda: nothing_left([int((tmp_path / "pid").read_text())], runtime))


def test_a_lost_server_is_one_sentence(embedded: Stored) -> None:
    location, splits = embedded
    dataset = open_store(PostgresFormat, location, "train").open()
    dataset.batch([0])
    pid = int(dataset.connection_info().server_pid or 0)
    os.kill(pid, signal.SIGQUIT)
    assert wait_until(lambda: not alive(pid))
    for _ in range(2):
        with pytest.raises(BackendError, match=r"^(lost the|cannot connect to the) PostgreSQL server[^\n]*; [^\n]*$"):
            dataset.batch([0])
    dataset.close()
    assert same(dataset.batch([5]), splits["train"].expect([5]))  # a new server
    dataset.close()


def test_a_failed_read_names_the_log_which_is_there(embedded: Stored) -> None:
    location, _ = embedded
    dataset = open_store(PostgresFormat, location, "train").open()
    pid = int(dataset.connection_info().server_pid or 0)
    os.kill(pid, signal.SIGQUIT)
    assert wait_until(lambda: not alive(pid))
    for _ in range(2):  # on a connection that was lost, and on none
        with pytest.raises(BackendError) as caught:
            dataset.batch([0])
        assert f"look into its log {location / 'server.log'}" in str(caught.value)
    dataset.close()
    assert "immediate shutdown" in (location / "server.log").read_text()


def test_a_failed_preparation_quotes_the_log_that_goes_with_it(tmp_path: Path) -> None:
    def end_server() -> None:
        folder = tmp_path / ".store.partial"
        os.kill(int((folder / "pgdata" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        assert wait_until(lambda: (folder / "server.lock").read_bytes() == b"")

    splits = make_splits()
    with pytest.raises(BackendError, match=r"its log ends: .*immediate shutdown") as caught:
        prepare(tmp_path / "store", {"train": Breaking(splits["train"], end_server)})
    assert "look into" not in str(caught.value)
    assert not list(tmp_path.rglob("*.log"))


def test_a_prepared_store_holds_no_log(tmp_path: Path) -> None:
    prepare(tmp_path / "store", {"train": make_splits()["test"]})
    assert not (tmp_path / "store" / "server.log").exists()


def test_threads_read_on_connections_of_their_own(embedded: Stored) -> None:
    location, splits = embedded

    def read(seed: int) -> bool:
        order = np.random.default_rng(seed).integers(0, 41, 30).tolist()
        return same(dataset.batch(order), splits["train"].expect(order))

    with open_store(PostgresFormat, location, "train") as dataset, ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(100)))
        assert 1 <= len(dataset._ready().reader._idle) <= 4


def test_rows_on_the_user_s_server(on_dsn: Stored, dsn: str) -> None:
    location, splits = on_dsn
    assert sorted(path.name for path in location.iterdir()) == [
        "store.json",
        TABLES,
        "test.checksums",
        "train.checksums",
    ]
    with open_store(PostgresFormat, location, "train", {"dsn": dsn}) as dataset:
        assert_same(dataset.batch([7, 3, 3, -1]), splits["train"].expect([7, 3, 3, -1]))
        assert dataset.connection_info().server_pid is None
        with pickle.loads(pickle.dumps(dataset)) as again:  # noqa: S301 - our own bytes
            assert_same(again.batch([1]), splits["train"].expect([1]))
        loader: Any = DataLoader(dataset, batch_size=20, num_workers=2, multiprocessing_context="fork")
        assert [len(batch.labels) for batch in loader] == [20, 20, 1]


def test_the_user_s_server_tells_what_its_cache_lacked(tmp_path: Path, embedded: Stored) -> None:
    folder, location, splits = tmp_path / "own", tmp_path / "store", make_splits()
    folder.mkdir()
    EmbeddedServer.create(folder).close()

    def started() -> tuple[EmbeddedServer, str]:
        server = EmbeddedServer.open(folder, "socket", 32 << 20)
        return server, make_conninfo("", **{**server.conninfo("socket"), "options": "-c track_counts=on"})

    server, dsn = started()
    prepare(location, splits, {"dsn": dsn})
    server.close()
    server, dsn = started()  # with an empty cache
    with open_store(PostgresFormat, location, "train", {"dsn": dsn}) as dataset:
        dataset.batch(range(len(dataset)))
        once = dataset.reader.read_bytes()
        dataset.batch(range(len(dataset)))
        assert once is not None
        assert once >= len(dataset) * int(np.prod(dataset.split_info.fixed_shape))
        assert dataset.reader.read_bytes() == once
    with open_store(PostgresFormat, location, "train", {"dsn": dsn.replace("=on", "=off")}) as silent:
        assert silent.reader.read_bytes() is None
    server.close()
    with PostgresFormat(embedded[0], "train") as own:
        assert own.reader.read_bytes() is None


def test_the_password_is_nowhere(on_dsn: Stored, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location, _ = on_dsn
    secret = password_of(dsn)
    options = parse_options(PostgresOptions, {"dsn": dsn}, "postgres")
    assert options.public()["dsn"] == "given"
    assert "dsn" not in options.stored()
    assert options.stored()["server"] == "dsn"
    said = [repr(options), str(options), str(options.public()), str(options.model_dump(mode="json"))]
    said += [path.read_text(errors="replace") for path in location.iterdir()]
    for wrong in (dsn.replace(secret, "wrong-" + secret), dsn + " port=1", dsn + " dbname=nowhere", dsn + " nonsense"):
        with pytest.raises(LoaderError) as caught:
            open_store(PostgresFormat, location, "train", {"dsn": wrong}).open()
        said.append(str(caught.value))
        assert "\n" not in str(caught.value)
        assert ";" in str(caught.value)
    assert not [text for text in said if secret in text]
    assert "correct user and password" in said[-4]
    assert "is running" in said[-3]
    assert "correct dbname" in said[-2]
    assert "not a connection string" in said[-1]


def test_the_dsn_may_come_from_the_environment(on_dsn: Stored, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location, splits = on_dsn
    monkeypatch.setenv(postgres.DSN_VARIABLE, dsn)
    with open_store(PostgresFormat, location, "test") as dataset:
        assert_same(dataset.batch([4]), splits["test"].expect([4]))
    assert PostgresOptions(server="embedded").dsn is None
    monkeypatch.delenv(postgres.DSN_VARIABLE)
    with pytest.raises(StoreError, match=r"was prepared with .*dsn"):
        open_store(PostgresFormat, location, "test").open()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"server": "dsn"}, "needs a connection string; give dsn"),
        ({"server": "embedded", "dsn": "host=x"}, "takes no dsn"),
        ({"dsn": "host=x", "transport": "tcp"}, "say in the dsn"),
        ({"storage": "column"}, "'inline' or 'toast'"),
        ({"strange": "1"}, "has no option 'strange'"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_options(PostgresOptions, given, "postgres")


def test_a_dsn_needs_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_programs", lambda: Found(None, "none here"))
    assert PostgresFormat.unavailable(PostgresOptions()) == "none here"
    assert PostgresFormat.unavailable(parse_options(PostgresOptions, {"dsn": "host=x"}, "postgres")) is None


def test_preparing_again_drops_the_old_tables(on_dsn: Stored, dsn: str, tmp_path: Path) -> None:
    location, splits = on_dsn
    other = tmp_path / "other"
    prepare(other, splits, {"dsn": dsn})
    first = set(read_tables(location).names.values())
    assert first < tables_on(dsn)
    prepare(location, {"train": splits["test"]}, {"dsn": dsn})
    second = set(read_tables(location).names.values())
    assert second < tables_on(dsn)
    assert not first & tables_on(dsn)
    with open_store(PostgresFormat, location, "train", {"dsn": dsn}) as dataset:
        assert_same(dataset.batch([12]), splits["test"].expect([12]))
    with PostgresFormat(other, "train", {"dsn": dsn}) as dataset:  # another store on the same server
        assert_same(dataset.batch([12]), splits["train"].expect([12]))


@pytest.mark.parametrize("kill", [False, True])
def test_an_interrupted_prepare_leaves_the_tables_as_they_were(on_dsn: Stored, dsn: str, kill: bool) -> None:
    location, splits = on_dsn
    before = tables_on(dsn)

    def act() -> None:
        if kill:
            os.kill(os.getpid(), signal.SIGKILL)
        raise Interruption

    breaking = {**splits, "test": Breaking(splits["train"], act)}
    if kill:
        assert in_fork(lambda: prepare(location, breaking, {"dsn": dsn})) == -signal.SIGKILL
    else:
        with pytest.raises(Interruption):
            prepare(location, breaking, {"dsn": dsn})
    assert tables_on(dsn) == before
    with open_store(PostgresFormat, location, "train", {"dsn": dsn}) as dataset:
        assert_same(dataset.batch([0]), splits["train"].expect([0]))


def test_a_killed_prepare_goes_on_with_its_tables(
    on_dsn: Stored, dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)
    _, splits = on_dsn
    before = tables_on(dsn)

    def killed(attempt: str) -> None:
        breaking = {**splits, "train": Breaking(splits["train"], lambda: os.kill(os.getpid(), signal.SIGKILL))}
        assert in_fork(lambda: prepare(tmp_path / attempt, breaking, {"dsn": dsn})) == -signal.SIGKILL

    killed("first")
    assert len(tables_on(dsn)) == len(before) + 1
    done: list[int] = []
    options = parse_options(PostgresOptions, {"dsn": dsn}, "postgres")
    first = tmp_path / "first"
    info = store_samples(PostgresFormat, splits, first, options, dataset=INFO, progress=done.append)
    assert (done[0], info.attempts) == (32, 2)
    for split, mine in splits.items():
        with PostgresFormat(first, split, {"dsn": dsn}) as dataset:
            assert_same(dataset.batch(list(range(len(mine)))), mine.expect(list(range(len(mine)))))
    assert len(tables_on(dsn)) == len(before) + 2

    killed("second")
    (half,) = tables_on(dsn) - before - set(read_tables(first).names.values())
    run(dsn, "DROP TABLE {}", half)  # the notes speak of it
    assert prepare(tmp_path / "second", splits, {"dsn": dsn}).attempts == 1

    killed("third")
    (half,) = (
        tables_on(dsn) - before - {t for s in ("first", "second") for t in read_tables(tmp_path / s).names.values()}
    )
    other = INFO.model_copy(update={"fingerprint": "another"})
    store_samples(PostgresFormat, splits, tmp_path / "third", options, dataset=other)
    assert half not in tables_on(dsn)  # of other data, and nobody else would remove it


def test_changed_tables_are_refused(on_dsn: Stored, dsn: str, tmp_path: Path) -> None:
    location, splits = on_dsn
    table = read_tables(location).names["train"]
    with open_store(PostgresFormat, location, "train", {"dsn": dsn}) as dataset:
        run(dsn, "UPDATE {} SET label = 7 WHERE id = 9", table)
        with pytest.raises(StoreError, match=r"label of sample 9 of the train split in .* is 7, outside 0\.\.6"):
            dataset.batch([6, 9, 8])
        run(dsn, "DELETE FROM {} WHERE id = 7", table)
        with pytest.raises(StoreError, match="has no row 7; prepare"):
            dataset.batch([6, 7])
        assert_same(dataset.batch([6]), splits["train"].expect([6]))
    with pytest.raises(StoreError, match="has 40 rows instead of 41; prepare"):
        open_store(PostgresFormat, location, "train", {"dsn": dsn}).open()
    run(dsn, 'COMMENT ON TABLE {} IS \'{{"loader-bench": "1"}}\'', table)
    with pytest.raises(StoreError, match="is not the one that store"):
        open_store(PostgresFormat, location, "train", {"dsn": dsn}).open()
    run(dsn, "COMMENT ON TABLE {} IS 'mine'", table)
    with pytest.raises(StoreError, match=r"has no table bench\.train_"):
        open_store(PostgresFormat, location, "train", {"dsn": dsn}).open()
    run(dsn, "DROP TABLE {}", table)
    with pytest.raises(StoreError, match=r"has no table bench\.train_"):
        open_store(PostgresFormat, location, "train", {"dsn": dsn}).open()
    with open_store(PostgresFormat, location, "test", {"dsn": dsn}) as dataset:
        run(dsn, "DROP TABLE {}", read_tables(location).names["test"])
        with pytest.raises(BackendError, match="does not exist"):
            dataset.batch([0])


def test_a_user_who_may_not_create_is_told_so(dsn: str, tmp_path: Path) -> None:
    run(dsn, "CREATE ROLE weak LOGIN PASSWORD 'weak'")
    try:
        weak = make_conninfo(dsn, user="weak", password="weak", dbname="template1")  # noqa: S106 - made here
        with pytest.raises(BackendError, match="permission denied for database template1; grant the user CREATE"):
            prepare(tmp_path / "store", make_splits(), {"dsn": weak})
        assert not (tmp_path / "store").exists()
    finally:
        run(dsn, "DROP ROLE weak")


@pytest.fixture
def role(dsn: str) -> Iterator[str]:
    """The dsn of a role that may do anything, and for which a test sets things."""
    run(dsn, "CREATE ROLE other LOGIN SUPERUSER PASSWORD 'other'")
    yield make_conninfo(dsn, user="other", password="other")  # noqa: S106 - made here
    run(dsn, "DROP OWNED BY other CASCADE")
    run(dsn, "DROP ROLE other")


def test_settings_of_the_user_s_server_have_their_own_remedies(
    on_dsn: Stored, dsn: str, role: str, tmp_path: Path
) -> None:
    location, splits = on_dsn
    run(dsn, "ALTER ROLE other SET default_transaction_read_only = on")
    with pytest.raises(
        BackendError, match="read-only transaction; prepare on a server that may be written: no standby"
    ):
        prepare(tmp_path / "other", splits, {"dsn": role})
    with open_store(PostgresFormat, location, "train", {"dsn": role}) as dataset:  # reading needs nothing more
        assert_same(dataset.batch([7]), splits["train"].expect([7]))
    run(dsn, "ALTER ROLE other RESET ALL")
    run(dsn, "ALTER ROLE other SET statement_timeout = 200")
    table = read_tables(location).names["train"]
    with psycopg.connect(dsn) as other, open_store(PostgresFormat, location, "train", {"dsn": role}) as dataset:
        other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(SCHEMA, table)))
        with pytest.raises(BackendError, match="due to statement timeout; set statement_timeout to 0 for the user"):
            dataset.batch([0])
        other.rollback()
        run(dsn, "ALTER ROLE other RESET ALL")
        run(dsn, "ALTER ROLE other SET lock_timeout = 200")
        other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(SCHEMA, table)))
        with pytest.raises(BackendError, match="due to lock timeout; end the session that locks the table"):
            dataset.batch([0])
        other.rollback()
        run(dsn, "ALTER ROLE other RESET ALL")
    with open_store(PostgresFormat, location, "train", {"dsn": role}) as dataset:
        assert_same(dataset.batch([0]), splits["train"].expect([0]))


def test_a_session_that_its_administrator_ends_is_told_so(on_dsn: Stored, dsn: str, role: str) -> None:
    location, _ = on_dsn
    table = read_tables(location).names["train"]
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'other' AND wait_event_type = 'Lock'"
    with psycopg.connect(dsn) as other, ThreadPoolExecutor(1) as pool:
        other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(SCHEMA, table)))
        opening = pool.submit(open_store(PostgresFormat, location, "train", {"dsn": role}).open)
        assert wait_until(lambda: bool(run(dsn, end)) or opening.done())
        with pytest.raises(BackendError, match="administrator command; the server or the session was ended by"):
            opening.result()


def test_a_slow_source_may_outlast_the_server_s_patience(dsn: str, role: str, tmp_path: Path) -> None:
    run(dsn, "ALTER ROLE other SET statement_timeout = 300")
    slow = {"train": Breaking(make_splits()["train"], lambda: time.sleep(1))}
    with pytest.raises(BackendError, match="set statement_timeout to 0 for the user"):
        prepare(tmp_path / "store", slow, {"dsn": role})


def test_refused_connections_have_their_own_remedies(on_dsn: Stored, dsn: str, role: str) -> None:
    location, _ = on_dsn

    def refused(dsn: str) -> str:
        with pytest.raises(BackendError) as caught:
            open_store(PostgresFormat, location, "train", {"dsn": dsn}).open()
        return str(caught.value).rpartition("; ")[2]

    run(dsn, "ALTER ROLE other CONNECTION LIMIT 0 NOSUPERUSER")
    assert refused(role).startswith("allow the server more connections")
    run(dsn, "ALTER ROLE other NOLOGIN")
    assert refused(role).startswith("correct user and password")
    assert refused(make_conninfo(dsn, user="nobody")).startswith("correct user and password")
    assert refused(make_conninfo(dsn, dbname="nowhere")).startswith("correct dbname")
    assert refused(make_conninfo("", host="/" + "x" * 120)).startswith("give the socket's folder a shorter path")
    assert refused(make_conninfo("", host="/database")).startswith("check that it is running")


def test_a_store_of_another_version_is_refused(embedded: Stored, tmp_path: Path) -> None:
    shutil.copytree(embedded[0], tmp_path / "store")
    (tmp_path / "store" / "pgdata" / "PG_VERSION").write_text("9\n")  # two bytes, as many as "18" has digits
    with pytest.raises(StoreError):
        open_store(PostgresFormat, tmp_path / "store", "train").open()
    (tmp_path / "store" / TABLES).write_text("{}" * 70)
    with pytest.raises(StoreError, match="prepare it again"):
        open_store(PostgresFormat, tmp_path / "store", "train").open()
