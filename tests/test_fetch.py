"""Downloads against a local server that misbehaves in every way seen, and extraction of hostile archives."""

from __future__ import annotations

import errno
import hashlib
import http.server
import socket
import stat
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import DataError, UsageError
from bench.sources import fetch as fetching
from bench.sources import files
from bench.sources.archives import extract, path_below
from bench.sources.base import Archive, Source
from bench.sources.cifar10 import Cifar10
from bench.sources.fetch import fetch
from bench.sources.files import sole_writer
from bench.sources.registry import open_source
from bench.sources.tiny_imagenet import TinyImageNet
from tests.refusals import refusal, silent
from tests.test_tiny_imagenet import write_zip

BODY = bytes(range(256)) * 4000
MD5 = hashlib.md5(BODY).hexdigest()  # noqa: S324


class Server(http.server.ThreadingHTTPServer):
    """Serves one body; ``plan`` lists what to do with the first requests: a status, or bytes after which to hang up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.plan: list[str] = []
        self.ranges: list[str | None] = []
        self.honours_range = True
        self.says_length = True
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        action = server.plan.pop(0) if server.plan else ""
        if action.isdigit():
            self.send_error(int(action))
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.honours_range else 0
        if start >= len(server.body) > 0:
            self.send_error(416)
            return
        rest = server.body[start:]
        self.send_response(206 if asked and server.honours_range else 200)
        if server.says_length:
            self.send_header("Content-Length", str(len(rest)))
        if asked and server.honours_range:
            stated = start + 7 if action == "wrong range" else start
            self.send_header("Content-Range", f"bytes {stated}-{len(server.body) - 1}/{len(server.body)}")
        self.end_headers()
        if action.startswith("cut "):
            rest = rest[: int(action.removeprefix("cut "))]
        if action == "hang":
            self.wfile.write(rest[:1000])
            self.wfile.flush()
            server.released.wait(10)
            return
        self.wfile.write(rest)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    monkeypatch.setattr(fetching, "TIMEOUT_S", 5.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def source(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setattr(Cifar10, "archive", Archive(server.url, "a.tar.gz", MD5, len(BODY)))
    return Cifar10(tmp_path)


class Reports:
    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        self.calls.append((what, done, total))


def left(source: Source) -> set[str]:
    return {path.name for path in source.folder.iterdir()} - {".lock"}


def test_download_is_verified_and_renamed(source: Source) -> None:
    reports = Reports()
    path = fetch(source, reports)
    assert path == source.folder / "a.tar.gz"
    assert path.read_bytes() == BODY
    assert left(source) == {"a.tar.gz"}
    assert reports.calls[-1] == ("downloading a.tar.gz", len(BODY), len(BODY))
    assert [done for _, done, _ in reports.calls] == sorted(done for _, done, _ in reports.calls)


def test_valid_archive_needs_no_server(source: Source, server: Server) -> None:
    fetch(source, silent)
    asked = len(server.ranges)
    reports = Reports()
    fetch(source, reports)
    assert len(server.ranges) == asked
    assert "there and verified" in reports.calls[0][0]


def test_interrupted_download_resumes_where_it_stopped(source: Source, server: Server) -> None:
    def interrupt(_what: str, done: int, _total: int) -> None:
        if done > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, interrupt)
    assert left(source) == {"a.tar.gz.part"}
    have = (source.folder / "a.tar.gz.part").stat().st_size
    assert 0 < have < len(BODY)
    assert fetch(source, silent).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={have}-"]


def test_lost_connections_are_resumed_as_long_as_bytes_come(source: Source, server: Server) -> None:
    server.plan = [f"cut {n}" for n in (100_000, 50_000, 0, 200_000, 1, 0, 0, 300_000)]
    assert fetch(source, silent).read_bytes() == BODY
    assert len(server.ranges) == 9
    assert server.ranges[1:3] == ["bytes=100000-", "bytes=150000-"]


@pytest.mark.parametrize("attribute", ["honours_range", "says_length"])
def test_server_that_ignores_ranges_or_states_no_length(attribute: str, source: Source, server: Server) -> None:
    setattr(server, attribute, False)
    server.plan = ["cut 100000"]
    assert fetch(source, silent).read_bytes() == BODY


def test_server_that_sends_another_range_than_asked(source: Source, server: Server) -> None:
    server.plan = ["cut 100000", "wrong range"]
    assert fetch(source, silent).read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-", None]


def test_passing_failures_of_the_server_are_tried_again_and_lasting_ones_are_one_sentence(
    source: Source, server: Server
) -> None:
    server.plan = ["500", "503", "429"]
    assert fetch(source, silent).read_bytes() == BODY
    (source.folder / "a.tar.gz").unlink()
    server.plan, server.ranges = ["503"] * 20, []
    with pytest.raises(
        DataError, match=r"answered 503 Service Unavailable; try again later.*a\.tar\.gz by other means"
    ):
        fetch(source, silent)
    assert len(server.ranges) == fetching.TRIES
    for status, reason in (("404", "Not Found"), ("403", "Forbidden"), ("410", "Gone")):
        server.plan, server.ranges = [status] * 5, []
        refused = refusal(fetch, source, silent)
        assert f"answered {status} {reason}; bring the file to {source.folder / 'a.tar.gz'} by other means" in refused
        assert len(server.ranges) == 1, status


def test_refused_connection_is_one_sentence(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        monkeypatch.setattr(Cifar10, "archive", Archive(url, "a", MD5))
        with pytest.raises(DataError, match="Connection refused; try again later"):
            fetch(Cifar10(tmp_path), silent)


def test_silent_server_is_one_sentence(source: Source, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(fetching, "TRIES", 1)
    server.plan = ["hang"] * 9
    server.honours_range = False
    with pytest.raises(DataError, match=r"the server was silent for 0\.2 s"):
        fetch(source, silent)


def test_unknown_host_and_lost_connection_have_their_words() -> None:
    for error, words in (
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (http.client.IncompleteRead(b""), "the connection was lost"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "Connection reset by peer"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
        (http.client.BadStatusLine("x"), "x"),
        (ConnectionResetError(), "ConnectionResetError"),
    ):
        assert fetching._network_reason(error) == words


def test_wrong_checksum_removes_the_file_and_the_next_try_starts_anew(source: Source, server: Server) -> None:
    server.body = BODY[:-1] + b"!"
    with pytest.raises(DataError, match=f"with md5 .* instead of {MD5}, which was removed; try again"):
        fetch(source, silent)
    assert left(source) == set()
    server.body = BODY
    assert fetch(source, silent).read_bytes() == BODY
    assert server.ranges == [None, None]


def test_a_part_is_verified_or_begun_anew(source: Source, server: Server) -> None:
    source.folder.mkdir()
    part, target = source.folder / "a.tar.gz.part", source.folder / "a.tar.gz"
    part.write_bytes(BODY)
    assert fetch(source, silent).read_bytes() == BODY
    assert server.ranges == []
    target.unlink()
    part.write_bytes(BODY + b"x")  # longer than the file
    assert fetch(source, silent).read_bytes() == BODY
    target.unlink()
    part.write_bytes(b"x" * 1000)  # of another file
    with pytest.raises(DataError, match="which was removed"):
        fetch(source, silent)
    assert fetch(source, silent).read_bytes() == BODY


def test_endless_body_is_given_up(source: Source, server: Server) -> None:
    server.body = BODY * 20
    with pytest.raises(DataError, match="which was removed"):
        fetch(source, silent)


def test_other_file_under_the_archives_name_is_kept_aside(source: Source) -> None:
    source.folder.mkdir()
    (source.folder / "a.tar.gz").write_bytes(BODY[:1000])
    reports = Reports()
    assert fetch(source, reports).read_bytes() == BODY
    assert left(source) == {"a.tar.gz", "a.tar.gz.wrong-checksum"}
    assert "another checksum than the official file; renamed" in reports.calls[0][0]


def test_full_disk_is_one_sentence_and_what_came_is_kept(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_what: str, done: int, _total: int) -> None:
        if done > 300_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"cannot write .*a\.tar\.gz\.part: No space left on device; free some"):
        fetch(source, full)
    assert left(source) == {"a.tar.gz.part"}
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"0\.0 MB free and 0\.\d MB are needed; free some"):
        fetch(source, silent)


def test_what_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cifar10, "archive", Archive("file:///etc/passwd", "a", MD5))
    assert "is no http or https address" in refusal(fetch, Cifar10(tmp_path), silent)
    assert "digits is bundled" in refusal(fetch, open_source("digits", tmp_path), silent)
    assert "your own data" in refusal(fetch, open_source(f"folder:{tmp_path}", tmp_path), silent)


def test_second_fetch_at_the_same_time_is_refused(source: Source) -> None:
    with sole_writer(source.folder), pytest.raises(UsageError, match="another process is writing"):
        fetch(source, silent)


def test_tiny_imagenet_is_extracted_and_official(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = write_zip(tmp_path / "elsewhere").read_bytes()
    md5 = hashlib.md5(server.body).hexdigest()  # noqa: S324
    monkeypatch.setattr(TinyImageNet, "archive", Archive(server.url, "tiny-imagenet-200.zip", md5, len(server.body)))
    source = TinyImageNet(tmp_path)
    assert fetch(source, silent) == source.folder / "tiny-imagenet-200"
    assert left(source) == {"tiny-imagenet-200", "tiny-imagenet-200.zip"}
    assert source.info().official
    fetch(source, silent)
    assert len(server.ranges) == 1


def make_zip(path: Path, names: list[str], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            member = zipfile.ZipInfo("x")
            member.filename = member.orig_filename = name
            member.external_attr = mode << 16
            archive.writestr(member, b"content")
    return path


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


HOSTILE = [
    "../evil",
    "top/../../evil",
    "/etc/evil",
    "top//evil",
    "top/./evil",
    "top\\..\\..\\evil",
    "C:/evil",
    "top/C:evil",
    "other/file",
    "top",
    "top/..",
]


def test_names_that_leave_the_folder_and_links_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    path, data = tmp_path / "a.zip", tmp_path / "data"
    data.mkdir()
    cases = [(name, 0) for name in HOSTILE]
    cases += [("top/evil", kind | 0o777) for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK)]
    for name, mode in cases:
        make_zip(path, ["top/good", name], mode)
        refused = refusal(extract, path, data, "top", silent)
        assert "is a link or lies outside top/; nothing was extracted" in refused, (name, oct(mode), refused)
        assert everything_below(tmp_path) == {"a.zip", "data"}, name


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_collide_are_refused(tmp_path: Path) -> None:
    for names in (["top/a", "top/a"], ["top/a", "top/a/b"], ["top/a", "top/a/b/c"], ["top/a/b/c", "top/a"]):
        path = make_zip(tmp_path / "a.zip", names)
        refused = refusal(extract, path, tmp_path, "top", silent)
        assert f"names {names[1]!r} twice; nothing was extracted" in refused, (names, refused)
        assert everything_below(tmp_path) == {"a.zip"}


@settings(max_examples=60)
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "top", "a", "\\", "C:", "a\0b", "ü"]) | st.text("./\\:\0aü", max_size=5)
    ),
    is_folder=st.booleans(),
)
def test_any_accepted_name_stays_below_the_folder(parts: list[str], is_folder: bool) -> None:
    folder = Path("/data/top")
    try:
        place = path_below("/".join(parts), Path("a.zip"), "top", is_folder, not is_folder)
    except DataError as error:
        assert "nothing was extracted" in str(error)
    else:
        assert parts[0] == "top"
        assert ".." not in place.parts
        assert (folder / place).resolve().is_relative_to(folder)


def test_a_damaged_or_encrypted_zip_leaves_nothing(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", [f"top/{i}" for i in range(9)])
    whole = path.read_bytes()
    flipped, encrypted = bytearray(whole), bytearray(whole)
    flipped[whole.index(b"content", 200)] ^= 0xFF
    encrypted[6] |= 1  # the flag in the local header
    encrypted[whole.index(b"PK\x01\x02") + 8] |= 1  # and in the index
    for data, reason in ((flipped, "Bad CRC-32"), (encrypted, "encrypted"), (b"not a zip", "not a zip")):
        path.write_bytes(data)
        refused = refusal(extract, path, tmp_path, "top", silent)
        assert f"{path} is cut short or damaged (" in refused and reason in refused, refused
        assert refused.endswith("; remove it and fetch it again"), refused
        assert everything_below(tmp_path) == {"a.zip"}, reason


def test_no_room_to_extract_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "a.zip", ["top/a"])
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="are needed; free some, or choose another --data-dir"):
        extract(path, tmp_path, "top", silent)
