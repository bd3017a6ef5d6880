"""CIFAR-10: every official form gives the same samples; every kind of damage one sentence with its remedy."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import DataError
from bench.sources import cifar10
from bench.sources.cifar10 import Cifar10
from bench.sources.cifar_layout import BINARY, CLASSES, PICKLED, Layout
from bench.sources.files import MARKER
from bench.sources.registry import open_source
from bench.sources.unpickle import dump_python2
from loaders.testing import take
from tests.refusals import refusal

COUNTS = (3, 2, 4, 1, 2, 5)  # five training batches, the test batch
RANDOM = np.random.default_rng(5)
BATCHES = [
    (RANDOM.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), RANDOM.integers(0, 10, count)) for count in COUNTS
]


def pickled(images: NDArray[np.uint8], labels: Any) -> bytes:
    return dump_python2(
        {"batch_label": "b", "labels": [int(x) for x in labels], "data": images.reshape(len(images), -1)}
    )


def binary(images: NDArray[np.uint8], labels: Any) -> bytes:
    return np.hstack([np.asarray(labels, np.uint8)[:, None], images.reshape(len(images), -1)]).tobytes()


def files(layout: Layout) -> dict[str, bytes]:
    encode = pickled if layout.pickled else binary
    made = {name: encode(*batch) for name, batch in zip(layout.batches, BATCHES, strict=True)}
    made[layout.meta] = (
        dump_python2({"num_cases_per_batch": 3, "label_names": list(CLASSES), "num_vis": 3072})
        if layout.pickled
        else ("\n".join(CLASSES) + "\n\n").encode()
    )
    return made


def write_folder(data_dir: Path, layout: Layout, content: dict[str, bytes] | None = None) -> Path:
    folder = data_dir / "cifar10" / layout.folder
    folder.mkdir(parents=True)
    for name, data in (content or files(layout)).items():
        (folder / name).write_bytes(data)
    return folder


def write_archive(data_dir: Path, layout: Layout, content: dict[str, bytes] | None = None) -> Path:
    path = data_dir / "cifar10" / layout.archive
    path.parent.mkdir(parents=True, exist_ok=True)
    # Out of order, as the official archive is.
    ordered = sorted((content or files(layout)).items(), key=lambda item: hashlib.md5(item[0].encode()).digest())  # noqa: S324
    with tarfile.open(path, "w:gz") as archive:
        for name, data in ordered:
            member = tarfile.TarInfo(f"{layout.folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def samples(data_dir: Path) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    read = {}
    for name, split in Cifar10(data_dir).splits().items():
        blocks = list(split.blocks())
        images, labels = [b.images for b in blocks], np.concatenate([b.labels for b in blocks])
        assert all(image is not None and image.flags.writeable and image.flags.c_contiguous for image in images)
        read[name] = (np.concatenate([image for image in images if image is not None]), labels)
        assert split.shape == (3, 32, 32)
        assert split.encoding == "raw"
        assert len(split) == len(labels)
    return read


def both(layout: Layout) -> list[tuple[Layout, Callable[..., Path]]]:
    return [(layout, write_folder), (layout, write_archive)]


FORMS = pytest.mark.parametrize(
    ("layout", "write"), [*both(PICKLED), *both(BINARY)], ids=["pickled", "pickled.tar", "binary", "binary.tar"]
)


@FORMS
def test_every_form_gives_the_same_samples_in_order(layout: Layout, write: Callable[..., Path], tmp_path: Path) -> None:
    write(tmp_path, layout)
    source = open_source("cifar10", tmp_path)
    assert source.missing() is None
    read = samples(tmp_path)
    np.testing.assert_array_equal(read["train"][0], np.concatenate([images for images, _ in BATCHES[:5]]))
    np.testing.assert_array_equal(read["train"][1], np.concatenate([labels for _, labels in BATCHES[:5]]))
    np.testing.assert_array_equal(read["test"][0], BATCHES[5][0])
    np.testing.assert_array_equal(read["test"][1], BATCHES[5][1])
    info = source.info()
    assert (info.name, info.official, info.synthetic, info.classes) == ("cifar10", False, False, CLASSES)
    for name, split in source.splits().items():
        assert take(split, 10)[1].count == len(split)
        for start in range(len(split) + 1):
            part = [block.labels for block in split.blocks(start, start + 3)]
            np.testing.assert_array_equal(np.concatenate([[], *part]), read[name][1][start : start + 3])


@FORMS
def test_known_checksums_make_it_official_in_every_form_with_one_fingerprint(
    layout: Layout, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "_OFFICIAL_COUNT", 2)
    monkeypatch.setattr("tests.test_cifar10.BATCHES", [(i[:1].repeat(2, 0), y[:1].repeat(2)) for i, y in BATCHES])
    content = files(layout)
    path = write(tmp_path, layout, content)
    sums = {name: hashlib.new(layout.algorithm, content[name]).hexdigest() for name in layout.batches}
    known = layout._replace(
        batches=sums,
        archive_md5=hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else "",  # noqa: S324
    )
    before = Cifar10(tmp_path).info()
    monkeypatch.setattr(cifar10, "PICKLED" if layout is PICKLED else "BINARY", known)
    # The fingerprint of official files is a constant, whichever form they have.
    constant = hashlib.sha256((known if layout is PICKLED else PICKLED).archive_md5.encode()).hexdigest()
    official = Cifar10(tmp_path).info()
    assert (before.official, official.official) == (False, True)
    assert official.fingerprint == constant != before.fingerprint
    assert samples(tmp_path)["train"][0].shape == (10, 3, 32, 32)


def test_fingerprint_follows_the_content(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, PICKLED)
    first = Cifar10(tmp_path).info().fingerprint
    assert Cifar10(tmp_path).info().fingerprint == first
    (folder / "data_batch_2").write_bytes(pickled(BATCHES[1][0], [7, 7]))
    assert Cifar10(tmp_path).info().fingerprint != first


def test_checksums_are_those_that_torchvision_states() -> None:
    from torchvision.datasets import CIFAR10

    assert dict([*CIFAR10.train_list, *CIFAR10.test_list]) == PICKLED.batches
    assert (CIFAR10.filename, CIFAR10.tgz_md5, CIFAR10.url) == (
        PICKLED.archive,
        PICKLED.archive_md5,
        Cifar10.archive.url,
    )


def test_real_folder_then_archive_then_twin(tmp_path: Path) -> None:
    empty = {name: pickled(BATCHES[0][0][:1], BATCHES[0][1][:1]) for name in PICKLED.batches}
    twin = write_folder(tmp_path, PICKLED, {**empty, PICKLED.meta: files(PICKLED)[PICKLED.meta]})
    (twin / MARKER).write_text("{}")
    assert Cifar10(tmp_path).info().synthetic
    write_archive(tmp_path, BINARY)
    assert not Cifar10(tmp_path).info().synthetic
    assert len(samples(tmp_path)["train"][1]) == 12
    (twin / MARKER).unlink()
    assert len(samples(tmp_path)["train"][1]) == 5


def test_marker_inside_an_archive_is_seen(tmp_path: Path) -> None:
    write_archive(tmp_path, PICKLED, {**files(PICKLED), MARKER: b"{}"})
    assert Cifar10(tmp_path).info().synthetic


def test_missing_says_where_the_files_belong_and_how_to_get_them(tmp_path: Path) -> None:
    message = Cifar10(tmp_path).missing()
    assert message is not None
    for part in ("cifar-10-python.tar.gz", "cifar-10-batches-bin", str(tmp_path / "cifar10"), "bench fetch cifar10"):
        assert part in message
    assert "--synthetic" in message
    folder = write_folder(tmp_path, PICKLED)
    (folder / "data_batch_3").unlink()
    message = Cifar10(tmp_path).missing()
    assert message is not None
    assert f"{folder} lacks data_batch_3;" in message
    with pytest.raises(DataError, match="lacks data_batch_3"):
        Cifar10(tmp_path).info()


def test_incomplete_folder_does_not_hide_the_archive(tmp_path: Path) -> None:
    (write_folder(tmp_path, PICKLED) / "test_batch").unlink()
    write_archive(tmp_path, PICKLED)
    assert Cifar10(tmp_path).missing() is None
    assert len(samples(tmp_path)["test"][1]) == 5


IMAGES, LABELS = BATCHES[0]
FLAT = IMAGES.reshape(3, -1)
DAMAGED_BATCHES = [
    (PICKLED, "data_batch_2", pickled(IMAGES, LABELS[:2]), "has 3 images but 2 labels"),
    (PICKLED, "data_batch_2", pickled(IMAGES, [1, 2, 10]), "has the label 10"),
    (PICKLED, "data_batch_2", pickled(IMAGES, [1, -1, 3]), "has the label -1"),
    (
        PICKLED,
        "data_batch_2",
        pickle.dumps({"labels": [1, 2, 3], "data": FLAT * 1.0}),
        "float64 data of shape (3, 3072)",
    ),
    (
        PICKLED,
        "data_batch_2",
        pickle.dumps({"labels": [1, 2, 3], "data": FLAT[:, 1:]}),
        "uint8 data of shape (3, 3071)",
    ),
    (
        PICKLED,
        "data_batch_2",
        pickle.dumps({"labels": [1, 2, 3], "data": IMAGES}),
        "uint8 data of shape (3, 3, 32, 32)",
    ),
    (PICKLED, "data_batch_2", pickle.dumps({"labels": [1, 2.5, 3], "data": FLAT}), "not whole numbers"),
    (PICKLED, "data_batch_2", pickle.dumps({"labels": [1, 2**70, 3], "data": FLAT}), "not whole numbers"),
    (PICKLED, "data_batch_2", pickle.dumps({"labels": [1, None, 3], "data": FLAT}), "not whole numbers"),
    (PICKLED, "data_batch_2", pickle.dumps({"labels": np.ones((3, 1), int), "data": FLAT}), "not whole numbers"),
    (PICKLED, "data_batch_2", pickle.dumps({"fine_labels": [1, 2, 3], "data": FLAT}), "lacks its array of data or its"),
    (PICKLED, "data_batch_2", pickle.dumps({"labels": [1, 2, 3], "data": FLAT.tolist()}), "lacks its array"),
    (PICKLED, "data_batch_2", pickle.dumps({"labels": [1], "data": Path("x")}), "which was not run"),
    (PICKLED, "data_batch_2", files(PICKLED)["data_batch_2"][:-500], "not a readable CIFAR-10 pickle"),
    (PICKLED, "data_batch_2", b"", "not a readable CIFAR-10 pickle"),
    (BINARY, "test_batch.bin", binary(*BATCHES[1])[:-1], "has 6145 bytes, which is not a multiple of the 3073"),
    (BINARY, "test_batch.bin", b"\x0b" + bytes(3072), "has the label 11"),
    (PICKLED, "batches.meta", pickle.dumps({"label_names": ["a", "b"]}), "does not list ten class names"),
    (PICKLED, "batches.meta", pickle.dumps({"label_names": 5}), "does not list ten class names"),
    (PICKLED, "batches.meta", pickle.dumps({"label_names": [["a"]] * 10}), "does not list ten class names"),
    (PICKLED, "batches.meta", pickle.dumps({}), "does not list ten class names"),
    (BINARY, "batches.meta.txt", b"a\n" * 10, "does not list ten class names"),
]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    for number, (layout, name, data, sentence) in enumerate(DAMAGED_BATCHES):
        folder = write_folder(tmp_path / str(number), layout, {**files(layout), name: data})
        refused = refusal(Cifar10(tmp_path / str(number)).info)
        assert refused.startswith(f"DataError: {folder / name} "), (sentence, refused)
        assert sentence in refused and "official file" in refused, (sentence, refused)


def test_integer_arrays_are_labels_too(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, PICKLED)
    (folder / "test_batch").write_bytes(pickle.dumps({"labels": np.array([1, 2, 3]), "data": FLAT}))
    assert samples(tmp_path)["test"][1].tolist() == [1, 2, 3]


def test_split_without_images_is_refused(tmp_path: Path) -> None:
    (write_folder(tmp_path, BINARY) / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DataError, match="holds no test images"):
        Cifar10(tmp_path).info()


@pytest.mark.parametrize("layout", [PICKLED, BINARY], ids=["pickled", "binary"])
def test_a_damaged_archive_is_one_sentence(layout: Layout, tmp_path: Path) -> None:
    path = write_archive(tmp_path, layout)
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    wrong_checksum = data[:-8] + b"1234" + data[-4:]
    cut = [data[: int(len(data) * kept)] for kept in (0, 0.1, 0.5, 0.999)]
    for number, damaged in enumerate([*cut, bytes(flipped), wrong_checksum]):
        path.write_bytes(damaged)
        refused = refusal(Cifar10(tmp_path).info)
        assert f"{path} is cut short or damaged (" in refused, (number, refused)
        assert refused.endswith("; remove it and run `bench fetch cifar10`"), (number, refused)


def test_archive_without_a_batch_or_with_a_link_is_refused(tmp_path: Path) -> None:
    content = files(PICKLED)
    del content["data_batch_4"]
    path = write_archive(tmp_path, PICKLED, content)
    with pytest.raises(DataError, match="does not hold cifar-10-batches-py/data_batch_4"):
        Cifar10(tmp_path).info()
    with tarfile.open(path, "w:gz") as archive:
        for name in (*PICKLED.batches, PICKLED.meta):
            member = tarfile.TarInfo(f"{PICKLED.folder}/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    with pytest.raises(DataError, match="does not hold cifar-10-batches-py/data_batch_1"):
        Cifar10(tmp_path).info()


def test_oversized_files_are_not_taken_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "_MOST_BYTES", 10_000)
    write_archive(tmp_path, PICKLED)
    with pytest.raises(DataError, match="more than the 10000 that such a file may have"):
        Cifar10(tmp_path).info()
    write_folder(tmp_path, PICKLED)
    with pytest.raises(DataError, match="larger than the 10000 bytes"):
        Cifar10(tmp_path).info()


def test_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, PICKLED)
    (folder / "data_batch_1").unlink()
    (folder / "data_batch_1").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*data_batch_1: Is a directory; repair it"):
        Cifar10(tmp_path).info()


def test_change_between_survey_and_reading_is_noticed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, PICKLED)
    split = Cifar10(tmp_path).splits()["test"]
    (folder / "test_batch").write_bytes(pickled(*BATCHES[0]))
    with pytest.raises(DataError, match="changed while it was read"):
        list(split.blocks())
