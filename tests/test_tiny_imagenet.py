"""Tiny ImageNet: tree and zip give the same files in one order; contradictions in them are named."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from bench.errors import DataError, UsageError
from bench.sources.base import Archive
from bench.sources.files import MARKER
from bench.sources.official import VERIFIED
from bench.sources.registry import open_source
from bench.sources.tiny_imagenet import ARCHIVE, TOP, TinyImageNet
from loaders import Block, DecodeError
from loaders.testing import take
from tests.refusals import refusal, silent

WNIDS = ("n02124075", "n01443537", "n09246464")  # not sorted, as in the official file
PER_CLASS, TEST = 12, 11


def jpeg(seed: int, grey: bool = False) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1))
    if grey:
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image[..., :1]), colorspace="GRAY"))
    return bytes(simplejpeg.encode_jpeg(image))


def files() -> dict[str, bytes]:
    made = {"wnids.txt": "\n".join(WNIDS).encode()}
    made["words.txt"] = b"n00001740\tentity\nn02124075\tEgyptian cat\nn01443537\tgoldfish, Carassius auratus\n"
    for c, wnid in enumerate(WNIDS):
        for i in range(PER_CLASS):
            made[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(100 * c + i, grey=i == 3)
        made[f"train/{wnid}/{wnid}_boxes.txt"] = b"".join(
            f"{wnid}_{i}.JPEG\t0\t1\t62\t63\n".encode() for i in range(PER_CLASS)
        )
    # Listed backwards: the order of samples is that of the numbers in the names.
    made["val/val_annotations.txt"] = b"".join(
        f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t32\t44\t62\n".encode() for i in reversed(range(TEST))
    )
    made.update({f"val/images/val_{i}.JPEG": jpeg(1000 + i) for i in range(TEST)})
    made["test/images/test_0.JPEG"] = b"unlabelled, not read"
    return made


def write_tree(data_dir: Path, content: dict[str, bytes] | None = None) -> Path:
    tree = data_dir / "tiny-imagenet" / TOP
    for name, data in (content or files()).items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    return tree


def write_zip(data_dir: Path, content: dict[str, bytes] | None = None) -> Path:
    path = data_dir / "tiny-imagenet" / ARCHIVE
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(TOP)
        for name, data in reversed((content or files()).items()):
            archive.writestr(f"{TOP}/{name}", data)
    return path


FORMS = pytest.mark.parametrize("write", [write_tree, write_zip], ids=["tree", "zip"])
Write = Callable[..., Path]


def blocks(data_dir: Path, split: str) -> list[Block]:
    return list(TinyImageNet(data_dir).splits()[split].blocks())


@FORMS
def test_files_come_unchanged_in_the_documented_order(write: Write, tmp_path: Path) -> None:
    write(tmp_path)
    content = files()
    source = open_source("tiny-imagenet", tmp_path)
    assert source.missing() is None
    (train,) = source.splits()["train"].blocks()
    expected = [f"train/{wnid}/images/{wnid}_{i}.JPEG" for wnid in sorted(WNIDS) for i in range(PER_CLASS)]
    assert list(train.names) == expected
    assert train.files == [content[name] for name in expected]
    assert train.labels.tolist() == [label for label in range(3) for _ in range(PER_CLASS)]
    (test,) = source.splits()["test"].blocks()
    assert list(test.names) == [f"val/images/val_{i}.JPEG" for i in range(TEST)]
    assert test.files == [content[name] for name in test.names]
    assert test.labels.tolist() == [sorted(WNIDS).index(WNIDS[i % 3]) for i in range(TEST)]
    assert train.images is None
    info = source.info()
    assert info.classes == ("goldfish", "Egyptian cat", "n09246464")
    assert (info.official, info.synthetic) == (False, False)


@FORMS
def test_splits_decode_with_grey_files_as_three_channels_and_name_a_corrupt_one(write: Write, tmp_path: Path) -> None:
    write(tmp_path, {**files(), "val/images/val_7.JPEG": b"no JPEG"})
    splits = TinyImageNet(tmp_path).splits()
    assert all((split.encoding, split.shape) == ("jpeg", (3, 64, 64)) for split in splits.values())
    images = np.concatenate([b.images for b in take(splits["train"], 3)[0]])
    assert images.shape == (len(splits["train"]), 3, 64, 64)
    np.testing.assert_array_equal(images[3, 0], images[3, 2])
    assert (images[4, 0] != images[4, 2]).any()
    with pytest.raises(DecodeError, match=r"val/images/val_7.JPEG"):
        take(splits["test"], 3)


def test_labels_are_those_of_image_folder(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    tree = write_tree(tmp_path)
    folder = ImageFolder(str(tree / "train"))
    ours = {name: int(label) for b in blocks(tmp_path, "train") for name, label in zip(b.names, b.labels, strict=True)}
    assert ours == {str(Path(path).relative_to(tree)): label for path, label in folder.samples}


def test_tree_and_zip_have_one_fingerprint_that_follows_names_sizes_and_labels(tmp_path: Path) -> None:
    write_tree(tmp_path / "a")
    write_zip(tmp_path / "b")
    first = TinyImageNet(tmp_path / "a").info().fingerprint
    assert TinyImageNet(tmp_path / "b").info().fingerprint == first
    tree = tmp_path / "a" / "tiny-imagenet" / TOP
    annotations = tree / "val" / "val_annotations.txt"
    annotations.write_text(annotations.read_text().replace(f"val_1.JPEG\t{WNIDS[1]}", f"val_1.JPEG\t{WNIDS[2]}"))
    second = TinyImageNet(tmp_path / "a").info().fingerprint
    (tree / f"train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG").write_bytes(jpeg(1) + b"x")
    assert len({first, second, TinyImageNet(tmp_path / "a").info().fingerprint}) == 3


def test_known_checksum_makes_zip_and_extracted_tree_official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324
    monkeypatch.setattr(TinyImageNet, "archive", Archive("http://localhost/x", ARCHIVE, md5))
    from_zip = TinyImageNet(tmp_path).info()
    assert from_zip.official
    tree = TinyImageNet(tmp_path).unpack(path, silent)
    assert (tree / "test/images/test_0.JPEG").exists()
    path.unlink()
    assert TinyImageNet(tmp_path).info() == from_zip
    (tree / "val/images/val_0.JPEG").write_bytes(b"other")
    changed = TinyImageNet(tmp_path).info()
    assert not changed.official
    assert changed.fingerprint != from_zip.fingerprint
    (tree / VERIFIED).write_text("{")
    with pytest.raises(DataError, match=r"VERIFIED.json is damaged"):
        TinyImageNet(tmp_path).info()


def test_unpack_checks_a_tree_that_the_user_extracted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, path = write_tree(tmp_path), write_zip(tmp_path)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324
    monkeypatch.setattr(TinyImageNet, "archive", Archive("http://localhost/x", ARCHIVE, md5))
    source = TinyImageNet(tmp_path)
    assert not source.info().official
    source.unpack(path, silent)
    assert source.info().official
    (tree / "val/images/val_0.JPEG").write_bytes(b"other")
    with pytest.raises(UsageError, match=r"does not hold what tiny-imagenet-200.zip holds; move it away"):
        source.unpack(path, silent)
    assert (tree / "val/images/val_0.JPEG").read_bytes() == b"other"


def test_unpack_replaces_a_twin(tmp_path: Path) -> None:
    path = write_zip(tmp_path)
    tree = write_tree(tmp_path, {"wnids.txt": b"x", MARKER: b"{}"})
    TinyImageNet(tmp_path).unpack(path, silent)
    assert not (tree / MARKER).exists()
    assert len(blocks(tmp_path, "test")[0].labels) == TEST


def test_real_tree_then_zip_then_twin(tmp_path: Path) -> None:
    fewer = {name: data for name, data in files().items() if not name.endswith("_11.JPEG")}
    tree = write_tree(tmp_path, fewer)
    (tree / MARKER).write_text("{}")
    assert TinyImageNet(tmp_path).info().synthetic
    write_zip(tmp_path)
    assert not TinyImageNet(tmp_path).info().synthetic
    (tree / MARKER).unlink()
    assert len(TinyImageNet(tmp_path).splits()["train"]) == 3 * 11


def test_marker_inside_a_zip_is_seen(tmp_path: Path) -> None:
    write_zip(tmp_path, {**files(), MARKER: b"{}"})
    assert TinyImageNet(tmp_path).info().synthetic


def test_missing_says_where_the_files_belong_and_how_to_get_them(tmp_path: Path) -> None:
    message = TinyImageNet(tmp_path).missing()
    assert message is not None
    for part in ("tiny-imagenet-200.zip", str(tmp_path / "tiny-imagenet"), "bench fetch tiny-imagenet", "--synthetic"):
        assert part in message
    tree = write_tree(tmp_path)
    (tree / "wnids.txt").unlink()
    message = TinyImageNet(tmp_path).missing()
    assert message is not None
    assert "lacks wnids.txt; restore" in message
    with pytest.raises(DataError, match=r"lacks wnids.txt"):
        TinyImageNet(tmp_path).splits()


def without(*names: str) -> dict[str, bytes]:
    return {name: data for name, data in files().items() if name not in names}


def changed(name: str, old: bytes, new: bytes) -> dict[str, bytes]:
    return {**files(), name: files()[name].replace(old, new)}


ANNOTATIONS = "val/val_annotations.txt"


CONTRADICTIONS = [
    (without("val/images/val_4.JPEG"), "val_annotations.txt, line 7: the image val/images/val_4.JPEG is missing"),
    (changed(ANNOTATIONS, b"val_4.JPEG\tn01443537", b"val_4.JPEG\tn00000000"), "class 'n00000000', unknown to"),
    (changed(ANNOTATIONS, b"val_5.JPEG", b"val_6.JPEG"), "line 6: val_6.JPEG is there twice"),
    ({**files(), ANNOTATIONS: b"\n"}, "lists no images"),
    ({**files(), ANNOTATIONS: b"val_0.JPEG\n"}, "class '', unknown to wnids.txt"),
    ({**files(), "val/images/val_99.JPEG": b"x"}, "val_99.JPEG has no line in val_annotations.txt"),
    ({**files(), "wnids.txt": b""}, "names no class"),
    ({**files(), "wnids.txt": b"n1\nn1\n"}, "names no class or one twice"),
    ({**files(), "wnids.txt": files()["wnids.txt"] + b"\nn09999999"}, "class n09999999 has no images"),
    ({**files(), "wnids.txt": b"n02124075\nn01443537"}, "n09246464 is no class that wnids.txt names"),
    (without(*[name for name in files() if name.startswith("train/n09")]), "class n09246464 has no images"),
]


@FORMS
def test_contradictions_are_named_with_the_remedy(write: Write, tmp_path: Path) -> None:
    for number, (content, sentence) in enumerate(CONTRADICTIONS):
        write(tmp_path / str(number), content)
        refused = refusal(TinyImageNet(tmp_path / str(number)).info)
        assert refused.startswith("DataError") and sentence in refused, (sentence, refused)
        assert refused.endswith("bench fetch tiny-imagenet`"), refused


def test_zip_without_its_text_files_or_with_a_huge_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.sources.tiny_imagenet._MOST_BYTES", 100)
    write_zip(tmp_path / "huge")
    with pytest.raises(DataError, match=r"val_annotations.txt has \d+ bytes, more than the 100"):
        TinyImageNet(tmp_path / "huge").info()
    write_zip(tmp_path, without("wnids.txt"))
    with pytest.raises(DataError, match=r"does not hold tiny-imagenet-200/wnids.txt"):
        TinyImageNet(tmp_path).info()


def test_zip_cut_short_is_one_sentence(tmp_path: Path) -> None:
    path = write_zip(tmp_path)
    data = path.read_bytes()
    for kept in (0.0, 0.5, 0.99):
        path.write_bytes(data[: int(len(data) * kept)])
        refused = refusal(TinyImageNet(tmp_path).info)
        assert f"{path} is cut short or damaged (" in refused, kept
        assert refused.endswith("; remove it and run `bench fetch tiny-imagenet`"), kept


def test_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path)
    splits = TinyImageNet(tmp_path).splits()
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{TOP}/val/images/val_7.JPEG")
    data[member.header_offset + 30 + len(member.filename) + 100] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"val/images/val_7.JPEG is cut short or damaged"):
        list(splits["test"].blocks())


def test_file_that_vanishes_is_one_sentence(tmp_path: Path) -> None:
    tree = write_tree(tmp_path)
    splits = TinyImageNet(tmp_path).splits()
    (tree / "val/images/val_7.JPEG").unlink()
    with pytest.raises(DataError, match=r"cannot read .*val_7.JPEG: No such file"):
        list(splits["test"].blocks())


def test_what_file_managers_leave_is_ignored(tmp_path: Path) -> None:
    extra = {"val/images/.DS_Store": b"x", "val/images/._val_0.JPEG": b"x", "train/notes.txt": b"x"}
    write_tree(tmp_path, {**files(), **extra})
    assert len(blocks(tmp_path, "test")[0].labels) == TEST
