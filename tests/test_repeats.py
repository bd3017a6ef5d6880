"""Records of repetitions by hand: none is lost to another that is written at the same time."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, UsageError
from bench.records import Foreign, Record, TakenError, read_records, write_record
from bench.run.repeats import keep, numbered
from tests.record_samples import a_record


def of_repeat(repeat: int = 0, **changes: Any) -> Record:
    """A record whose name is what its configuration says."""
    record = a_record(config={"repeat": repeat}, **changes)
    return record.model_copy(update={"run_id": record.config.run_id})


def kept_in(folder: Path) -> dict[int, Record]:
    found = {}
    for item in read_records(folder):
        assert not isinstance(item, Foreign), item.reason
        path, record = item
        assert path.stem == record.run_id == record.config.run_id
        found[record.config.repeat] = record
    return found


def test_a_record_that_came_meanwhile_is_keptbeside(tmp_path: Path) -> None:
    config = numbered(of_repeat().config, None, False, tmp_path)
    keep(of_repeat(flags=["other"]), False, tmp_path)
    written = keep(of_repeat(config.repeat, flags=["ours"]), False, tmp_path)
    assert written.config.repeat == 1
    assert {number: record.flags for number, record in kept_in(tmp_path).items()} == {0: ["other"], 1: ["ours"]}
    assert keep(of_repeat(flags=["new"]), True, tmp_path).config.repeat == 0
    assert kept_in(tmp_path)[0].flags == ["new"]


def _keep_many(folder: Path, flag: str) -> None:
    for _ in range(20):
        keep(of_repeat(flags=[flag]), False, folder)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    start = multiprocessing.get_context("fork").Process
    writers = [start(target=_keep_many, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    found = kept_in(tmp_path)
    assert sorted(found) == list(range(60))
    assert sorted(record.flags[0] for record in found.values()) == ["a"] * 20 + ["b"] * 20 + ["c"] * 20
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def test_anything_in_a_record_s_place_takes_its_number(tmp_path: Path) -> None:
    first, second = of_repeat(0), of_repeat(1)
    (tmp_path / f"{first.run_id}.json").symlink_to("nowhere")
    (tmp_path / f"{second.run_id}.json").mkdir()
    assert numbered(first.config, None, False, tmp_path).repeat == 2
    with pytest.raises(UsageError, match=r"--repeat 1: .* is there already"):
        numbered(second.config, 1, False, tmp_path)
    with pytest.raises(TakenError):
        write_record(first, tmp_path, replace=False)
    assert keep(first, False, tmp_path).config.repeat == 2


def test_a_folder_that_cannot_be_written_is_no_taken_number(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match=r"cannot write the record .*: File exists; choose another --out"):
        keep(of_repeat(), False, tmp_path / "file")
