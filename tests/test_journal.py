"""Notes of a preparation: what they keep, when they are taken, and when they do not count."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loaders import Block, DecodeError, StoreInfo, load
from loaders.store.journal import ROW, Journal, Past
from loaders.testing import INFO, SIZE, Breaking, Interruption, RaggedSamples, Samples, assert_same, make_splits
from tests.stores import open_store, store_samples

MMAP = load("mmap")


def interrupt() -> None:
    raise Interruption


def prepare(location: Path, splits: dict[str, Any], **more: Any) -> StoreInfo:
    return store_samples(MMAP, splits, location, dataset=INFO, **more)


def interrupted(location: Path, splits: dict[str, Any]) -> Path:
    """The folder of a preparation that ended after two blocks, with notes."""
    with pytest.raises(Interruption):
        prepare(location, {**splits, "train": Breaking(splits["train"], interrupt)})
    return location.with_name(f".{location.name}.partial")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes are taken after every block."""
    monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.0)


def test_without_notes_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    assert not interrupted(tmp_path / "store", make_splits()).exists()


@pytest.mark.usefixtures("at_once")
def test_an_interruption_keeps_what_notes_speak_of(tmp_path: Path) -> None:
    splits = make_splits()
    folder = interrupted(tmp_path / "store", splits)
    assert (folder / "train.pixels").stat().st_size == 32 * 3 * 16 * 12
    done: list[int] = []
    info = prepare(tmp_path / "store", splits, progress=done.append)
    assert done == [32, 9, 13]
    assert info.attempts == 2
    assert {path.name for path in tmp_path.iterdir()} == {"store", ".store.lock"}
    assert info.bytes == sum(
        path.stat().st_size for path in (tmp_path / "store").iterdir() if path.name != "store.json"
    )


@pytest.mark.usefixtures("at_once")
def test_three_attempts(tmp_path: Path) -> None:
    splits = {"train": Samples(90, (3, 8, 8)), "test": Samples(20, (3, 8, 8))}
    for _ in range(2):
        with pytest.raises(Interruption):
            prepare(tmp_path / "store", {**splits, "train": Breaking(splits["train"], interrupt)})
    done: list[int] = []
    info = prepare(tmp_path / "store", splits, progress=done.append)
    assert done[0] == 64
    assert info.attempts == 3
    with open_store(MMAP, tmp_path / "store", "train") as dataset:
        assert_same(dataset.batch(list(range(90))), splits["train"].expect(list(range(90))))


@pytest.mark.usefixtures("at_once")
def test_seconds_of_all_attempts_count(tmp_path: Path) -> None:
    splits = make_splits()

    def wait() -> None:
        time.sleep(0.3)
        raise Interruption

    class Slowly(Breaking):
        def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
            for block in super().blocks(start, stop):
                if stop is None:
                    time.sleep(0.3)
                yield block

    with pytest.raises(Interruption):
        prepare(tmp_path / "store", {**splits, "train": Slowly(splits["train"], wait)})
    assert prepare(tmp_path / "store", splits).prepare_s > 0.6  # two blocks of the first attempt; the wait is lost


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("damage", ["note", "rows", "data", "folder", "more data"])
def test_notes_that_do_not_fit(tmp_path: Path, damage: str) -> None:
    """What a crash of the machine may leave is begun anew, but for what was written after the notes."""
    splits = make_splits()
    folder = interrupted(tmp_path / "store", splits)
    if damage == "note":
        (tmp_path / ".store.journal" / "note.json").write_text("{")
    elif damage == "rows":
        os.truncate(tmp_path / ".store.journal" / "train.rows", ROW.itemsize)
    elif damage == "folder":
        shutil.rmtree(folder)
    elif damage == "data":
        os.truncate(folder / "train.pixels", 100)
    else:
        rows = tmp_path / ".store.journal" / "train.rows"
        for path in (folder / "train.pixels", folder / "train.labels", rows):
            with path.open("ab") as file:
                file.write(b"more")
    info = prepare(tmp_path / "store", splits)
    assert info.attempts == (2 if damage == "more data" else 1)
    with open_store(MMAP, tmp_path / "store", "train") as dataset:
        assert_same(dataset.batch(list(range(41))), splits["train"].expect(list(range(41))))


@pytest.mark.usefixtures("at_once")
def test_whoever_asks_for_a_new_store_gets_no_old_notes(tmp_path: Path) -> None:
    splits = make_splits()
    interrupted(tmp_path / "store", splits)
    done: list[int] = []
    assert prepare(tmp_path / "store", splits, anew=True, progress=done.append).attempts == 1
    assert done == [16, 16, 9, 13]


@pytest.mark.usefixtures("at_once")
def test_data_that_nothing_identifies_is_prepared_anew(tmp_path: Path) -> None:
    splits = make_splits()
    unknown = INFO.model_copy(update={"fingerprint": ""})
    with pytest.raises(Interruption):
        store_samples(
            MMAP, {**splits, "train": Breaking(splits["train"], interrupt)}, tmp_path / "store", dataset=unknown
        )
    assert not (tmp_path / ".store.partial").exists()


@pytest.mark.usefixtures("at_once")
def test_a_corrupt_file_at_the_end(tmp_path: Path) -> None:
    """What was decoded before it is kept, and the skipping of files may begin with the next attempt."""
    splits = {"train": RaggedSamples(41, seed=1), "test": RaggedSamples(13, seed=2)}
    splits["train"].files[40] = b"no image"
    with pytest.raises(DecodeError, match=r"40\.jpg.*; the same command resumes from the last checkpoint"):
        prepare(tmp_path / "store", splits)
    done: list[int] = []
    info = prepare(tmp_path / "store", splits, on_corrupt="skip", progress=done.append)
    assert done[0] == 32
    assert info.splits["train"].skipped == ("40.jpg",)
    with open_store(MMAP, tmp_path / "store", "train", size=SIZE) as dataset:
        assert_same(dataset.batch(list(range(40))), splits["train"].expect(list(range(40))))


@pytest.mark.usefixtures("at_once")
def test_what_was_skipped_is_not_taken_over_where_nothing_may_be(tmp_path: Path) -> None:
    splits: dict[str, Any] = {"train": RaggedSamples(41, seed=1), "test": RaggedSamples(13, seed=2)}
    splits["train"].files[3] = b"no image"
    with pytest.raises(Interruption):
        prepare(tmp_path / "store", {**splits, "train": Breaking(splits["train"], interrupt)}, on_corrupt="skip")
    with pytest.raises(DecodeError, match=r"3\.jpg"):
        prepare(tmp_path / "store", splits)


def test_checkpoints_are_taken_so_often_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("loaders.store.journal.sync_filesystem", synced.append)
    monkeypatch.setattr("loaders.store.journal.INTERVAL", 0.2)
    journal = Journal(tmp_path, tmp_path / "notes", "1")
    journal.rows("train")
    journal.describe("train", lambda: Past(taken=1, state={"file": 2}))
    journal.checkpoint_if_due()
    assert not journal.resumable
    assert synced == []
    time.sleep(0.25)
    journal.checkpoint_if_due()
    journal.checkpoint_if_due()
    assert synced == [tmp_path]
    journal.close()
    again = Journal(tmp_path, tmp_path / "notes", "1")
    assert again.past["train"].state == {"file": 2}
    assert (again.attempts, journal.attempts) == (2, 1)
    assert again.spent() > 0.2
    assert Journal(tmp_path, tmp_path / "notes", "2").past == {}
