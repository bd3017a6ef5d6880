"""Evicting files and showing that they are gone, by both ways of asking."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from bench.measure import pagecache

SIZE = 3 * 1024 * 1024 + 17


@pytest.fixture(params=["cachestat", "mincore"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test asks in both ways, where the kernel has both."""
    name: str = request.param
    if name == "cachestat" and pagecache._method() != "cachestat":
        pytest.skip("this kernel or sandbox has no cachestat")
    monkeypatch.setattr(pagecache, "_method", lambda: name)
    return name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    if os.statvfs(tmp_path).f_bsize == 0:
        pytest.skip("not a disk")
    path = tmp_path / "store" / "file"
    path.parent.mkdir()
    path.write_bytes(os.urandom(SIZE))
    return path


def test_a_fresh_file_is_resident_and_an_evicted_one_is_not(file: Path, method: str) -> None:
    before = pagecache.residency([file])
    assert before == (1, -(-SIZE // mmap.PAGESIZE) * mmap.PAGESIZE, before.bytes, method)
    assert before.fraction == 1.0
    pagecache.evict([file])
    assert pagecache.residency([file]).fraction == 0.0


def test_reading_a_part_makes_a_part_resident(file: Path, method: str) -> None:
    pagecache.evict([file])
    descriptor = os.open(file, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
    os.pread(descriptor, 10, 0)
    os.close(descriptor)
    found = pagecache.residency([file]).fraction
    assert found is not None
    assert 0 < found < 0.5


def test_asking_reads_nothing(file: Path, method: str) -> None:
    pagecache.evict([file])
    for _ in range(3):
        assert pagecache.residency([file]).resident_bytes == 0


def test_a_mapped_file_stays_and_that_is_seen(file: Path, method: str) -> None:
    mapped = np.memmap(file, np.uint8, "r")
    int(mapped[:].sum(dtype=np.int64))
    pagecache.evict([file])
    found = pagecache.residency([file]).fraction
    assert found is not None
    assert found > 0.5
    del mapped


def test_an_empty_file_and_no_file_have_no_pages(tmp_path: Path, method: str) -> None:
    (tmp_path / "empty").touch()
    assert pagecache.residency([tmp_path / "empty"])[:3] == (1, 0, 0)
    assert pagecache.residency([]).fraction == 0.0


def test_where_nobody_can_tell_there_is_no_fraction(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagecache, "_method", lambda: "none")
    assert pagecache.residency([file]).fraction is None


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pagecache.evict([tmp_path / "none"])
    with pytest.raises(FileNotFoundError):
        pagecache.residency([tmp_path / "none"])


def test_the_files_of_a_folder_are_regular_ones(file: Path) -> None:
    (file.parent / "link").symlink_to(file)
    os.mkfifo(file.parent / "pipe")
    (file.parent / "sub").mkdir()
    (file.parent / "sub" / "other").write_bytes(b"1")
    assert sorted(p.name for p in pagecache.files_of(file.parent)) == ["file", "other"]
