"""Stores of images of many sizes: what is damaged is named, scaled decoding is near, and an index may be huge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loaders import BatchRequest, DecodeError, OptionError, StoreError, load
from loaders.ragged import sizes_name
from loaders.store import read_manifest, write_manifest
from tests.ragged_samples import SIZE, RaggedSamples
from tests.samples import INFO, as_splits, make_splits


def prepared(location: Path, loader: str = "mmap", **options: Any) -> RaggedSamples:
    samples = RaggedSamples(41, seed=1)
    found = load(loader)
    found.prepare({"train": samples}, location, found.Options.model_validate(options), dataset=INFO)
    return samples


@pytest.mark.parametrize("loader", ["mmap", "hdf5"])
def test_a_damaged_image_is_named(loader: str, tmp_path: Path) -> None:
    location = tmp_path / "store"
    samples = prepared(location, loader, encoding="jpeg")
    (data,) = [path for path in location.iterdir() if path.suffix in (".jpeg", ".h5")]
    content = data.read_bytes()
    place = content.index(samples.files[6])  # a plain JPEG file
    data.write_bytes(content[: place + 10] + bytes(40) + content[place + 50 :])
    with load(loader)(location, "train", {"encoding": "jpeg"}, size=SIZE) as dataset:
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
        load("mmap")(location, "train", size=SIZE).open()


def test_pixels_that_do_not_fit_their_size_are_refused(tmp_path: Path) -> None:
    location = tmp_path / "store"
    prepared(location)
    path = location / sizes_name("train")
    described = np.frombuffer(path.read_bytes(), "<i4").reshape(-1, 3).copy()
    described[3, 0] += 1
    path.write_bytes(described.tobytes())
    with (
        load("mmap")(location, "train", size=SIZE) as dataset,
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
    found.prepare({"train": large}, location, found.Options.model_validate({"encoding": "jpeg"}), dataset=INFO)
    crops = {}
    for scaled in (False, True):
        options = {"encoding": "jpeg", "scaled": scaled}
        assert found.Options.model_validate(options).public()["scaled"] is scaled
        with found(location, "train", options, size=32) as dataset:
            crops[scaled] = dataset.batch(BatchRequest(np.arange(12), 0, 0, 32, train=True)).images.numpy().astype(int)
            whole, _ = dataset.whole([0])  # is never scaled
            assert whole[0].shape == (450, 490, 3)
    difference = np.abs(crops[True] - crops[False])
    assert 0 < difference.mean() < 6


def test_scaled_is_for_images_of_many_sizes(tmp_path: Path) -> None:
    found = load("mmap")
    found.prepare(as_splits(make_splits("jpeg")), tmp_path / "store", found.Options.model_validate({}), dataset=INFO)
    with pytest.raises(OptionError, match="scaled=true is for images of many sizes"):
        found(tmp_path / "store", "train", {"scaled": True}).open()


def test_a_format_for_one_size_refuses_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load("memory")
    monkeypatch.setattr(found, "ragged", False)
    with pytest.raises(OptionError, match="keeps images of one size, and those of samples differ"):
        found.prepare({"train": RaggedSamples(5)}, tmp_path / "store", dataset=INFO)


_HUGE = """
import json, sys
import numpy as np
from pathlib import Path
from loaders import load

def memory(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024

location = Path(sys.argv[1])
dataset = load("mmap")(location, "train", size=8)
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


def test_ten_million_images_take_little_memory(tmp_path: Path) -> None:
    location, count, side = tmp_path / "store", 10_000_000, 16
    samples = RaggedSamples(2, "raw", seed=1)
    found = load("mmap")
    found.prepare({"train": samples}, location, dataset=INFO)
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
    assert opened < 200e6
    assert drawn < 200e6
