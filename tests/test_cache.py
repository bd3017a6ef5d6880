"""Evicted files are seen to be gone, in both ways of asking; the verdict on a run follows the evidence."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.measure import cache
from bench.measure.cache import evict, fill, judge, residency
from bench.records import CacheEvidence

SIZE = 3 * 1024 * 1024 + 17
UNKNOWN = "the system does not tell what is in memory"
LOW = "of the store was in memory before an epoch"
READ = "5.0 MB were read from storage during an epoch"
OUTSIDE = "the samples lie on a server outside the store"


def evidence(**changes: Any) -> CacheEvidence:
    usual = {"method": "cachestat", "bytes": 10**8, "after_eviction": [], "before_epoch": [], "read_bytes": []}
    return CacheEvidence(**{**usual, **changes})


def test_the_state_follows_the_evidence() -> None:
    for wanted, seen, state, reason in (
        ("cold", evidence(after_eviction=[0.0, 0.009], before_epoch=[0.3, 0.3]), "cold", None),
        ("cold", evidence(after_eviction=[0.0, 0.5]), "unverified", "50.0% of the store stayed in memory"),
        ("cold", evidence(after_eviction=[None]), "unverified", UNKNOWN),
        ("cold", evidence(after_eviction=[0.0, None]), "unverified", UNKNOWN),
        ("warm", evidence(), "unverified", UNKNOWN),
        ("warm", evidence(before_epoch=[1.0, 1.0], read_bytes=[0, 10]), "warm", None),
        ("warm", evidence(before_epoch=[1.0], read_bytes=[None]), "warm", None),
        ("warm", evidence(before_epoch=[1.0, 0.5]), "unverified", f"only 50.0% {LOW}"),
        ("warm", evidence(before_epoch=[0.0]), "unverified", f"only 0.0% {LOW}"),
        ("warm", evidence(before_epoch=[1.0], read_bytes=[5_000_000]), "unverified", READ),
        ("as-is", evidence(before_epoch=[1.0]), "warm", None),
        ("as-is", evidence(before_epoch=[0.0]), "cold", None),
        ("as-is", evidence(before_epoch=[0.0, 1.0]), "unverified", f"only 0.0% {LOW}"),
    ):
        assert judge(wanted, seen) == (state, reason), (wanted, seen)


def test_of_a_server_outside_the_store_only_its_own_count_tells() -> None:
    for wanted, read, state, reason in (
        ("cold", [0, 0], "unverified", OUTSIDE),
        ("warm", [], "unverified", OUTSIDE),
        ("warm", [0, None], "unverified", OUTSIDE),
        ("warm", [0, 10**6], "warm", None),
        ("as-is", [0, 0], "warm", None),
        ("warm", [0, 10**6 + 1], "unverified", "the server outside the store had to read 1.0 MB in an epoch"),
    ):
        seen = evidence(after_eviction=[0.0], before_epoch=[1.0], elsewhere_read_bytes=read)
        assert judge(wanted, seen, 10**8) == (state, reason), (wanted, read)


@pytest.fixture(params=["cachestat", "mincore"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test asks in both ways, where the kernel has both."""
    name: str = request.param
    if name == "cachestat" and cache._method() != "cachestat":
        pytest.skip("this kernel or sandbox has no cachestat")
    monkeypatch.setattr(cache, "_method", lambda: name)
    return name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    if os.statvfs(tmp_path).f_bsize == 0:
        pytest.skip("not a disk")
    path = tmp_path / "store" / "file"
    path.parent.mkdir()
    path.write_bytes(os.urandom(SIZE))
    return path


def test_pages_come_by_reading_and_go_by_evicting(file: Path, method: str) -> None:
    whole = residency([file])
    assert whole == (-(-SIZE // mmap.PAGESIZE) * mmap.PAGESIZE, whole.bytes, method)
    assert whole.fraction == 1.0
    evict([file])
    assert [residency([file]).fraction for _ in range(3)] == [0.0] * 3  # asking reads nothing
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
        os.pread(opened.fileno(), 10, 0)
    assert 0 < (residency([file]).fraction or 0) < 0.5
    fill([file])
    assert residency([file]).fraction == 1.0


def test_a_mapped_file_stays_and_that_is_seen(file: Path, method: str) -> None:
    mapped = np.memmap(file, np.uint8, "r")
    int(mapped[:].sum(dtype=np.int64))
    evict([file])
    assert (residency([file]).fraction or 0) > 0.5
    del mapped


def test_an_empty_file_no_file_and_a_missing_one(tmp_path: Path, method: str) -> None:
    (tmp_path / "empty").touch()
    assert residency([tmp_path / "empty"])[:2] == (0, 0)
    assert residency([]).fraction == 0.0
    for function in (evict, residency):
        with pytest.raises(FileNotFoundError):
            function([tmp_path / "none"])


def test_where_no_way_works_there_is_no_fraction(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_method", lambda: "none")
    assert residency([file]).fraction is None


def test_the_files_of_a_folder_are_regular_ones(file: Path) -> None:
    (file.parent / "link").symlink_to(file)
    os.mkfifo(file.parent / "pipe")
    (file.parent / "sub").mkdir()
    (file.parent / "sub" / "other").write_bytes(b"1")
    assert sorted(p.name for p in cache.files_of(file.parent)) == ["file", "other"]
