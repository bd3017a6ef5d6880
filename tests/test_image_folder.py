"""Folders of pictures as people have them: which images are taken, which are left out, and what is said of it."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import DataError, UsageError
from bench.run.stores import StoreSpec, prepare
from bench.sources.base import SourceOptions
from bench.sources.file_split import FolderFiles
from bench.sources.files import MARKER
from bench.sources.folder import Folder, survey
from bench.sources.registry import open_source, why_missing
from loaders import DecodeError, load
from loaders.testing import RaggedSamples, a_file
from tests.refusals import refusal, silent
from tests.stores import write_folder

PICTURE = a_file(np.full((20, 30, 3), 90, np.uint8), 0)


def fill(root: Path, names: list[str], data: bytes = PICTURE) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_classes_and_images_are_in_byte_order(tmp_path: Path) -> None:
    fill(tmp_path, ["b/2.png", "b/10.jpg", "a/x.JPEG", "a/deep/er/y.webp", "Z/1.bmp", "Z/2.BMP"])
    found = survey(tmp_path, 0.5)
    assert found.classes == ("Z", "a", "b")
    both = sorted([*found.train.paths, *found.test.paths])
    assert both == ["Z/1.bmp", "Z/2.BMP", "a/deep/er/y.webp", "a/x.JPEG", "b/10.jpg", "b/2.png"]
    assert found.train.labels.tolist() == [0, 1, 2]
    assert found.test.labels.tolist() == [0, 1, 2]
    assert found.train.sizes.tolist() == [len(PICTURE)] * 3
    assert found.notes == []


def test_a_folder_that_is_split_stays_so_under_any_name(tmp_path: Path) -> None:
    for training, held_out in (
        ("train", "val"),
        ("train", "valid"),
        ("train", "validation"),
        ("train", "TEST"),
        ("Train", "Val"),
        ("training", "testing"),
        ("TRAIN", "Validation"),
        ("Training", "eval"),
    ):
        root = tmp_path / f"{training} {held_out}"
        fill(root, [f"{training}/cat/1.jpg", f"{training}/dog/1.jpg", f"{held_out}/dog/2.jpg"])
        found = survey(root, 0.5)
        assert found.classes == ("cat", "dog"), root
        assert found.train.paths == [f"{training}/cat/1.jpg", f"{training}/dog/1.jpg"], root
        assert (found.test.paths, found.test.labels.tolist()) == ([f"{held_out}/dog/2.jpg"], [1]), root
        assert found.notes == ["1 classes have no held-out image: cat"], root
        fill(root, [f"{held_out}/cat/2.jpg"])
        assert survey(root, 0.5).notes == [], root


def test_a_lone_training_folder_is_split_and_that_is_said(tmp_path: Path) -> None:
    fill(tmp_path / "lone", [f"Train/{name}/{i}.jpg" for name in ("cat", "dog") for i in range(5)])
    found = survey(tmp_path / "lone", 0.2)
    assert found.classes == ("cat", "dog")
    assert np.bincount(found.train.labels).tolist() == [4, 4]
    assert np.bincount(found.test.labels).tolist() == [1, 1]
    said = "beside Train/ there is no val/ or test/; a share of 0.2 of each class is held out"
    assert found.notes == [said]
    fill(tmp_path / "lone", ["masks/sub/1.png"])
    assert survey(tmp_path / "lone", 0.2).notes == [said, "masks beside Train are not used"]
    # The same images are held out as of the class folders alone.
    alone = survey(tmp_path / "lone" / "Train", 0.2)
    assert [f"Train/{path}" for path in alone.test.paths] == found.test.paths


def test_of_several_held_out_folders_one_is_used_and_that_is_said(tmp_path: Path) -> None:
    fill(tmp_path, ["train/a/1.jpg", "val/a/2.jpg", "test/a/3.jpg", "testing/a/4.jpg"])
    found = survey(tmp_path, 0.5)
    assert found.test.paths == ["val/a/2.jpg"]
    assert found.notes == ["test, testing beside train and val are not used"]


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    for number, more in enumerate(("Train/cat/9.jpg", "VAL/cat/9.jpg")):
        fill(tmp_path / str(number), ["train/cat/1.jpg", "val/cat/1.jpg", more])
        with pytest.raises(DataError, match=r"has \w+ and \w+, one (train|val) too many; rename or move one away"):
            survey(tmp_path / str(number), 0.5)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    names = [f"{name}/{i}.jpg" for name in ("bus", "car", "train") for i in range(2)]
    fill(tmp_path, names)
    found = survey(tmp_path, 0.5)
    assert (found.classes, found.notes) == (("bus", "car", "train"), [])
    (tmp_path / "train").rename(tmp_path / "aside")
    fill(tmp_path, ["train/steam/1.jpg"])
    with pytest.raises(
        DataError, match=r"train/ holds folders, as a split does, and aside, bus, car images, as a class"
    ):
        survey(tmp_path, 0.5)


def test_images_that_all_lie_deeper_than_classes_may_are_refused(tmp_path: Path) -> None:
    for number, names in enumerate(
        [
            ["data/train/cat/1.jpg", "data/val/cat/1.jpg"],
            ["cat/train/1.jpg", "cat/val/2.jpg", "dog/train/1.jpg", "dog/val/2.jpg"],
            ["photos/cat/1.jpg", "photos/dog/1.jpg"],
            ["a/x/y/z/1.jpg", "a/x/y/z/2.jpg", "b/notes.txt"],
            ["test/cat/1.jpg", "test/cat/2.jpg"],
        ]
    ):
        root = tmp_path / str(number)
        fill(root, names)
        refused = refusal(survey, root, 0.5)
        assert "only in subfolders" in refused and "laid out as FOLDER/CLASS/IMAGE" in refused, names
        assert f"(perhaps folder:{root / names[0].split('/')[0]})" in refused, names


def test_classes_that_are_only_held_out_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "a", ["train/cat/1.jpg", "val/dog/2.jpg"])
    with pytest.raises(DataError, match=r"has classes that .* lacks: dog"):
        survey(tmp_path / "a", 0.5)
    fill(tmp_path / "b", ["train/\u0101bols/1.jpg", "val/a\u0304bols/2.jpg"])  # names that only look equal
    with pytest.raises(DataError, match=r"looks like one of .*train but is written with other Unicode .* rename one"):
        survey(tmp_path / "b", 0.5)


def test_the_share_is_of_each_class_and_the_same_each_time(tmp_path: Path) -> None:
    fill(tmp_path, [*(f"many/{i:03d}.jpg" for i in range(100)), *(f"few/{i}.jpg" for i in range(4)), "one/0.jpg"])
    for share in (0.1, 0.25, 0.9):
        found, again = survey(tmp_path, share), survey(tmp_path, share)
        counts = np.bincount(found.test.labels, minlength=3).tolist()
        assert found.classes == ("few", "many", "one")
        assert counts == [min(max(round(4 * share), 1), 3), round(100 * share), 0], share
        assert len({*found.train.paths, *found.test.paths}) == 105, share
        assert (again.train.paths, again.test.paths) == (found.train.paths, found.test.paths), share
        assert again.fingerprint == found.fingerprint, share
        assert "1 classes have no held-out image: one" in found.notes


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    fill(
        tmp_path,
        ["a/1.jpg", "a/2.jpg", "a/.hidden.jpg", "a/notes.txt", ".git/x.jpg", "README.md", "b/1.jpg", "b/2.jpg"],
    )
    (tmp_path / "empty").mkdir()
    found = survey(tmp_path, 0.5)
    assert found.classes == ("a", "b", "empty")
    assert len(found.train.paths) == len(found.test.paths) == 2
    hidden, other, empty = found.notes
    assert hidden.startswith("left out 2 files or folders that are hidden: ")
    assert other.startswith("left out 2 files or folders that are no images by their names: ")
    assert "README.md" in other
    assert "a/notes.txt" in other
    assert empty == "1 classes have no images: empty"


def test_names_of_any_script_and_of_none(tmp_path: Path) -> None:
    fill(tmp_path, ["ķēniņš/Ā.jpg", "ķēniņš/b.jpg", "猫/一.jpg", "猫/二.jpg"])
    strange = os.fsencode(tmp_path) + b"/\xff\xfe"
    Path(os.fsdecode(strange)).mkdir()
    for name in (b"/\xe9.jpg", b"/b.jpg"):
        Path(os.fsdecode(strange + name)).write_bytes(PICTURE)
    found = survey(tmp_path, 0.5)
    assert found.classes == ("ķēniņš", "猫", "\ufffd\ufffd")
    blocks = list(found.splits(FolderFiles(tmp_path), None)["train"].blocks())
    assert sum(len(block.labels) for block in blocks) == 3
    "".join(name for block in blocks for name in block.names).encode()


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    fill(tmp_path, ["kept/1.jpg", "kept/2.jpg", "kept/inner/3.jpg"])
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "kept")
    (tmp_path / "kept" / "inner" / "back").symlink_to(tmp_path / "kept")
    (root / "files").mkdir()
    for i in (1, 2):
        (root / "files" / f"{i}.jpg").symlink_to(tmp_path / "kept" / f"{i}.jpg")
    (root / "files" / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = survey(root, 0.5)
    assert sorted([*found.train.paths, *found.test.paths]) == [
        "files/1.jpg",
        "files/2.jpg",
        "linked/1.jpg",
        "linked/2.jpg",
        "linked/inner/3.jpg",
    ]
    (note,) = found.notes
    assert "files/broken.jpg" in note


def test_links_that_lead_nowhere_and_what_is_no_file_are_left_out_and_told(tmp_path: Path) -> None:
    fill(tmp_path, ["a/1.jpg", "a/2.jpg", "outside.jpg"])
    for place in (tmp_path, tmp_path / "a"):
        (place / "loop").symlink_to("loop")
        (place / "loop.jpg").symlink_to("loop.jpg")
        (place / "nowhere.jpg").symlink_to("nothing")
        os.mkfifo(place / "pipe.jpg")
        (place / "to pipe.jpg").symlink_to("pipe.jpg")
        (place / "device.jpg").symlink_to("/dev/zero")
    found = survey(tmp_path, 0.5)
    assert sorted([*found.train.paths, *found.test.paths]) == ["a/1.jpg", "a/2.jpg"]
    outside, lost = found.notes
    assert outside == "left out 1 files or folders that are images outside class folders: outside.jpg"
    assert lost.startswith(
        "left out 12 files or folders that are broken links, links back to a folder above, or no reg"
    )


@pytest.mark.timeout(30)
def test_a_picture_that_became_a_pipe_is_named(tmp_path: Path) -> None:
    fill(tmp_path, ["a/1.jpg", "a/2.jpg"])
    found = survey(tmp_path, 0.5)
    gone = tmp_path / found.train.paths[0]
    gone.unlink()
    os.mkfifo(gone)
    with pytest.raises(DataError, match=r"jpg: it is not a regular file; put a regular file in its place"):
        list(found.splits(FolderFiles(tmp_path), None)["train"].blocks())


def test_a_name_of_several_lines_stays_one_line(tmp_path: Path) -> None:
    fill(tmp_path, ["a\n\x1b[31mb/1.jpg", "a\n\x1b[31mb/2.jpg", "c/x\ny.txt"])
    found = survey(tmp_path, 0.5)
    assert found.classes == ("a\ufffd\ufffd[31mb", "c")
    assert all(note.isprintable() for note in found.notes)
    (tmp_path / "new\nline").mkdir()
    with pytest.raises(DataError) as caught:
        survey(tmp_path / "new\nline", 0.5)
    assert "\n" not in str(caught.value)


def test_a_tree_deeper_than_python_s_stack(tmp_path: Path) -> None:
    deep = "/".join("d" * 120)
    fill(tmp_path, ["a/1.jpg", f"a/{deep}/2.jpg"])
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack()) + 80)
        found = survey(tmp_path, 0.5)
    finally:
        sys.setrecursionlimit(limit)
    assert len(found.train.paths) == len(found.test.paths) == 1


def test_a_folder_without_enough_images_says_what_is_expected(tmp_path: Path) -> None:
    for number, names in enumerate(
        [[], ["a.jpg"], ["a/x.txt"], ["train/a/1.jpg", "val/a/x.txt"], ["a/1.jpg"], ["train/1.jpg"]]
    ):
        (tmp_path / str(number)).mkdir()
        fill(tmp_path / str(number), names)
        with pytest.raises(DataError, match=r"has no (training|held-out) images .* expected is FOLDER/CLASS/IMAGE"):
            survey(tmp_path / str(number), 0.5)


def test_no_folder(tmp_path: Path) -> None:
    source = open_source(f"folder:{tmp_path / 'none'}", tmp_path)
    assert "there is no folder" in (source.missing() or "")
    with pytest.raises(DataError, match="there is no folder"):
        source.info()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("nothing")
    for name, what in (("file", "is no"), ("pipe", "is no"), ("loop", "there is no"), ("nowhere", "there is no")):
        reason = open_source(f"folder:{tmp_path / name}", tmp_path).missing() or ""
        assert what in reason and "laid out as FOLDER/CLASS/IMAGE" in reason
    assert "File name too long; choose a shorter" in why_missing(f"folder:{tmp_path / ('x' * 256)}", tmp_path)  # type: ignore[operator]
    with pytest.raises(UsageError, match="names no folder"):
        open_source("folder:", tmp_path)
    with pytest.raises(UsageError, match="your own data"):
        source.make_twin(1.0, silent)


def test_blocks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [f"a/{i:03d}.jpg" for i in range(20)])
    monkeypatch.setattr("bench.sources.file_split._BLOCK_BYTES", 3 * len(PICTURE))
    sizes = [
        len(block.labels) for block in survey(tmp_path, 0.25).splits(FolderFiles(tmp_path), None)["train"].blocks()
    ]
    assert sizes == [3, 3, 3, 3, 3]
    monkeypatch.setattr("bench.sources.file_split._BLOCK_BYTES", 1)
    sizes = [
        len(block.labels) for block in survey(tmp_path, 0.25).splits(FolderFiles(tmp_path), None)["train"].blocks()
    ]
    assert sizes == [1] * 15


# As a source of stores


def pictures(root: Path) -> RaggedSamples:
    samples = RaggedSamples(40, seed=3)
    write_folder(samples, root)
    return samples


def test_a_store_holds_the_folder_s_pictures(tmp_path: Path) -> None:
    samples = pictures(tmp_path / "photos")
    source = open_source(f"folder:{tmp_path / 'photos'}", tmp_path)
    spec = StoreSpec(load("mmap"), load("mmap").Options(), source, None, tmp_path / "stores")
    info, _ = prepare(spec)
    assert info.dataset.name == "folder:photos"
    assert spec.relative.startswith("folder-photos-")
    seen = []
    for split in ("train", "test"):
        with spec.open(split) as dataset:
            images, labels = dataset.whole(range(len(dataset)))
            seen += [(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)]
    expected = [(image.tobytes(), int(label)) for image, label in zip(samples.images, samples.labels, strict=True)]
    assert sorted(seen) == sorted(expected)


def test_a_changed_folder_and_a_twin_s_tree_are_noticed(tmp_path: Path) -> None:
    pictures(tmp_path)
    before = Folder(tmp_path).info()
    assert Folder(tmp_path).info() == before
    assert (before.official, before.synthetic) == (False, False)
    assert Folder(tmp_path, SourceOptions(resize=16)).info().fingerprint != before.fingerprint
    fill(tmp_path, ["class 1/new.jpg"])
    assert Folder(tmp_path).info().fingerprint != before.fingerprint
    (tmp_path / MARKER).write_text("{}")
    assert Folder(tmp_path).info().synthetic


def test_two_folders_of_one_name_have_stores_of_their_own(tmp_path: Path) -> None:
    names = [
        Folder(tmp_path / place / "photos", SourceOptions(resize=r)).store_name for place in "ab" for r in (None, 64)
    ]
    assert len(set(names)) == 4


def test_a_corrupt_file_ends_it_or_is_left_out_and_named(tmp_path: Path) -> None:
    pictures(tmp_path / "photos")
    fill(tmp_path / "photos", ["class 1/broken.jpg", "class 1/broken2.png"], b"no picture")
    for loader, resize in (("mmap", None), ("hdf5", None), ("filesystem", None), ("mmap", 16), ("filesystem", 16)):
        found = load(loader)
        for on_corrupt in ("fail", "skip"):
            options = SourceOptions.model_validate({"on_corrupt": on_corrupt, "resize": resize, "test_share": 0.3})
            source = open_source(f"folder:{tmp_path / 'photos'}", tmp_path, options)
            spec = StoreSpec(found, found.Options(), source, None, tmp_path / "stores")
            if on_corrupt == "fail":
                with pytest.raises(DecodeError, match=r"class 1/broken2?\.(jpg|png) is not a readable picture"):
                    prepare(spec)
                continue
            info, _ = prepare(spec)
            skipped = [name for split in info.splits.values() for name in split.skipped]
            assert sorted(skipped) == ["class 1/broken.jpg", "class 1/broken2.png"], (loader, resize)
            assert info.samples == 40
            for split in ("train", "test"):
                with spec.open(split) as dataset:
                    images, labels = dataset.whole(range(len(dataset)))
                    assert len(images) == len(labels) == len(dataset) == info.splits[split].count


def test_a_picture_too_long_for_a_jpeg_file_is_made_smaller_all_the_same(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / "photos" / "one").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (70000, 9), (i, 2, 3)).save(tmp_path / "photos" / "one" / f"{i}.png")
    source = open_source(f"folder:{tmp_path / 'photos'}", tmp_path, SourceOptions(resize=8))
    found = load("mmap")
    spec = StoreSpec(found, found.Options(), source, None, tmp_path / "stores")
    prepare(spec)
    with spec.open("test") as dataset:
        images, _ = dataset.whole([0])
    assert images[0].shape == (8, 62222, 3)


def test_resize_gives_all_loaders_and_encodings_the_same_smaller_pictures(tmp_path: Path) -> None:
    samples = pictures(tmp_path / "photos")
    source = open_source(f"folder:{tmp_path / 'photos'}", tmp_path, SourceOptions(resize=16))
    hashes = set()
    for loader, given in (("mmap", {}), ("mmap", {"encoding": "jpeg"}), ("hdf5", {}), ("filesystem", {})):
        found = load(loader)
        spec = StoreSpec(found, found.Options.model_validate(given), source, None, tmp_path / "stores")
        info, _ = prepare(spec)
        hashes.add(info.splits["train"].pixels_sha256)
        with spec.open("train") as dataset:
            images, _ = dataset.whole(range(len(dataset)))
        assert {min(image.shape[:2]) for image in images} <= set(range(9, 17))
        assert max(min(image.shape[:2]) for image in images) == 16
    assert len(hashes) == 1
    assert max(min(image.shape[:2]) for image in samples.images) > 16


def test_sources_of_one_form_take_no_options(tmp_path: Path) -> None:
    for options in ({"resize": 64}, {"on_corrupt": "skip"}, {"test_share": 0.5}):
        with pytest.raises(UsageError, match="digits comes in one form"):
            open_source("digits", tmp_path, SourceOptions.model_validate(options))
