"""What is special to PostgreSQL: servers of the user's own, secrets, tables, and what a lost server leaves."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from torch.utils.data import DataLoader

from bench.idioms.postgres import idiom
from loaders import (
    BackendError,
    LoaderError,
    OptionError,
    StoreDataset,
    StoreError,
    StoreInfo,
    parse_options,
    prepare_store,
)
from loaders.formats.postgres import format as postgres
from loaders.formats.postgres.format import PostgresFormat
from loaders.formats.postgres.options import DSN_VARIABLE, PostgresOptions
from loaders.formats.postgres.reader import PostgresReader
from loaders.formats.postgres.server import EmbeddedServer
from loaders.formats.postgres.tables import SCHEMA, TABLES, read_tables
from loaders.testing import INFO, Breaking, Interruption, Samples, assert_same, die, in_fork, make_splits
from tests.test_pgserver import alive, copy_of_a_store, nothing_left, wait_until

Stored = tuple[Path, dict[str, Samples]]
REASON = PostgresFormat.configured().unavailable()

pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def prepare(location: Path, splits: Mapping[str, Any], options: dict[str, Any] | None = None) -> StoreInfo:
    return prepare_store(PostgresFormat.configured(options), splits, location, dataset=INFO)


def opened(location: Path, split: str = "train", options: dict[str, Any] | None = None) -> StoreDataset:
    return StoreDataset(PostgresFormat.configured(options), location, split)


def reader_of(dataset: StoreDataset) -> PostgresReader:
    assert isinstance(dataset.reader, PostgresReader)
    return dataset.reader


def server_pid(dataset: StoreDataset) -> int:
    pid = reader_of(dataset).connection_info.server_pid
    assert pid is not None
    return pid


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    location = tmp_path_factory.mktemp("embedded") / "store"
    splits = make_splits("jpeg")
    prepare(location, splits)
    assert not (location / "server.log").exists()
    return location, splits


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that stands for the user's own: on TCP, with a password."""
    server = EmbeddedServer.open(copy_of_a_store(tmp_path_factory), "tcp", 32 << 20)
    parameters = conninfo_to_dict(server.conninfo("tcp"))
    yield make_conninfo("", **{key: parameters[key] for key in ("host", "port", "user", "dbname", "password")})
    server.close()


@pytest.fixture
def on_dsn(dsn: str, tmp_path: Path) -> Stored:
    location, splits = tmp_path / "store", make_splits()
    prepare(location, splits, {"dsn": dsn})
    return location, splits


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
    with opened(location) as train, opened(location, "test") as test:
        pid = server_pid(train)
        assert server_pid(test) == pid
    assert not alive(pid)
    with pytest.raises(ZeroDivisionError), opened(location) as train:
        pid = server_pid(train)
        raise ZeroDivisionError
    assert not alive(pid)
    forgotten = opened(location)
    forgotten.batch([1, 2])
    pid = server_pid(forgotten)
    del forgotten
    assert wait_until(lambda: not alive(pid))


def test_workers_alone_start_and_share_it(embedded: Stored) -> None:
    location, splits = embedded
    loader: Any = DataLoader(opened(location), batch_size=6, num_workers=2, multiprocessing_context="fork")
    for number, batch in enumerate(loader):
        assert_same(batch, splits["train"].expect(list(range(41))[number * 6 : number * 6 + 6]))
    assert wait_until(lambda: (location / "server.lock").read_bytes() == b"")


def test_storage_decides_where_the_bytes_are(tmp_path: Path, dsn: str) -> None:
    splits = {"train": Samples(100, (3, 32, 32)), "test": Samples(3, (3, 64, 64))}
    for storage, other in (("inline", "toast"), ("toast", "inline")):
        location, options = tmp_path / storage, {"storage": storage, "dsn": dsn}
        prepare(location, splits, options)
        with opened(location, "train", options) as dataset:
            (sizes,) = run(
                dsn,
                "SELECT pg_relation_size(oid), pg_relation_size(reltoastrelid) FROM pg_class "
                "WHERE oid = (SELECT tableoid FROM {} LIMIT 1)",
                reader_of(dataset).connection_info.table,
            )
            within, outside = sizes if storage == "inline" else reversed(sizes)
            assert (within >= 100 * 3072, outside < 100 * 1000) == (True, True), storage
            order = np.random.default_rng(0).integers(0, 100, 64)
            assert_same(dataset.batch(order), splits["train"].expect(order.tolist()))
        # More than a page can hold: out of line in either case.
        with opened(location, "test", options) as dataset:
            assert_same(dataset.batch([2, 0]), splits["test"].expect([2, 0]))
        with pytest.raises(StoreError, match="was prepared with"):
            opened(location, "train", {**options, "storage": other}).open()


def test_reading_leaves_every_file_as_it_was(embedded: Stored) -> None:
    location, _ = embedded
    files = opened(location).info.files
    assert len([name for name in files if name.startswith("pgdata/base/")]) == 8
    before = {name: (location / name).read_bytes() for name in files if "pg_control" not in name}
    with opened(location) as dataset:
        for _ in range(3):
            dataset.batch(list(range(41)))
    assert {name: (location / name).read_bytes() for name in before} == before


def test_rows_are_found_by_the_index_as_by_the_idiom(embedded: Stored) -> None:
    location, _ = embedded
    with opened(location) as dataset:
        with reader_of(dataset).connection() as connection:
            plan = connection.execute("EXPLAIN EXECUTE batch('{1,2,3}')").fetchall()
        assert "Index Scan" in plan[0][0]
        with idiom(dataset) as read:
            for indices in (np.array([3, 1, 3, 40]), np.array([0])):
                images, labels = read(indices)
                batch = dataset.batch(indices)
                assert np.array_equal(batch.images.numpy(), images)
                assert np.array_equal(batch.labels.numpy(), labels)


def test_a_killed_prepare_leaves_no_server(embedded: Stored, tmp_path: Path) -> None:
    location, splits = tmp_path / "store", embedded[1]
    lock = tmp_path / "lock"

    def note_and_die() -> None:
        lock.write_bytes((tmp_path / ".store.partial" / "server.lock").read_bytes())
        pid = (tmp_path / ".store.partial" / "pgdata" / "postmaster.pid").read_text().split()[0]
        (tmp_path / "pid").write_text(pid)
        die()

    breaking = {"train": Breaking(splits["train"], note_and_die)}
    assert in_fork(lambda: prepare(location, breaking)) == -signal.SIGKILL
    prepare(location, splits)  # at once
    with opened(location, "test") as dataset:
        assert_same(dataset.batch([1]), splits["test"].expect([1]))
    runtime = lock.read_text().split('"')[3].rsplit("/", 1)[0]
    assert wait_until(lambda: nothing_left([int((tmp_path / "pid").read_text())], runtime))


def test_a_lost_server_is_one_sentence_that_names_the_log(embedded: Stored) -> None:
    location, splits = embedded
    dataset = opened(location).open()
    dataset.batch([0])
    pid = server_pid(dataset)
    os.kill(pid, signal.SIGQUIT)
    assert wait_until(lambda: not alive(pid))
    for _ in range(2):  # on a connection that was lost, and on none
        with pytest.raises(
            BackendError, match=r"^cannot (read table bench\.train_|connect to the PostgreSQL server)[^\n]*; [^\n]*$"
        ) as caught:
            dataset.batch([0])
        assert f"read its log {location / 'server.log'}" in str(caught.value)
    dataset.close()
    assert "immediate shutdown" in (location / "server.log").read_text()
    assert_same(dataset.batch([5]), splits["train"].expect([5]))  # a new server
    dataset.close()


def test_a_failed_preparation_quotes_the_log_that_goes_with_it(tmp_path: Path) -> None:
    def end_server() -> None:
        folder = tmp_path / ".store.partial"
        os.kill(int((folder / "pgdata" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        assert wait_until(lambda: (folder / "server.lock").read_bytes() == b"")

    with pytest.raises(BackendError, match=r"its log ends: .*immediate shutdown") as caught:
        prepare(tmp_path / "store", {"train": Breaking(make_splits()["train"], end_server)})
    assert "look into" not in str(caught.value)
    assert not list(tmp_path.rglob("*.log"))


def test_threads_read_on_connections_of_their_own(embedded: Stored) -> None:
    location, splits = embedded

    def read(seed: int) -> None:
        order = np.random.default_rng(seed).integers(0, 41, 30).tolist()
        assert_same(dataset.batch(order), splits["train"].expect(order))

    with opened(location) as dataset, ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(40)))
        assert 1 <= len(reader_of(dataset)._idle) <= 4


def test_rows_on_the_user_s_server(on_dsn: Stored, dsn: str) -> None:
    location, splits = on_dsn
    names = {path.name for path in location.iterdir()}
    assert names == {"store.json", TABLES, "test.checksums", "train.checksums"}
    with opened(location, "train", {"dsn": dsn}) as dataset:
        assert_same(dataset.batch([7, 3, 3, -1]), splits["train"].expect([7, 3, 3, -1]))
        assert reader_of(dataset).connection_info.server_pid is None
        with pickle.loads(pickle.dumps(dataset)) as again:  # noqa: S301 - our own bytes
            assert_same(again.batch([1]), splits["train"].expect([1]))
        loader: Any = DataLoader(dataset, batch_size=20, num_workers=2, multiprocessing_context="fork")
        assert [len(batch.labels) for batch in loader] == [20, 20, 1]


def test_the_user_s_server_tells_what_its_cache_lacked(
    tmp_path: Path, embedded: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, location = copy_of_a_store(tmp_path_factory), tmp_path / "store"

    def started() -> tuple[EmbeddedServer, str]:
        server = EmbeddedServer.open(folder, "socket", 32 << 20)
        return server, make_conninfo(server.conninfo("socket"), options="-c track_counts=on")

    server, dsn = started()
    prepare(location, make_splits(), {"dsn": dsn})
    server.close()
    server, dsn = started()  # with an empty cache
    with opened(location, "train", {"dsn": dsn}) as dataset:
        dataset.batch(range(len(dataset)))
        once = dataset.reader.read_bytes()
        dataset.batch(range(len(dataset)))
        assert once is not None
        assert once >= len(dataset) * int(np.prod(dataset.split_info.fixed_shape))
        assert dataset.reader.read_bytes() == once
    with opened(location, "train", {"dsn": dsn.replace("=on", "=off")}) as silent:
        assert silent.reader.read_bytes() is None
    server.close()
    with opened(embedded[0]) as own:
        assert own.reader.read_bytes() is None


def test_the_password_is_nowhere(on_dsn: Stored, dsn: str) -> None:
    location, _ = on_dsn
    secret = str(conninfo_to_dict(dsn)["password"])
    options = parse_options(PostgresOptions, {"dsn": dsn}, "postgres")
    assert options.public()["dsn"] == "given"
    assert secret in options.private()
    assert "dsn" not in options.stored()
    assert options.stored()["server"] == "dsn"
    said = [repr(options), str(options), str(options.public()), str(options.model_dump(mode="json"))]
    said += [path.read_text(errors="replace") for path in location.iterdir()]
    for wrong, remedy in (
        (dsn.replace(secret, "wrong-" + secret), "correct user and password"),
        (dsn + " port=1", "is running"),
        (dsn + " dbname=nowhere", "correct dbname"),
        (dsn + " nonsense", "not a connection string"),
    ):
        with pytest.raises(LoaderError, match=remedy) as caught:
            opened(location, "train", {"dsn": wrong}).open()
        said.append(str(caught.value))
        assert "\n" not in str(caught.value)
        assert ";" in str(caught.value)
    assert not [text for text in said if secret in text]


def test_the_dsn_may_come_from_the_environment(on_dsn: Stored, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location, splits = on_dsn
    monkeypatch.setenv(DSN_VARIABLE, dsn)
    with opened(location, "test") as dataset:
        assert_same(dataset.batch([4]), splits["test"].expect([4]))
    assert PostgresOptions(server="embedded").dsn is None
    monkeypatch.delenv(DSN_VARIABLE)
    with pytest.raises(StoreError, match=r"was prepared with .*dsn"):
        opened(location, "test").open()
    monkeypatch.setattr(postgres, "find_programs", lambda: "none here")
    assert PostgresFormat.configured().unavailable() == "none here"
    assert PostgresFormat.configured({"dsn": "host=x"}).unavailable() is None  # needs no programs


def test_options_that_make_no_sense_are_refused() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"server": "dsn"}, "needs a connection string; give dsn"),
        ({"server": "embedded", "dsn": "host=x"}, "takes no dsn"),
        ({"dsn": "host=x", "transport": "tcp"}, "say in the dsn"),
        ({"storage": "column"}, "'inline' or 'toast'"),
        ({"strange": "1"}, "has no option 'strange'"),
    ]
    for options, message in cases:
        with pytest.raises(OptionError, match=message):
            parse_options(PostgresOptions, options, "postgres")


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
    with opened(location, "train", {"dsn": dsn}) as dataset:
        assert_same(dataset.batch([12]), splits["test"].expect([12]))
    with opened(other, "train", {"dsn": dsn}) as dataset:  # another store on the same server
        assert_same(dataset.batch([12]), splits["train"].expect([12]))


def test_an_interrupted_prepare_leaves_the_tables_as_they_were(on_dsn: Stored, dsn: str) -> None:
    location, splits = on_dsn
    before = tables_on(dsn)

    def interrupt() -> None:
        with opened(location, "train", {"dsn": dsn}) as dataset:  # while the new tables are written
            assert_same(dataset.batch([0]), splits["train"].expect([0]))
        raise Interruption

    killed = {**splits, "test": Breaking(splits["train"], die)}
    assert in_fork(lambda: prepare(location, killed, {"dsn": dsn})) == -signal.SIGKILL
    with pytest.raises(Interruption):
        prepare(location, {**splits, "test": Breaking(splits["train"], interrupt)}, {"dsn": dsn})
    assert tables_on(dsn) == before
    with opened(location, "train", {"dsn": dsn}) as dataset:
        assert_same(dataset.batch([0]), splits["train"].expect([0]))


def test_changed_tables_are_refused(on_dsn: Stored, dsn: str) -> None:
    location, splits = on_dsn
    table = read_tables(location).names["train"]
    with opened(location, "train", {"dsn": dsn}) as dataset:
        run(dsn, "UPDATE {} SET label = 7 WHERE id = 9", table)
        with pytest.raises(StoreError, match=r"label of sample 9 of the train split in .* is 7, outside 0\.\.6"):
            dataset.batch([6, 9, 8])
        run(dsn, "UPDATE {} SET image = '123' WHERE id = 8", table)
        with pytest.raises(StoreError, match=r"image 8 of the train split in .* has 3 bytes instead of 576; remove"):
            dataset.batch([6, 8])
        run(dsn, "DELETE FROM {} WHERE id = 7", table)
        with pytest.raises(StoreError, match="has no row 7; prepare"):
            dataset.batch([6, 7])
        assert_same(dataset.batch([6]), splits["train"].expect([6]))
    with pytest.raises(StoreError, match="has 40 rows instead of 41; prepare"):
        opened(location, "train", {"dsn": dsn}).open()
    run(dsn, 'COMMENT ON TABLE {} IS \'{{"loader-bench": "1"}}\'', table)
    with pytest.raises(StoreError, match="is not the one that store"):
        opened(location, "train", {"dsn": dsn}).open()
    for statement in ("COMMENT ON TABLE {} IS 'mine'", "DROP TABLE {}"):
        run(dsn, statement, table)
        with pytest.raises(StoreError, match=r"has no table bench\.train_"):
            opened(location, "train", {"dsn": dsn}).open()
    with opened(location, "test", {"dsn": dsn}) as dataset:
        run(dsn, "DROP TABLE {}", read_tables(location).names["test"])
        with pytest.raises(BackendError, match="does not exist"):
            dataset.batch([0])


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
    with opened(location, "train", {"dsn": role}) as dataset:  # reading needs nothing more
        assert_same(dataset.batch([7]), splits["train"].expect([7]))
    table = read_tables(location).names["train"]
    run(dsn, "ALTER ROLE other RESET ALL")
    run(dsn, "ALTER ROLE other SET statement_timeout = 200")
    with psycopg.connect(dsn) as other, opened(location, "train", {"dsn": role}) as dataset:
        other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(SCHEMA, table)))
        with pytest.raises(BackendError, match="due to statement timeout; set statement_timeout to 0 for the user"):
            dataset.batch([0])
        other.rollback()
        run(dsn, "ALTER ROLE other RESET ALL")
        run(dsn, "ALTER ROLE other SET lock_timeout = 200")
        other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(SCHEMA, table)))
        with pytest.raises(BackendError, match="due to lock timeout; end the session that locks the table"):
            dataset.batch([0])
    run(dsn, "ALTER ROLE other RESET ALL")
    run(dsn, "ALTER ROLE other SET statement_timeout = 100")
    slow = {"train": Breaking(splits["train"], lambda: time.sleep(0.4))}  # a source may outlast the server's patience
    with pytest.raises(BackendError, match="set statement_timeout to 0 for the user"):
        prepare(tmp_path / "slow", slow, {"dsn": role})


def test_a_session_that_its_administrator_ends_is_told_so(on_dsn: Stored, dsn: str, role: str) -> None:
    location, _ = on_dsn
    table = read_tables(location).names["train"]
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'other' AND wait_event_type = 'Lock'"
    with psycopg.connect(dsn) as other, ThreadPoolExecutor(1) as pool:
        other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(SCHEMA, table)))
        opening = pool.submit(opened(location, "train", {"dsn": role}).open)
        assert wait_until(lambda: bool(run(dsn, end)) or opening.done())
        with pytest.raises(BackendError, match="administrator command; the server or the session was ended by"):
            opening.result()


def test_refused_connections_have_their_own_remedies(on_dsn: Stored, dsn: str, role: str, tmp_path: Path) -> None:
    location, _ = on_dsn

    def remedy(dsn: str) -> str:
        with pytest.raises(BackendError) as caught:
            opened(location, "train", {"dsn": dsn}).open()
        return str(caught.value).rpartition("; ")[2]

    run(dsn, "ALTER ROLE other NOSUPERUSER")
    elsewhere = make_conninfo(role, dbname="template1")
    with pytest.raises(BackendError, match="permission denied for database template1; grant the user CREATE"):
        prepare(tmp_path / "other", make_splits(), {"dsn": elsewhere})
    assert not (tmp_path / "other").exists()
    run(dsn, "ALTER ROLE other CONNECTION LIMIT 0")
    assert remedy(role).startswith("allow the server more connections")
    run(dsn, "ALTER ROLE other NOLOGIN")
    assert remedy(role).startswith("correct user and password")
    assert remedy(make_conninfo(dsn, user="nobody")).startswith("correct user and password")
    assert remedy(make_conninfo(dsn, dbname="nowhere")).startswith("correct dbname")
    assert remedy(make_conninfo("", host="/" + "x" * 120)).startswith("give the socket's folder a shorter path")
    assert remedy(make_conninfo("", host="/database")).startswith("check that it is running")


def test_a_store_of_another_version_is_refused(embedded: Stored, tmp_path: Path) -> None:
    shutil.copytree(embedded[0], tmp_path / "store")
    (tmp_path / "store" / "pgdata" / "PG_VERSION").write_text("9\n")  # two bytes, as many as "18" has digits
    with pytest.raises(StoreError):
        opened(tmp_path / "store").open()
    (tmp_path / "store" / TABLES).write_text("{}" * 70)
    with pytest.raises(StoreError, match="prepare it again"):
        opened(tmp_path / "store").open()
