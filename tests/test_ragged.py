"""Stores of images of many sizes: what is damaged is named, scaled decoding is near, and an index may be huge."""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loaders import BatchRequest, Caps, DecodeError, OptionError, StoreError, load, read_manifest
from loaders.store.manifest import write_manifest
from loaders.store.sizes import sizes_name
from loaders.testing import INFO, SIZE, RaggedSamples, make_splits
from tests.picture_kinds import (
    by_pillow,
    encoded,
    frame_at,
    jpeg_of_size,
    picture_files,
    png_of_size,
    smooth,
    with_byte,
)
from tests.stores import open_store, store_samples


def prepared(location: Path, loader: str = "mmap", **options: Any) -> RaggedSamples:
    samples = RaggedSamples(41, seed=1)
    found = load(loader)
    store_samples(found, {"train": samples}, location, found.Options.model_validate(options), dataset=INFO)
    return samples


@pytest.mark.parametrize("loader", ["mmap", "hdf5"])
def test_a_damaged_image_is_named(loader: str, tmp_path: Path) -> None:
    location = tmp_path / "store"
    samples = prepared(location, loader, encoding="jpeg")
    (data,) = [path for path in location.iterdir() if path.suffix in (".jpeg", ".h5")]
    content = data.read_bytes()
    place = content.index(samples.files[6])  # a plain JPEG file
    data.write_bytes(content[: place + 10] + bytes(40) + content[place + 50 :])
    with open_store(load(loader), location, "train", {"encoding": "jpeg"}, size=SIZE) as dataset:
        dataset.batch([5])
        with pytest.raises(DecodeError, match=r"image 6 of the train split in .* cannot be read: .*; remove .*store"):
            dataset.batch([5, 6])


def test_sizes_of_another_split_are_refused(tmp_path: Path) -> None:
    location = tmp_path / "store"
    prepared(location)
    info = read_manifest(location)
    path = location / sizes_name("train")
    path.write_bytes(path.read_bytes() + bytes(12))
    write_manifest(info.model_copy(update={"files": {**info.files, path.name: path.stat().st_size}}), location)
    with pytest.raises(StoreError, match=r"train\.sizes does not describe 41 images; remove"):
        open_store(load("mmap"), location, "train", size=SIZE).open()


def test_pixels_that_do_not_fit_their_size_are_refused(tmp_path: Path) -> None:
    location = tmp_path / "store"
    prepared(location)
    path = location / sizes_name("train")
    described = np.frombuffer(path.read_bytes(), "<i4").reshape(-1, 3).copy()
    described[3, 0] += 1
    path.write_bytes(described.tobytes())
    with (
        open_store(load("mmap"), location, "train", size=SIZE) as dataset,
        pytest.raises(DecodeError, match=r"image 3 .* it has \d+ bytes instead of \d+"),
    ):
        dataset.batch([3])


def test_scaled_decoding_is_near_and_says_so(tmp_path: Path) -> None:
    location = tmp_path / "store"
    large = RaggedSamples(12, seed=3)
    rng = np.random.default_rng(0)
    import simplejpeg

    large.images = [np.ascontiguousarray(rng.integers(0, 256, (5, 7, 3), np.uint8).repeat(90, 0).repeat(70, 1))] * 12
    large.files = [bytes(simplejpeg.encode_jpeg(image, 95)) for image in large.images]
    found = load("mmap")
    store_samples(found, {"train": large}, location, found.Options.model_validate({"encoding": "jpeg"}), dataset=INFO)
    crops = {}
    for scaled in (False, True):
        options = {"encoding": "jpeg", "scaled": scaled}
        assert found.Options.model_validate(options).public()["scaled"] is scaled
        with open_store(found, location, "train", options, size=32) as dataset:
            crops[scaled] = dataset.batch(BatchRequest(np.arange(12), 0, 0, 32, train=True)).images.numpy().astype(int)
            whole, _ = dataset.whole([0])  # is never scaled
            assert whole[0].shape == (450, 490, 3)
    difference = np.abs(crops[True] - crops[False])
    assert 0 < difference.mean() < 6


def test_scaled_is_for_images_of_many_sizes(tmp_path: Path) -> None:
    found = load("mmap")
    store_samples(found, make_splits("jpeg"), tmp_path / "store", found.Options.model_validate({}), dataset=INFO)
    with pytest.raises(OptionError, match="scaled=true is for images of many sizes"):
        open_store(found, tmp_path / "store", "train", {"scaled": True}).open()


def test_a_format_for_one_size_refuses_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load("memory")
    monkeypatch.setattr(found, "caps", Caps(ragged=False))
    with pytest.raises(OptionError, match="keeps images of one size, and those of samples differ"):
        store_samples(found, {"train": RaggedSamples(5)}, tmp_path / "store", dataset=INFO)


_HUGE = """
import json, sys
import numpy as np
from pathlib import Path
from loaders import open_dataset

def memory(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024

location = Path(sys.argv[1])
dataset = open_dataset(location, "train", size=8)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
before, own = memory("VmHWM"), memory("RssAnon")
dataset.open()
opened = memory("VmHWM") - before
order = np.random.default_rng(0).integers(0, len(dataset), 12800)
for start in range(0, len(order), 128):
    dataset.batch(order[start : start + 128])
# Mapped pages of the files are the system's to take back; what the process itself holds is not.
print(json.dumps([len(dataset), opened, memory("RssAnon") - own]))
"""


def test_two_million_images_take_little_memory(tmp_path: Path) -> None:
    """Their labels, sizes and offsets alone have 56 MB, of which only the labels may be read on opening."""
    location, count, side = tmp_path / "store", 2_000_000, 16
    samples = RaggedSamples(2, "raw", seed=1)
    found = load("mmap")
    store_samples(found, {"train": samples}, location, dataset=INFO)
    each = 3 * side * side
    np.arange(0, (count + 1) * each, each, dtype="<i8").tofile(location / "train.offsets")
    np.zeros(count, "<i8").tofile(location / "train.labels")
    described = np.zeros((count, 3), "<i4")
    described[:, :2] = side
    described.tofile(location / sizes_name("train"))
    with (location / "train.pixels").open("wb") as file:
        file.truncate(count * each)  # sparse: nobody has 7.7 GB for a test
    info = read_manifest(location)
    splits = {"train": info.splits["train"].model_copy(update={"count": count})}
    files = {name: (location / name).stat().st_size for name in info.files}
    write_manifest(info.model_copy(update={"splits": splits, "files": files}), location)
    done = subprocess.run([sys.executable, "-c", _HUGE, str(location)], capture_output=True, text=True, check=True)
    length, opened, drawn = json.loads(done.stdout)
    assert length == count
    assert opened < 40e6
    assert drawn < 40e6


def stored_in(location: Path, files: dict[str, bytes], loader: str = "mmap", **options: Any) -> list[tuple[int, int]]:
    """A store of these files, of which it gives each one's place in the data."""
    samples = RaggedSamples(len(files))
    samples.files = list(files.values())
    found = load(loader)
    store_samples(found, {"train": samples}, location, found.Options.model_validate(options), dataset=INFO)
    ends = np.cumsum([0, *map(len, samples.files)]).tolist()
    return list(itertools.pairwise(ends))


def replaced(location: Path, place: tuple[int, int], by: bytes) -> None:
    """Another file of the same length in the place of one that was stored."""
    data = location / "train.jpeg"
    content = data.read_bytes()
    start, end = place
    assert len(by) <= end - start
    data.write_bytes(content[:start] + by.ljust(end - start, b"\0") + content[end:])


_CROPS = """
import sys
from loaders import BatchRequest, Caps, DecodeError, open_dataset
import numpy as np

with open_dataset(sys.argv[1], "train", size=6, scaled=True, threads=1) as dataset:
    for turn in range(200):
        try:
            dataset.batch(BatchRequest(np.array([0]), turn, 0, 6, train=True))
        except DecodeError as error:
            assert "image 0 of the train split" in str(error), error
            print("refused")
"""


def test_an_image_that_becomes_lossless_after_it_was_stored_is_a_sentence(tmp_path: Path) -> None:
    file = picture_files()["jpeg_rgb"]
    (place,) = stored_in(tmp_path / "store", {"it": file}, encoding="jpeg")
    scan = file.index(b"\xff\xda")
    file = with_byte(with_byte(with_byte(file, frame_at(file) + 1, 0xC3), scan + 11, 1), scan + 12, 0)
    replaced(tmp_path / "store", place, file)
    # Once it wrote beyond the result, so that the process died of it at some time or other.
    environment = {**os.environ, "MALLOC_CHECK_": "3", "LD_PRELOAD": "libc_malloc_debug.so.0"}
    command = [sys.executable, "-c", _CROPS, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused") == 200


def test_lossless_images_are_stored_and_read_at_full_size(tmp_path: Path) -> None:
    kinds = picture_files()
    files = {name: kinds[name] for name in ("lossless_rgb_4x4", "jpeg_lossless_rgb", "jpeg_lossless_grey")}
    stored_in(tmp_path / "store", files, encoding="jpeg")
    with open_store(load("mmap"), tmp_path / "store", "train", {"encoding": "jpeg", "scaled": True}, size=4) as dataset:
        images, _ = dataset.whole(range(3))
        for image, file in zip(images, files.values(), strict=True):
            assert (image == by_pillow(file)).all()
        for turn in range(20):
            dataset.batch(BatchRequest(np.arange(3), turn, 0, 4, train=True))


WAYS = [{}, {"scaled": True}, {"decoder": "pil"}]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_another_picture_in_the_place_of_one_is_refused_before_it_is_decoded(
    tmp_path: Path, way: dict[str, Any]
) -> None:
    for name in ("jpeg_420", "jpeg_grey", "jpeg_turned_6", "png_RGB", "webp_lossy", "bmp_RGB"):
        refuse_another_picture(tmp_path, name, way)


def refuse_another_picture(tmp_path: Path, name: str, way: dict[str, Any]) -> None:
    file = picture_files()[name]
    found = load("filesystem")
    samples = RaggedSamples(1)
    samples.files, samples.labels = [file], np.zeros(1, np.int64)
    store_samples(found, {"train": samples}, tmp_path / "store", dataset=INFO)
    (path,) = (tmp_path / "store" / "train").rglob("*.jpg")
    others = [encoded(smooth(2, 22, 30), "JPEG", quality=10), encoded(smooth(2, 8, 8), "PNG")]
    if name.startswith("jpeg"):
        others += [jpeg_of_size(file, 8000, 9000), jpeg_of_size(file, 30000, 20000)]
    if name.startswith("png"):
        others += [png_of_size(file, 8000, 9000)]
    for other in others:
        if len(other) > len(file):
            assert other is not others[1]
            continue
        path.write_bytes(other.ljust(len(file), b"\0"))
        with open_store(found, tmp_path / "store", "train", way, size=8) as dataset:
            for read in (lambda: dataset.batch([0]), lambda: dataset.whole([0])):
                before = peak()
                with pytest.raises(DecodeError, match=r"image 0 of the train split in .* cannot be read: .*; remove"):
                    read()
                assert peak() - before < 100e6


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_pillow_decodes_what_is_said_to_be_decoded_by_it(tmp_path: Path) -> None:
    kinds = picture_files()
    location = tmp_path / "store"
    found = load("filesystem")
    samples = RaggedSamples(2)
    samples.files = [kinds["jpeg_jfif_0"].replace(b"JFIF\0\0", b"JFIF\0\1", 1), kinds["jpeg_420"]]
    samples.labels = np.zeros(2, np.int64)
    store_samples(found, {"train": samples}, location, dataset=INFO)
    # What simplejpeg refuses and Pillow reads tells one from the other.
    (location / "train" / "0000" / "00000000.jpg").write_bytes(kinds["jpeg_jfif_0"])
    for decoder in ("fast", "pil"):
        with open_store(found, location, "train", {"decoder": decoder}, size=8) as dataset:
            dataset.batch([1])
            if decoder == "fast":
                with pytest.raises(DecodeError, match="image 0 of the train split"):
                    dataset.batch([0])
            else:
                dataset.batch([0])
                assert (dataset.whole([0])[0][0] == by_pillow(kinds["jpeg_jfif_0"])).all()


def test_both_decoders_give_the_same_pixels(tmp_path: Path) -> None:
    both_decoders_give_the_same_pixels(tmp_path / "jpeg", RaggedSamples(41, "jpeg", seed=5))
    both_decoders_give_the_same_pixels(tmp_path / "raw", RaggedSamples(41, "raw", seed=5))


def both_decoders_give_the_same_pixels(tmp_path: Path, samples: RaggedSamples) -> None:
    found = load("filesystem")
    store_samples(found, {"train": samples}, tmp_path / "store", dataset=INFO)
    request = BatchRequest(np.arange(41), 3, 1, SIZE, train=True)
    batches = []
    for decoder in ("fast", "pil"):
        with open_store(found, tmp_path / "store", "train", {"decoder": decoder}, size=SIZE) as dataset:
            batches.append(dataset.batch(request).images)
            assert all(np.array_equal(*pair) for pair in zip(dataset.whole(range(41))[0], samples.images, strict=True))
    assert torch.equal(*batches)


def test_pillow_does_not_decode_at_a_scale() -> None:
    with pytest.raises(OptionError, match=r"^loader filesystem: scaled=true is for decoder=fast; Pillow"):
        open_store(load("filesystem"), "nowhere", "train", {"decoder": "pil", "scaled": "true"})
