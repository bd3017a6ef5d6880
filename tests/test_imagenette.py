"""Imagenette: the official archive is extracted and nothing leaves the folder; the twin looks the same."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import DataError, UsageError
from bench.run.stores import Wanted, prepare
from bench.sources.base import Archive, SourceOptions
from bench.sources.fetch import fetch
from bench.sources.files import MARKER, VERIFIED
from bench.sources.imagenette import NAMES, Imagenette, Imagenette160, Imagenette320
from bench.sources.registry import open_source
from bench.sources.tar_extraction import extract_tar
from loaders import load
from loaders.testing import a_file
from tests.test_fetch import Server, server  # noqa: F401 - a fixture

TOP = "imagenette2-160"
Member = tuple[str, bytes]


def silent(*_: object) -> None:
    pass


def picture(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    height, width = random.integers(20, 60, 2).tolist()
    return a_file(np.ascontiguousarray(random.integers(0, 256, (height, width, 3), np.uint8)), 0)


def official() -> list[Member]:
    """A tiny archive in the official layout."""
    members = [
        (f"{TOP}/{split}/{wnid}/{wnid}_{i}.JPEG", picture(1000 * label + 10 * i + (split == "val")))
        for split, count in (("train", 3), ("val", 2))
        for label, wnid in enumerate(NAMES)
        for i in range(count)
    ]
    return [*members, (f"{TOP}/noisy_imagenette.csv", b"path\n"), (f"{TOP}/.DS_Store", b"x")]


def write_tgz(path: Path, members: list[Member], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            change(info)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imagenette160:
    """With an archive that has the "known" checksum."""
    path = write_tgz(tmp_path / "imagenette-160" / "imagenette2-160.tgz", official())
    assert Imagenette160.archive is not None
    known = Imagenette160.archive._replace(md5=hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())
    monkeypatch.setattr(Imagenette160, "archive", known)
    return Imagenette160(tmp_path)


def test_the_extracted_archive_is_official(source: Imagenette160) -> None:
    assert "bench fetch imagenette-160" in (source.missing() or "")
    source.unpack(source.folder / "imagenette2-160.tgz", silent)
    assert source.missing() is None
    info = source.info()
    assert (info.official, info.synthetic, info.classes) == (True, False, tuple(NAMES.values()))
    assert {name: len(split) for name, split in source.splits().items()} == {"train": 30, "test": 20}
    assert source.notes() == ["left out 1 files or folders that are hidden: .DS_Store"] or source.notes() == []
    (source.folder / TOP / "val" / "n01440764" / "n01440764_0.JPEG").write_bytes(picture(9) + b"more")
    changed = Imagenette160(source.folder.parent).info()
    assert not changed.official
    assert changed.fingerprint != info.fingerprint


def test_fetch_downloads_resumes_verifies_and_extracts(
    server: Server,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.body = write_tgz(tmp_path / "made.tgz", official()).read_bytes()
    server.plan = ["cut 500"]
    checksum = hashlib.md5(server.body, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(
        Imagenette160, "archive", Archive(server.url, "imagenette2-160.tgz", checksum, len(server.body))
    )
    source = Imagenette160(tmp_path / "data")
    assert fetch(source, silent) == source.folder / TOP
    assert server.ranges == [None, "bytes=500-"]
    assert source.info().official


def test_a_damaged_verification_is_a_sentence(source: Imagenette160) -> None:
    source.unpack(source.folder / "imagenette2-160.tgz", silent)
    (source.folder / TOP / VERIFIED).write_text("{")
    with pytest.raises(DataError, match=r"VERIFIED.json is damaged; remove it"):
        Imagenette160(source.folder.parent).info()


def test_another_tree_is_not_overwritten(source: Imagenette160) -> None:
    (source.folder / TOP).mkdir()
    with pytest.raises(UsageError, match="is there already; move it away"):
        source.unpack(source.folder / "imagenette2-160.tgz", silent)


def test_a_twin_is_replaced(source: Imagenette160) -> None:
    path = source.folder / "imagenette2-160.tgz"
    aside = path.rename(source.folder.parent / path.name)
    source.make_twin(0.002, silent)
    assert source.info().synthetic
    aside.rename(path)
    source.unpack(path, silent)
    assert Imagenette160(source.folder.parent).info().official


@pytest.mark.parametrize(
    ("members", "change"),
    [
        ([("../evil", b"x")], {}),
        ([("/etc/evil", b"x")], {}),
        ([(f"{TOP}/../../evil", b"x")], {}),
        ([("other/file", b"x")], {}),
        ([(f"{TOP}\\evil", b"x")], {}),
        ([(f"{TOP}/link", b"")], {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ([(f"{TOP}/link", b"")], {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        ([(f"{TOP}/pipe", b"")], {"type": tarfile.FIFOTYPE}),
        ([(f"{TOP}/device", b"")], {"type": tarfile.CHRTYPE}),
    ],
    ids=str,
)
def test_nothing_leaves_the_folder(tmp_path: Path, members: list[Member], change: dict[str, Any]) -> None:
    def changed(info: tarfile.TarInfo) -> None:
        for name, value in change.items():
            setattr(info, name, value)

    path = write_tgz(tmp_path / "in" / "a.tgz", [(f"{TOP}/good", b"x")])
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(f"{TOP}/good"))
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            changed(info)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(DataError, match="nothing was extracted"):
        extract_tar(path, tmp_path / "in", TOP, silent)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tgz", "in"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "no gzip", "empty"])
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = write_tgz(tmp_path / "a.tgz", official())
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    else:
        data = bytearray(b"" if damage == "empty" else b"plain text " * 50)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tgz.*remove it and fetch it again"):
        extract_tar(path, tmp_path, TOP, silent)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tgz"]


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = write_tgz(tmp_path / "a.tgz", [(f"{TOP}/x", b"1"), (f"{TOP}/x", b"2")])
    with pytest.raises(DataError, match="twice"):
        extract_tar(path, tmp_path, TOP, silent)
    assert gzip.decompress(path.read_bytes())


# The twin


@pytest.mark.parametrize(
    ("kind", "least", "most"), [(Imagenette, 200, 1500), (Imagenette320, 200, 480), (Imagenette160, 160, 240)]
)
def test_the_twin_has_photographs_of_many_sizes(tmp_path: Path, kind: type[Imagenette], least: int, most: int) -> None:
    source = kind(tmp_path)
    source.make_twin(0.004, silent)
    info = source.info()
    assert (info.synthetic, info.official, info.classes) == (True, False, tuple(NAMES.values()))
    sizes, modes = [], set()
    for split, count in (("train", 4), ("val", 2)):
        for wnid in NAMES:
            files = sorted((source.folder / kind.top / split / wnid).glob("*.JPEG"))
            assert len(files) == count
            for path in files:
                with Image.open(path) as image:
                    sizes.append(image.size)
                    modes.add(image.mode)
    extents = [extent for size in sizes for extent in size]
    assert least <= min(extents) <= max(extents) <= most
    assert len(set(sizes)) > 50
    assert modes <= {"RGB", "L"}


def test_the_twin_is_the_same_each_time_and_grows(tmp_path: Path) -> None:
    small, large = Imagenette160(tmp_path / "a"), Imagenette160(tmp_path / "b")
    small.make_twin(0.003, silent)
    large.make_twin(0.006, silent)
    for path in (small.folder / TOP).rglob("*.JPEG"):
        assert path.read_bytes() == (large.folder / TOP / path.relative_to(small.folder / TOP)).read_bytes()


def test_a_twin_of_real_data_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "imagenette-160" / TOP / "train").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"is not a twin"):
        Imagenette160(tmp_path).make_twin(0.01, silent)


def test_torchvision_reads_the_same_pictures(tmp_path: Path) -> None:
    from torchvision.datasets import Imagenette as Theirs

    source = Imagenette160(tmp_path)
    source.make_twin(0.004, silent)
    wanted = Wanted(load("mmap"), load("mmap").Options(), source, None, tmp_path / "stores")
    prepare(wanted)
    for split, theirs_split in (("train", "train"), ("test", "val")):
        theirs = Theirs(source.folder, theirs_split, "160px")
        with wanted.open(split) as dataset:
            images, labels = dataset.whole(range(len(dataset)))
        mine = sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
        assert mine == sorted((np.asarray(image).tobytes(), label) for image, label in theirs)


def test_resizing_makes_it_unofficial_and_apart(source: Imagenette160) -> None:
    source.unpack(source.folder / "imagenette2-160.tgz", silent)
    other = open_source("imagenette-160", source.folder.parent, SourceOptions(resize=16))
    assert not other.info().official
    assert other.info().resize == 16
    assert other.info().fingerprint != source.info().fingerprint
    assert other.store_name != source.store_name
    assert (source.folder / TOP / MARKER).exists() is False
