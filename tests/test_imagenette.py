"""Imagenette: the official archive is extracted and nothing leaves the folder; the twin looks the same."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.run.stores import StoreSpec, prepare
from bench.sources.archives import extract
from bench.sources.base import Archive, SourceOptions
from bench.sources.fetch import fetch
from bench.sources.files import MARKER
from bench.sources.imagenette import NAMES, Imagenette, Imagenette160, Imagenette320
from bench.sources.official import VERIFIED
from bench.sources.registry import open_source
from loaders import load
from loaders.testing import a_file
from tests.refusals import refusal, silent
from tests.test_fetch import Server, server  # noqa: F401 - a fixture

TOP = "imagenette2-160"
Member = tuple[str, bytes]


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


def write_tgz(path: Path, members: list[Member], **last: Any) -> Path:
    """An archive of these files; ``last`` are attributes of the last one, such as its type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for number, (name, data) in enumerate(members, start=1):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for attribute, value in last.items() if number == len(members) else ():
                setattr(info, attribute, value)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imagenette160:
    """With an archive that has the "known" checksum."""
    path = write_tgz(tmp_path / "imagenette-160" / "imagenette2-160.tgz", official())
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


def test_a_damaged_verification_and_another_tree_are_a_sentence(source: Imagenette160) -> None:
    path = source.folder / "imagenette2-160.tgz"
    source.unpack(path, silent)
    (source.tree / VERIFIED).write_text("{")
    assert "VERIFIED.json is damaged; remove it" in refusal(Imagenette160(source.folder.parent).info)
    (source.tree / VERIFIED).unlink()
    assert "UsageError" in refusal(source.unpack, path, silent)
    assert "is there already; move it away" in refusal(source.unpack, path, silent)


def test_a_twin_is_replaced(source: Imagenette160) -> None:
    path = source.folder / "imagenette2-160.tgz"
    aside = path.rename(source.folder.parent / path.name)
    source.make_twin(0.002, silent)
    assert source.info().synthetic
    aside.rename(path)
    source.unpack(path, silent)
    assert Imagenette160(source.folder.parent).info().official


HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("../evil", {}),
    ("/etc/evil", {}),
    (f"{TOP}/../../evil", {}),
    ("other/file", {}),
    (f"{TOP}\\evil", {}),
    (f"{TOP}/link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    (f"{TOP}/link", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
    (f"{TOP}/pipe", {"type": tarfile.FIFOTYPE}),
    (f"{TOP}/device", {"type": tarfile.CHRTYPE}),
]


def test_nothing_leaves_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.tgz"
    for name, attributes in HOSTILE:
        write_tgz(path, [(f"{TOP}/good", b"x"), (name, b"")], **attributes)
        refused = refusal(extract, path, path.parent, TOP, silent)
        assert "DataError" in refused and "link or lies outside" in refused and "nothing was extracted" in refused, name
        assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tgz", "in"], name
    for names in ((f"{TOP}/x", f"{TOP}/x"), (f"{TOP}/x", f"{TOP}/x/y"), (f"{TOP}/x", f"{TOP}/x/y/z")):
        write_tgz(path, [(name, b"1") for name in names])
        refused = refusal(extract, path, path.parent, TOP, silent)
        assert f"names {names[1]!r} twice; nothing was extracted" in refused, names
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tgz", "in"]


def test_a_damaged_archive_is_one_sentence(tmp_path: Path) -> None:
    path = write_tgz(tmp_path / "a.tgz", official())
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    for number, damaged in enumerate(
        (data[: len(data) // 2], bytes(flipped), b"plain text " * 50, b"", data[:-8] + b"12345678")
    ):
        path.write_bytes(damaged)
        refused = refusal(extract, path, tmp_path, TOP, silent)
        assert f"{path} is cut short or damaged (" in refused, (number, refused)
        assert refused.endswith("; remove it and fetch it again"), (number, refused)
        assert [p.name for p in tmp_path.iterdir()] == ["a.tgz"], number


# The twin


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twins of all three sizes."""
    data = tmp_path_factory.mktemp("twins")
    for kind in (Imagenette, Imagenette320, Imagenette160):
        kind(data).make_twin(0.004, silent)
    return data


def test_the_twin_has_photographs_of_many_sizes(twins: Path) -> None:
    for kind, least, most in ((Imagenette, 200, 1500), (Imagenette320, 200, 480), (Imagenette160, 160, 240)):
        source = kind(twins)
        info = source.info()
        assert (info.synthetic, info.official, info.classes) == (True, False, tuple(NAMES.values()))
        sizes, modes = [], set()
        for split, count in (("train", 4), ("val", 2)):
            for wnid in NAMES:
                files = sorted((source.tree / split / wnid).glob("*.JPEG"))
                assert len(files) == count
                for path in files:
                    with Image.open(path) as image:
                        sizes.append(image.size)
                        modes.add(image.mode)
        extents = [extent for size in sizes for extent in size]
        assert least <= min(extents) <= max(extents) <= most
        assert len(set(sizes)) > 50
        assert modes <= {"RGB", "L"}


def test_the_twin_is_the_same_each_time_and_grows(twins: Path, tmp_path: Path) -> None:
    small, large = Imagenette160(tmp_path), Imagenette160(twins)
    small.make_twin(0.002, silent)
    images = list(small.tree.rglob("*.JPEG"))
    assert len(images) == 30
    for path in images:
        assert path.read_bytes() == (large.tree / path.relative_to(small.tree)).read_bytes()


def test_torchvision_reads_the_same_pictures(twins: Path, tmp_path: Path) -> None:
    from torchvision.datasets import Imagenette as Theirs

    source = Imagenette160(twins)
    spec = StoreSpec(load("mmap"), load("mmap").Options(), source, None, tmp_path / "stores")
    prepare(spec)
    for split, theirs_split in (("train", "train"), ("test", "val")):
        theirs = Theirs(source.folder, theirs_split, "160px")
        with spec.open(split) as dataset:
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
