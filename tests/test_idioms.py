"""Every plain idiom of images of many sizes, and of the device's loader, gives the samples that the loader gives."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.idioms import Crops, NoIdiomError, flat, gpu_mmap
from bench.idioms.pool import Pool
from bench.records import RatesPart
from bench.run import rates
from bench.run.rates import find_idiom
from loaders import BatchRequest, BatchStream, DecodeError, Format, StoreDataset, load
from loaders.images.kinds import decode_picture
from loaders.testing import INFO, SIZE, Case, Prepared, RaggedSamples, Samples, make_splits
from tests.picture_kinds import frame_at, picture_files, with_byte
from tests.stores import open_store, store_samples
from tests.test_gpu_mmap import Fake, OnHost

CASES = [
    Case("filesystem", {}, "ragged"),
    Case("filesystem", {"threads": 1}, "ragged-raw"),  # PNG files
    Case("filesystem", {"scaled": True}, "ragged"),
    Case("mmap", {"threads": 3}, "ragged-raw"),
    Case("mmap", {"encoding": "jpeg", "scaled": True}, "ragged"),
    Case("memory", {"encoding": "jpeg"}, "ragged"),
    Case("hdf5", {}, "ragged-raw"),
    Case("hdf5", {"encoding": "jpeg"}, "ragged"),
    Case("hdf5", {"access": "mapped"}, "ragged-raw"),
    Case("hdf5", {"access": "mapped", "encoding": "jpeg"}, "ragged"),
    Case("postgres", {}, "ragged-raw"),
    Case("postgres", {"encoding": "jpeg"}, "ragged"),
    Case("lmdb", {"encoding": "jpeg"}, "ragged"),
    Case("sqlite", {"encoding": "jpeg"}, "ragged"),
]
DEVICE_CASES = [
    *(Case("gpu_mmap", {"mode": mode}, "raw") for mode in ("cuda", "pinned", "mapped")),
    *(Case("gpu_mmap", {"mode": mode, "encoding": "jpeg"}, "jpeg") for mode in ("cuda", "pinned")),
    Case("gpu_mmap", {"mode": "mapped"}, "ragged-raw"),
    Case("gpu_mmap", {"mode": "cuda", "encoding": "jpeg"}, "ragged"),
]

some_indices = st.lists(st.integers(0, 40), min_size=1, max_size=9).map(lambda found: np.array(found, np.int64))
some_crops = st.builds(Crops, st.integers(8, 40), st.integers(0, 2**63 - 1), st.integers(0, 1000))


def prepared(case: Case, folder: Path, loader: type[Format[Any]] | None = None) -> Prepared:
    OnHost.fake = Fake()  # not one that another test has left without room
    store = Prepared((loader or load(case.loader)).configured(case.options), folder / "store", make_splits(case.source))
    if reason := store.format.unavailable():
        pytest.skip(reason)
    store.prepare()
    return store


def plain(dataset: StoreDataset, crops: Crops | None = None) -> Any:
    found = find_idiom(dataset)
    assert found is not None
    return found[1](dataset, crops)


def pixels(images: Any) -> Any:
    """``[B, C, H, W]`` of decoded images or crops."""
    return np.asarray(images).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_crops_are_the_loader_s(tmp_path: Path, case: Case) -> None:
    store = prepared(case, tmp_path)
    indices = np.arange(41)

    @settings(deadline=None, max_examples=10)
    @given(st.lists(some_indices, min_size=1, max_size=3), some_crops)
    def same(batches: list[Any], crops: Crops) -> None:
        size, seed, epoch = crops
        with plain(dataset, crops) as read:
            for indices in batches:
                images, labels = read(indices)
                assert (images.dtype, images.shape) == (np.uint8, (len(indices), size, size, 3))
                assert labels.dtype == np.int64
                batch = dataset.batch(BatchRequest(indices, seed, epoch, size, train=True))
                assert np.array_equal(pixels(images), batch.images)
                assert np.array_equal(labels, batch.labels)
                if not case.options.get("scaled"):  # and what they should be, whoever makes them
                    expected = store.samples["train"].expect(indices.tolist(), seed, epoch, train=True, size=size)
                    assert np.array_equal(pixels(images), expected[0])
                    assert np.array_equal(labels, expected[1])

    with store.open() as dataset:
        same()
        with plain(dataset, Crops(SIZE)) as read:  # in fresh memory
            images, labels = read(indices)
            kept = images.copy(), labels.copy()
            images[:], labels[:] = 7, -1
            assert all(np.array_equal(*pair) for pair in zip(kept, read(indices), strict=True))
        lines: list[str] = []
        with BatchStream(dataset, size=SIZE) as stream:
            found = rates.measure(dataset, stream, lambda _: [indices], 2, beside=True, size=SIZE, say=lines.append)
    assert found.raw is not None
    assert len(found.loader) == len(found.raw) == len(lines) == 2
    assert found.idiom == f"bench.idioms.{dataset.name}"


def test_other_crops_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = prepared(Case("mmap", {}, "ragged-raw"), tmp_path)

    @contextlib.contextmanager
    def idiom(wrong: str, dataset: Any, crops: Crops) -> Iterator[Any]:
        with flat.idiom(dataset, crops._replace(**{wrong: 1}) if wrong in Crops._fields else crops) as read:

            def batch(indices: Any) -> Any:
                images, labels = read(indices)
                if wrong == "order":
                    images = images[::-1].copy()
                elif wrong == "labels":
                    labels = labels + 1
                elif wrong == "central":
                    images = dataset.batch(BatchRequest(indices, size=SIZE)).images.permute(0, 2, 3, 1).numpy()
                return images, labels

            yield batch

    with store.open() as dataset, BatchStream(dataset, size=SIZE) as stream:

        def measured(wrong: str) -> RatesPart:
            monkeypatch.setattr(rates, "find_idiom", lambda _: ("its", functools.partial(idiom, wrong)))
            return rates.measure(dataset, stream, lambda _: [np.arange(9)], 1, beside=True, size=SIZE)

        assert measured("nothing").idiom == "its"
        for wrong in ("seed", "epoch", "order", "labels", "central"):
            with pytest.raises(BenchError, match="loader mmap and its plain idiom gave different samples"):
                measured(wrong)


@given(st.integers(0, 30), st.integers(1, 9))
@settings(deadline=None)
def test_the_pool_makes_each_row_once_and_raises_what_a_thread_raises(count: int, threads: int) -> None:
    dataset: Any = SimpleNamespace(
        options=SimpleNamespace(threads=threads), split_info=SimpleNamespace(fixed_shape=(3, 1, 2))
    )
    with Pool(dataset, into=lambda data, out: out.fill(data)) as pool:
        out = pool(np.arange(count), lambda row: row)
        assert np.array_equal(out, np.broadcast_to(np.arange(count)[:, None, None, None], (count, 1, 2, 3)))
        with pytest.raises(ZeroDivisionError):
            pool(np.arange(count + 1), lambda row: row / 0)


@pytest.mark.parametrize("case", DEVICE_CASES, ids=str)
def test_the_device_s_idiom_gives_the_same(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device that is the CPU."""
    store = prepared(case, tmp_path, OnHost)
    samples = store.samples["train"]
    many = samples.shape is None
    size = SIZE if many else None

    @settings(deadline=None, max_examples=10)
    @given(some_indices, some_crops)
    def same(indices: Any, crops: Crops) -> None:
        with gpu_mmap.idiom(dataset, crops if many else None) as read:
            images, labels = read(indices)
            kept = images.clone()
            images.fill_(7)
            labels.fill_(-1)
            images, labels = read(indices)
        assert torch.equal(images, kept)
        drawn = (crops.seed, crops.epoch, True, crops.size) if many else ()
        expected = samples.expect(indices.tolist(), *drawn)
        assert torch.equal(images.permute(0, 3, 1, 2) if many else images, expected[0])
        assert torch.equal(labels, expected[1])

    monkeypatch.setattr(rates, "find_idiom", lambda _: ("its", gpu_mmap.idiom))
    batches = [np.array([3, 40, 3]), np.arange(41)]
    with store.open() as dataset, BatchStream(dataset, size=size) as stream:
        same()
        found = rates.measure(dataset, stream, lambda _: batches, 2, beside=True, size=size)
        assert found.raw is not None
        assert (len(found.raw), found.idiom) == (2, "its")
        with gpu_mmap.idiom(dataset, Crops(size) if size else None) as read, pytest.raises(BenchError):
            rates._warm_up(
                "it",
                batches,
                functools.partial(stream.epoch, train=True),
                lambda at: (read(at)[0] ^ (at.size > 3), read(at)[1]),
            )


def test_no_room_is_no_idiom_and_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "find_idiom", lambda _: ("its", gpu_mmap.idiom))
    for mode in ("cuda", "pinned"):
        store = prepared(Case("on_host", {"mode": mode}), tmp_path / mode, OnHost)
        needed = sum(image.size for image in store.samples["train"].images)
        lines: list[str] = []
        for available, idiom in ((2 * needed - 1, None), (2 * needed, "its")):
            memory = SimpleNamespace(available=available)
            monkeypatch.setattr("psutil.virtual_memory", lambda memory=memory: memory)
            with store.open() as dataset, BatchStream(dataset) as stream:
                found = rates.measure(dataset, stream, lambda _: [np.arange(9)], 1, beside=True, say=lines.append)
            assert (len(found.loader), found.raw is None, found.idiom) == (1, idiom is None, idiom), mode
        assert lines[0].startswith("no plain idiom to compare with: it would hold the split once more, 0.00 GB of the")


def test_memory_is_not_filled_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = prepared(Case("memory", {}), tmp_path)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with store.open() as dataset, pytest.raises(NoIdiomError, match="this machine's memory"), plain(dataset):
        pass


@pytest.mark.cuda
def test_on_a_device_both_sides_are_measured(tmp_path: Path) -> None:
    order = [np.arange(41)[::-1].copy()] * 3
    for case in DEVICE_CASES:
        store = prepared(case, tmp_path / str(case))
        size = SIZE if store.samples["train"].shape is None else None
        with store.open() as dataset, BatchStream(dataset, size=size) as stream:
            found = rates.measure(dataset, stream, lambda _: order, 2, beside=True, size=size)
            assert found.raw is not None
            assert found.idiom == "bench.idioms.gpu_mmap", case
            with gpu_mmap.idiom(dataset, Crops(size) if size else None) as read:
                assert {array.device.type for array in read(np.array([5, 5, 0]))} == {"cuda"}, case


@pytest.mark.cuda
def test_what_is_on_its_way_is_not_overwritten(tmp_path: Path) -> None:
    """Page-locked memory of one batch must not be given to the next before its copy is done."""
    samples = Samples(64, (3, 256, 256))
    found = load("gpu_mmap")
    options = found.Options.model_validate({"mode": "pinned"})
    store_samples(found, {"train": samples}, tmp_path / "store", options, dataset=INFO)
    order = [np.random.default_rng(i).permutation(64) for i in range(30)]
    with open_store(found, tmp_path / "store", "train", options) as dataset, gpu_mmap.idiom(dataset) as read:
        for _ in range(2):  # the first time memory is allocated and kernels are loaded, which may wait for the device
            batches: list[Any] = []
            torch.cuda.synchronize()
            torch.cuda._sleep(2 * 10**9)  # cycles: no copy begins before all are queued
            behind = torch.cuda.Event()
            behind.record()
            batches += map(read, order)
        assert not behind.query()
        for indices, (images, labels) in zip(order, batches, strict=True):
            expected = samples.expect(indices.tolist())
            assert torch.equal(images.cpu(), expected[0])
            assert torch.equal(labels.cpu(), expected[1])


def store_of(files: list[bytes], samples: Any, folder: Path) -> Path:
    """An mmap store of JPEG files."""
    samples.files = files
    loader = load("mmap")
    store_samples(loader, {"train": samples}, folder, loader.Options.model_validate({"encoding": "jpeg"}), dataset=INFO)
    return folder


def test_a_scaled_decoding_of_what_has_become_lossless_is_refused(tmp_path: Path) -> None:
    file = picture_files()["jpeg_rgb"]
    location = store_of([file], RaggedSamples(1), tmp_path / "store")
    (location / "train.jpeg").write_bytes(with_byte(file, frame_at(file) + 1, 0xC3))
    with (
        open_store(load("mmap"), location, "train", {"encoding": "jpeg", "scaled": True}, size=8) as dataset,
        plain(dataset, Crops(8)) as read,
        pytest.raises(DecodeError, match="its header is not that of the image"),
    ):
        read(np.zeros(1, np.int64))


def test_images_of_one_size_that_only_pillow_reads_are_the_loader_s(tmp_path: Path) -> None:
    for name in ("sampling_41_21", "jpeg_jfif_0", "extraneous_before_eoi"):
        file = picture_files()[name]
        height, width, _ = decode_picture(file, name)[0].shape
        location = store_of([file] * 3, Samples(3, (3, height, width), "jpeg"), tmp_path / name)
        with open_store(load("mmap"), location, "train", {"encoding": "jpeg"}) as dataset, plain(dataset) as read:
            expected = dataset.batch([0, 2]).images.permute(0, 2, 3, 1).numpy()
            assert np.array_equal(read(np.array([0, 2]))[0], expected), name
