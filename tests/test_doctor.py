"""The doctor names what is missing, and finds a store that no longer holds what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.run.doctor import Finding, examine, verify
from bench.sources.registry import SOURCES
from loaders import StoreError, load, loader_names, open_dataset, read_manifest
from loaders.store.manifest import MANIFEST, write_manifest
from loaders.testing import INFO, make_splits
from tests.stores import store_samples


def prepared(location: Path, loader: str = "mmap", **options: str) -> Path:
    found = load(loader)
    splits = make_splits("jpeg")
    store_samples(found, splits, location, found.Options.model_validate(options), dataset=INFO)
    return location


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def verified(folder: Path) -> dict[str, Finding]:
    return {finding.what.removeprefix("store "): finding for finding in verify(folder)}


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    prepared(tmp_path / "good")
    damages = [
        ("train.pixels", 0),
        ("test.pixels", -8),
        ("train.labels", 80),
        ("test.labels", 0),
        ("train.checksums", 84),
    ]
    for number, (file, position) in enumerate(damages):
        flip(shutil.copytree(tmp_path / "good", tmp_path / "set" / str(number)) / file, position)
    flip(prepared(tmp_path / "jpeg", encoding="jpeg") / "train.jpeg", 0)  # which no longer decodes
    found = verified(tmp_path)
    assert found["good"] == ("store good", "ok", "54 samples as prepared")
    assert found["jpeg"].state == "damaged"
    for number, (file, _) in enumerate(damages):
        finding = found[f"set/{number}"]
        assert finding.state == "damaged", file
        assert file.partition(".")[0] in finding.detail
        assert "prepare it again" in finding.detail
    assert "1 of 41 samples of the train split are not as they were prepared" in found["set/4"].detail


def test_every_loader_s_store_is_verified(tmp_path: Path) -> None:
    for loader in ("mmap", "memory", "hdf5", "filesystem"):
        prepared(tmp_path / loader, loader)
    prepared(tmp_path / "mmap-jpeg", encoding="jpeg")
    assert {name: finding.state for name, finding in verified(tmp_path).items()} == dict.fromkeys(
        ("filesystem", "hdf5", "memory", "mmap", "mmap-jpeg"), "ok"
    )


def test_stores_that_are_torn_foreign_or_half_written(tmp_path: Path) -> None:
    (prepared(tmp_path / "torn") / MANIFEST).write_text("{")
    (prepared(tmp_path / "short") / "test.labels").write_bytes(b"")
    (prepared(tmp_path / "gone") / "test.pixels").unlink()
    prepared(tmp_path / ".store.partial")
    found = verified(tmp_path)
    assert {name: finding.state for name, finding in found.items()} == dict.fromkeys(
        ("torn", "short", "gone"), "damaged"
    )
    assert "has 0 bytes instead of 104" in found["short"].detail
    assert "is missing from its store" in found["gone"].detail


def test_folders_that_are_no_stores_are_named(tmp_path: Path) -> None:
    (prepared(tmp_path / "set" / "mmap") / MANIFEST).unlink()
    (tmp_path / "set" / "empty").mkdir()
    assert verified(tmp_path) == {
        "set/mmap": ("store set/mmap", "damaged", f"{tmp_path / 'set' / 'mmap'} is no store, it has no store.json; "
                     f"remove it and prepare it again")
    }  # fmt: skip
    assert verified(tmp_path / "nowhere") == {}


CHANGES: list[Callable[[Any], None]] = [
    lambda info: info["splits"]["train"].update(mean=[0.1, 0.2, 0.3]),
    lambda info: info["dataset"]["classes"].reverse(),
    lambda info: info.update(prepare_s=0.001),
    lambda info: info.update(data_files=["elsewhere"]),
    lambda info: info.update(checksum=""),
    lambda info: info.update(checksum="0" * 64),
]


def test_a_manifest_that_was_changed_is_found_and_one_that_was_formatted_is_not(tmp_path: Path) -> None:
    manifest = prepared(tmp_path / "store") / MANIFEST
    text = manifest.read_text()
    for change in CHANGES:
        document = json.loads(text)
        change(document)
        manifest.write_text(json.dumps(document))
        found = verified(tmp_path)["store"]
        assert found.state == "damaged"
        assert found.detail.endswith(f"was changed after it was written; remove {manifest.parent} and prepare it again")
        with pytest.raises(StoreError, match="was changed after it was written"):
            open_dataset(manifest.parent).open()
    manifest.write_text(json.dumps(json.loads(text), sort_keys=True, indent=7))
    assert verified(tmp_path)["store"].state == "ok"


def test_a_store_whose_loader_is_not_here_is_not_damaged(tmp_path: Path) -> None:
    location = prepared(tmp_path / "store")
    write_manifest(read_manifest(location).model_copy(update={"loader": "tape"}), location)
    found = verified(tmp_path)["store"]
    assert found.state == "missing"
    assert found.detail.startswith("cannot be read here: no loader is called 'tape'")


def test_everything_is_examined(tmp_path: Path) -> None:
    found = {finding.what: finding for finding in examine(tmp_path)}
    assert [f"loader {name}" in found for name in loader_names()] == [True] * len(loader_names())
    assert found["loader mmap"] == ("loader mmap", "ok", "")
    assert found["dataset digits"].state == "ok"
    for name in set(SOURCES) - {"digits"}:
        assert found[f"dataset {name}"].state == "missing"
        assert f"bench fetch {name}" in found[f"dataset {name}"].detail
    assert all(finding.detail for finding in found.values() if finding.state != "ok")
