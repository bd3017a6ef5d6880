"""The doctor names what is missing, and finds a store that no longer holds what was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.doctor import Finding, examine, verify
from bench.sources.registry import SOURCES
from bench.stores import Silent
from loaders import load, loader_names
from loaders.store import MANIFEST
from tests.samples import INFO, as_splits, make_splits


def prepared(location: Path, loader: str = "mmap", **options: str) -> Path:
    found = load(loader)
    splits = as_splits(make_splits("jpeg"))
    found.prepare(splits, location, found.Options.model_validate(options), dataset=INFO)
    return location


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def verified(folder: Path) -> dict[str, Finding]:
    return {finding.what.removeprefix("store "): finding for finding in verify(folder, Silent())}


@pytest.mark.parametrize("file", ["train.pixels", "test.pixels", "train.labels", "test.labels"])
@pytest.mark.parametrize("position", [0, 80, -8], ids=["first", "middle", "last"])
def test_one_flipped_bit_is_found(tmp_path: Path, file: str, position: int) -> None:
    prepared(tmp_path / "good")
    flip(prepared(tmp_path / "set" / "bad") / file, position)
    found = verified(tmp_path)
    assert found["good"] == ("store good", "ok", "54 samples as prepared")
    assert found["set/bad"].state == "damaged"
    assert file.partition(".")[0] in found["set/bad"].detail
    assert "prepare it again with --force" in found["set/bad"].detail


def test_every_loader_s_store_is_verified(tmp_path: Path) -> None:
    for loader in ("mmap", "memory", "hdf5", "filesystem"):
        prepared(tmp_path / loader, loader)
    prepared(tmp_path / "mmap-jpeg", encoding="jpeg")
    assert {name: finding.state for name, finding in verified(tmp_path).items()} == dict.fromkeys(
        ("filesystem", "hdf5", "memory", "mmap", "mmap-jpeg"), "ok"
    )


def test_jpeg_bytes_that_no_longer_decode(tmp_path: Path) -> None:
    flip(prepared(tmp_path / "store", encoding="jpeg") / "train.jpeg", 0)
    found = verified(tmp_path)["store"]
    assert found.state == "damaged"


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


def test_a_store_whose_loader_is_not_here_is_not_damaged(tmp_path: Path) -> None:
    manifest = prepared(tmp_path / "store") / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "loader": "tape"}))
    found = verified(tmp_path)["store"]
    assert found.state == "missing"
    assert found.detail.startswith("cannot be read here: no loader is called 'tape'")


def test_a_folder_without_stores(tmp_path: Path) -> None:
    assert verified(tmp_path / "nowhere") == {}


def test_everything_is_examined(tmp_path: Path) -> None:
    found = {finding.what: finding for finding in examine(tmp_path)}
    assert [f"loader {name}" in found for name in loader_names()] == [True] * len(loader_names())
    assert found["loader mmap"] == ("loader mmap", "ok", "")
    assert found["dataset digits"].state == "ok"
    for name in set(SOURCES) - {"digits"}:
        assert found[f"dataset {name}"].state == "missing"
        assert f"bench fetch {name}" in found[f"dataset {name}"].detail
    assert all(finding.detail for finding in found.values() if finding.state != "ok")
