"""A record is written whole, read back equal, and what is no record is named and skipped."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.errors import BenchError
from bench.records import Foreign, Record, read_records, write_record
from loaders.testing import in_fork
from tests.record_samples import a_document, a_record, an_epoch

# The published schema, version 3. A key that goes or comes needs a new version.
KEYS = (
    "schema_version run_id status error config dataset loader store environment cache setup ceiling rates waits "
    "feed epochs resources digest flags log started_at finished_at"
)
EPOCH_KEYS = (
    "index wall_s fetch_s transfer_s compute_s other_s device_copy_s device_compute_s device_idle_s images train_loss "
    "test_accuracy test_macro_f1 wait_s cpu_s others_cpu_s stolen_cpu_s energy_j open_s first_batch_s"
)


def read_one(folder: Path) -> Record:
    (found,) = read_records(folder)
    assert not isinstance(found, Foreign), found.reason
    return found[1]


def test_the_keys_are_those_of_the_schema(tmp_path: Path) -> None:
    path = write_record(a_record(), tmp_path)
    document = json.loads(path.read_text())
    assert " ".join(document) == KEYS
    assert " ".join(document["epochs"][0]) == EPOCH_KEYS
    assert document["schema_version"] == 3
    assert set(document["setup"]) == {"open_s", "first_batch_s", "close_s"}
    assert set(document["resources"]) == {"cpu_s", "energy_j", "gpu", "memory", "sampling"}
    assert {"loader", "raw"} <= set(json.loads(a_record(config={"command": "rate"}).model_dump_json())["rates"])


floats = st.floats(0, 1e12)
records = st.builds(
    a_record,
    st.sampled_from(["mmap", "hdf5"]),
    config=st.fixed_dictionaries({"command": st.sampled_from(["run", "rate"]), "seed": st.integers(0, 2**63 - 1)}),
    status=st.sampled_from(["ok", "failed", "unavailable"]),
    error=st.none() | st.text(),
    epochs=st.lists(st.builds(an_epoch, st.integers(0, 9), wall_s=floats, device_copy_s=st.none() | floats)),
    environment=st.dictionaries(st.sampled_from(["cpu", "note"]), st.text()),
    flags=st.lists(st.text()),
    dataset=st.none(),
    store=st.none(),
)


@settings(max_examples=40, deadline=None)
@given(record=records)
def test_what_is_written_is_read_back(record: Record, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("out")
    path = write_record(record, folder)
    assert path.name == f"{record.run_id}.json"
    assert read_one(folder) == record
    assert [p.name for p in folder.iterdir()] == [path.name]


def test_a_diverged_run_is_read_back_and_is_strict_json(tmp_path: Path) -> None:
    for loss in (math.nan, math.inf, -math.inf):
        path = write_record(a_record(epochs=[an_epoch(train_loss=loss)]), tmp_path)
        json.loads(path.read_text(), parse_constant=pytest.fail)
        assert str(read_one(tmp_path).epochs[0].train_loss) == str(loss)


def test_a_reader_never_sees_half_a_record(tmp_path: Path) -> None:
    with write_record(a_record(flags=["first"]), tmp_path).open() as reading:
        write_record(a_record(flags=["second"]), tmp_path)
        assert json.load(reading)["flags"] == ["first"]  # replaced at once, never written over
    assert read_one(tmp_path).flags == ["second"]


def test_a_writer_killed_halfway_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(a_record(flags=["first"]), tmp_path)

    def die(descriptor: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        monkeypatch.setattr(os, "fsync", die)
        write_record(a_record(flags=["second"]), tmp_path)

    assert in_fork(work) == -signal.SIGKILL
    assert read_one(tmp_path).flags == ["first"]


def test_folders_that_cannot_be_written_or_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for below in ("", "folder"):
        with pytest.raises(
            BenchError, match=r"cannot write the record .*: (File exists|Not a dir.*); choose another --out"
        ):
            write_record(a_record(), tmp_path / "file" / below)
    with pytest.raises(BenchError, match=r"there is no folder .*; give the --out folder of earlier runs"):
        list(read_records(tmp_path / "nowhere"))


FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not readable as JSON"),
    "torn": (json.dumps(a_document()).encode()[:-20], "not readable as JSON"),
    "binary": (b"\xff\x00\x80", "not readable as JSON"),
    "deep": (b"[" * 200_000, "not readable as JSON"),
    "list": (b"[1, 2]", "not a record of schema version 1 or 2 or 3"),
    "null": (b"null", "not a record of schema version 1 or 2 or 3"),
    "other": (b'{"name": "package"}', "not a record of schema version 1 or 2 or 3"),
    "later": (json.dumps({**a_document(), "schema_version": 4}).encode(), "not a record of schema version 1 or 2 or 3"),
    "partial": (b'{"schema_version": 1}', "not a whole record (run_id: field required)"),
    "more": (
        json.dumps({**a_document(), "schema_version": 1, "mood": "good"}).encode(),
        "not a whole record (mood: extra inputs are not permitted)",
    ),
    "command": (
        json.dumps({**a_document(), "schema_version": 1, "config": {"command": "sing"}}).encode(),
        "not a whole record (config: ",
    ),
}


def test_what_is_no_record_is_named_and_skipped(tmp_path: Path) -> None:
    for name, (content, _) in FOREIGN.items():
        (tmp_path / f"{name}.json").write_bytes(content)
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "dangling.json").symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("not looked at")
    write_record(a_record(), tmp_path / "deep" / "down")
    found = list(read_records(tmp_path))
    reasons = {item.path.stem: item.reason for item in found if isinstance(item, Foreign)}
    assert reasons.keys() == FOREIGN.keys() | {"folder", "pipe", "dangling"}
    assert {reasons[name] for name in ("folder", "pipe", "dangling")} == {"not a regular file"}
    for name, (_, reason) in FOREIGN.items():
        assert reasons[name].startswith(reason), name
    (whole,) = [item for item in found if not isinstance(item, Foreign)]
    assert whole == (tmp_path / "deep" / "down" / "0123456789abcdef.json", a_record())
    assert [item[0] for item in found] == sorted(item[0] for item in found)


def test_no_key_may_be_missing_and_no_part_takes_unknown_ones() -> None:
    for key in set(KEYS.split()) - {"schema_version", "log", "waits", "feed"}:
        document = a_document()
        del document[key]
        with pytest.raises(ValidationError, match=f"{key}\n"):
            Record.model_validate(document)
    for part in ("config", "dataset", "loader", "store", "cache", "setup", "resources", "digest"):
        document = a_document()
        document[part] = {**document[part], "mood": "good"}
        with pytest.raises(ValidationError, match=rf"{part}.*mood\n"):
            Record.model_validate(document)


def test_records_of_version_1_are_read() -> None:
    found = list(read_records(Path(__file__).parent / "data" / "records-v1"))
    assert len(found) == 2
    for item in found:
        assert not isinstance(item, Foreign), item.reason
        record = item[1]
        assert record.schema_version == 1
        assert record.ceiling is None
        assert all(epoch.cpu_s is None for epoch in record.epochs)
    kinds = {item[1].config.command for item in found if not isinstance(item, Foreign)}
    assert kinds == {"run", "rate"}
