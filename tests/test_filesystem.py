"""Image files: what lies on disk, and every way in which a file can be wrong."""

from __future__ import annotations

import gc
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from bench.idioms.filesystem import idiom
from loaders import DecodeError, LoaderError, OptionError, StoreDataset, StoreError, read_manifest
from loaders.formats.filesystem import FilesystemFormat, FilesystemOptions
from loaders.store.manifest import write_manifest
from loaders.testing import INFO, Samples, assert_same
from tests.stores import open_store, store_samples

COUNT = 41
LIKE_RAW = Samples(COUNT, (3, 16, 12), "raw", seed=1)
LIKE_JPEG = Samples(COUNT, (3, 16, 12), "jpeg", seed=1)
ORDER = [7, 3, 3, 40, 0, 7, 22, *range(30)]


def prepared(folder: Path, samples: Samples = LIKE_RAW, **options: Any) -> Path:
    """A store with these samples as its training split."""
    location = folder / "store"
    store_samples(FilesystemFormat, {"train": samples}, location, FilesystemOptions(**options), dataset=INFO)
    return location


def opened(location: Path, **options: Any) -> StoreDataset:
    return open_store(FilesystemFormat, location, "train", options)


def image_path(location: Path, index: int, samples: Samples = LIKE_RAW) -> Path:
    suffix = "png" if samples.files is None else "jpg"
    return location / "train" / f"{samples.labels[index]:04d}" / f"{index:08d}.{suffix}"


@pytest.mark.parametrize("samples", [LIKE_RAW, LIKE_JPEG, Samples(COUNT, (1, 9, 7))], ids=["png", "jpeg", "grey"])
@pytest.mark.parametrize("decoder", ["fast", "pil"])
def test_gives_the_source_s_samples(tmp_path: Path, samples: Samples, decoder: str) -> None:
    location = prepared(tmp_path, samples)
    for threads in (0, 1, 3):
        with opened(location, decoder=decoder, threads=threads) as dataset:
            assert_same(dataset.batch(ORDER), samples.expect(ORDER))


@pytest.mark.parametrize("samples", [LIKE_RAW, LIKE_JPEG], ids=["png", "jpeg"])
def test_other_programs_can_read_the_folder(tmp_path: Path, samples: Samples) -> None:
    folder = ImageFolder(str(prepared(tmp_path, samples) / "train"))
    by_name = sorted(range(COUNT), key=lambda i: (samples.labels[i], i))
    assert [label for _, label in folder.samples] == samples.labels[by_name].tolist()
    for place, i in enumerate(by_name):
        assert np.array_equal(np.asarray(folder[place][0]).transpose(2, 0, 1), samples.images[i])


def test_jpeg_files_are_the_source_s_own(tmp_path: Path) -> None:
    location = prepared(tmp_path, LIKE_JPEG)
    assert LIKE_JPEG.files is not None
    for i, file in enumerate(LIKE_JPEG.files):
        assert image_path(location, i, LIKE_JPEG).read_bytes() == file


def test_compression_level(tmp_path: Path) -> None:
    flat = Samples(10, (3, 16, 12))
    flat.images = np.full_like(flat.images, 200)
    sizes = []
    for level in (0, 6):
        (folder := tmp_path / str(level)).mkdir()
        location = prepared(folder, flat, compression=level)
        with opened(location, compression=level) as dataset:
            assert_same(dataset.batch([9, 1]), flat.expect([9, 1]))
        sizes.append(image_path(location, 0, flat).stat().st_size)
    assert sizes[1] < sizes[0] / 3
    with pytest.raises(OptionError, match="compression"):
        opened(tmp_path, compression=10)
    with pytest.raises(StoreError, match="prepare another store"):
        opened(tmp_path / "0" / "store").open()


def test_channels_that_no_image_file_has(tmp_path: Path) -> None:
    with pytest.raises(LoaderError, match="1 or 3 channels, not the 4 of the train split"):
        prepared(tmp_path, Samples(5, (4, 8, 8)))
    assert not (tmp_path / "store").exists()


def test_opening_looks_at_no_image(tmp_path: Path) -> None:
    location = prepared(tmp_path)
    image_path(location, 5).unlink()
    with opened(location) as dataset:
        others = [i for i in range(COUNT) if i != 5]
        assert_same(dataset.batch(others), LIKE_RAW.expect(others))
        with pytest.raises(StoreError, match=r"00000005\.png: No such file or directory; .*prepare it again"):
            dataset.batch([1, 5])


def other_image(height: int, width: int, codec: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(buffer, codec)
    return buffer.getvalue()


@pytest.mark.parametrize("samples", [LIKE_RAW, LIKE_JPEG], ids=["png", "jpeg"])
@pytest.mark.parametrize("decoder", ["fast", "pil"])
def test_damaged_images_are_named(tmp_path: Path, samples: Samples, decoder: str) -> None:
    location = prepared(tmp_path, samples)
    path = image_path(location, 11, samples)
    whole = path.read_bytes()
    small = other_image(8, 8, "png" if samples.files is None else "jpeg")
    with opened(location, decoder=decoder) as dataset:
        for damaged, error, message in [
            (b"", StoreError, f"has 0 bytes instead of {len(whole)}"),
            (whole[:-1], StoreError, f"has {len(whole) - 1} bytes instead of {len(whole)}"),
            (whole + b"x", StoreError, f"has more bytes instead of {len(whole)}"),
            (bytes(len(whole)), DecodeError, "is not a readable"),
            (whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2), DecodeError, "is not a readable"),
            (small + bytes(len(whole) - len(small)), DecodeError, "pixels"),
        ]:
            path.write_bytes(damaged)
            with pytest.raises(error, match=message) as caught:
                dataset.batch([*ORDER, 11])
            assert str(path) in str(caught.value)
            assert "prepare it again" in str(caught.value)
        path.unlink()
        path.mkdir()
        with pytest.raises(StoreError, match=r"00000011\.\w+: Is a directory"):
            dataset.batch([11])
        path.rmdir()
        path.write_bytes(whole)
        assert_same(dataset.batch([11]), samples.expect([11]))


@pytest.mark.parametrize("content", ["negative", "short"])
def test_a_strange_index(tmp_path: Path, content: str) -> None:
    location = prepared(tmp_path)
    path = location / "train.png.index"
    if content == "negative":
        path.write_bytes(np.tile(np.array([0, -1], "<i8"), (COUNT, 1)).tobytes())
    else:
        path.write_bytes(path.read_bytes()[:-16])
        info = read_manifest(location)
        write_manifest(info.model_copy(update={"files": {**info.files, path.name: path.stat().st_size}}), location)
    with pytest.raises(
        StoreError,
        match=r"(not the index of the train images; |No such file or directory; fix that or )remove .*prepare it",
    ):
        opened(location).batch([0])


def test_a_lost_folder(tmp_path: Path) -> None:
    location = prepared(tmp_path)
    (location / "train").rename(location / "elsewhere")
    with pytest.raises(StoreError, match=r"failed opening its store: .*train: No such file"):
        opened(location).open()


def test_a_store_replaced_while_open_is_never_mixed_with_the_new_one(tmp_path: Path) -> None:
    with opened(prepared(tmp_path)) as dataset:
        dataset.batch([0])
        prepared(tmp_path, Samples(COUNT, (3, 16, 12), seed=8))
        with pytest.raises(StoreError, match="No such file"):
            dataset.batch([0])


def test_leaks_neither_threads_nor_descriptors(tmp_path: Path) -> None:
    location = prepared(tmp_path)
    dataset = opened(location, threads=3)

    def turn() -> tuple[int, int]:
        with dataset:
            for _ in range(5):
                dataset.batch(ORDER)
            open_threads = threading.active_count()
        assert threading.active_count() < open_threads
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()  # what an earlier test left must not be closed in between
    first = turn()
    assert [turn() for _ in range(10)] == [first] * 10


@pytest.mark.parametrize("samples", [LIKE_RAW, LIKE_JPEG, Samples(COUNT, (1, 9, 7))], ids=["png", "jpeg", "grey"])
def test_the_limit_gives_the_same(tmp_path: Path, samples: Samples) -> None:
    with opened(prepared(tmp_path, samples), threads=2) as dataset, idiom(dataset) as read:
        for indices in [np.array(ORDER), np.array([5]), np.arange(COUNT)]:
            images, labels = read(indices)
            expected = samples.expect(indices.tolist())
            assert np.array_equal(images.transpose(0, 3, 1, 2), expected[0])
            assert np.array_equal(labels, expected[1])
