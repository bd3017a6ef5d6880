"""Every plain idiom of images of many sizes, and of the device's loader, gives the samples that the loader gives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.idioms import Crops, NoIdiomError, gpu_mmap, pool
from bench.run import rates
from bench.run.rates import find_idiom
from loaders import BatchRequest, DecodeError, ImageDataset, load, loader_names
from loaders.images.kinds import decode_picture
from loaders.reading.stream import BatchStream
from tests.loader_contract import Case, Prepared
from tests.picture_kinds import frame_at, picture_files, with_byte
from tests.ragged_samples import SIZE, RaggedSamples
from tests.samples import INFO, Samples, any_splits, as_splits
from tests.test_gpu_mmap import Fake, OnHost

CASES = [
    Case("filesystem", {}, "ragged"),
    Case("filesystem", {"threads": 1}, "ragged-raw"),  # PNG files
    *(Case(loader, {"encoding": "jpeg"}, "ragged") for loader in ("mmap", "memory", "hdf5", "postgres")),
    *(Case(loader, {}, kind) for loader in ("mmap", "memory", "hdf5", "postgres") for kind in ("ragged", "ragged-raw")),
    Case("mmap", {"readahead": "off", "threads": 3}, "ragged-raw"),
    Case("hdf5", {"access": "mapped"}, "ragged-raw"),
    Case("hdf5", {"access": "mapped", "encoding": "jpeg"}, "ragged"),
    Case("filesystem", {"scaled": True}, "ragged"),
    Case("mmap", {"encoding": "jpeg", "scaled": True}, "ragged"),
]
DEVICE_OPTIONS: list[tuple[Any, dict[str, Any]]] = [
    *(("raw", {"mode": mode}) for mode in ("cuda", "pinned", "mapped")),
    *(("jpeg", {"mode": mode, "encoding": "jpeg"}) for mode in ("cuda", "pinned")),
    *(("ragged", {"mode": mode}) for mode in ("cuda", "pinned", "mapped")),
    *(("ragged", {"mode": mode, "encoding": "jpeg"}) for mode in ("cuda", "pinned")),
    *(("ragged-raw", {"mode": mode}) for mode in ("cuda", "pinned", "mapped")),
]
DEVICE_CASES = [Case("gpu_mmap", options, kind) for kind, options in DEVICE_OPTIONS]

some_indices = st.lists(st.integers(0, 40), min_size=1, max_size=9).map(lambda found: np.array(found, np.int64))
some_crops = st.builds(Crops, st.integers(8, 40), st.integers(0, 2**63 - 1), st.integers(0, 1000))


def prepared(case: Case, folder: Path, loader: type[ImageDataset[Any]]) -> Prepared:
    OnHost.fake = Fake()  # not one that another test has left without room
    reason = loader.unavailable(loader.Options.model_validate(case.options))
    if reason:
        pytest.skip(reason)
    found = Prepared(loader, case.options, folder / "store", any_splits(case.source))
    found.prepare(found.location)
    return found


@pytest.fixture(scope="module", params=CASES, ids=str)
def ragged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prepared, ImageDataset[Any]]]:
    case: Case = request.param
    store = prepared(case, tmp_path_factory.mktemp("idioms"), load(case.loader))
    with store.open() as dataset:
        yield store, dataset


def plain(dataset: ImageDataset[Any]) -> Callable[..., Any]:
    found = find_idiom(dataset.name)
    assert found is not None
    return found[1]


def pixels(images: Any) -> Any:
    """``[B, C, H, W]`` of decoded images or crops."""
    return np.asarray(images).transpose(0, 3, 1, 2)


@settings(deadline=None, max_examples=15)
@given(st.lists(some_indices, min_size=1, max_size=3), some_crops)
def test_crops_are_the_loader_s(ragged: tuple[Prepared, ImageDataset[Any]], batches: list[Any], crops: Crops) -> None:
    store, dataset = ragged
    size, seed, epoch = crops
    with plain(dataset)(dataset, crops) as read:
        for indices in batches:
            images, labels = read(indices)
            assert (images.dtype, images.shape) == (np.uint8, (len(indices), size, size, 3))
            assert labels.dtype == np.int64
            batch = dataset.batch(BatchRequest(indices, seed, epoch, size, train=True))
            assert np.array_equal(pixels(images), batch.images)
            assert np.array_equal(labels, batch.labels)
            if not store.options.get("scaled"):  # and what they should be, whoever makes them
                expected = store.samples["train"].expect(indices.tolist(), seed, epoch, train=True, size=size)
                assert np.array_equal(pixels(images), expected[0])
                assert np.array_equal(labels, expected[1])


def test_crops_lie_in_fresh_memory(ragged: tuple[Prepared, ImageDataset[Any]]) -> None:
    _, dataset = ragged
    indices = np.arange(41)
    with plain(dataset)(dataset, Crops(SIZE)) as read:
        images, labels = read(indices)
        kept = images.copy(), labels.copy()
        images[:], labels[:] = 7, -1
        again = read(indices)
    assert all(np.array_equal(*pair) for pair in zip(kept, again, strict=True))


def test_a_rate_of_crops_has_both_sides(ragged: tuple[Prepared, ImageDataset[Any]]) -> None:
    _, dataset = ragged
    lines: list[str] = []
    with BatchStream(dataset, size=SIZE) as stream:
        found = rates.measure(dataset, stream, lambda _: [np.arange(20)], 2, beside=True, size=SIZE, say=lines.append)
    assert found.raw is not None
    assert len(found.loader) == len(found.raw) == len(lines) == 2
    assert found.idiom == f"bench.idioms.{dataset.name}"


@pytest.mark.parametrize("wrong", ["seed", "epoch", "order", "labels", "central"])
def test_other_crops_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    store = prepared(Case("mmap", {}, "ragged-raw"), tmp_path, load("mmap"))

    def opened(dataset: Any, crops: Crops) -> Any:
        given = crops._replace(**{wrong: 1}) if wrong in Crops._fields else crops
        return plain(dataset)(dataset, given)

    class Wrong:
        def __init__(self, dataset: Any, crops: Crops) -> None:
            self.inner, self.dataset = opened(dataset, crops), dataset

        def __enter__(self) -> Any:
            read = self.inner.__enter__()

            def batch(indices: Any) -> Any:
                images, labels = read(indices)
                if wrong == "order":
                    images = images[::-1].copy()
                elif wrong == "labels":
                    labels = labels + 1
                elif wrong == "central":
                    images = self.dataset.batch(BatchRequest(indices, size=SIZE)).images.permute(0, 2, 3, 1).numpy()
                return images, labels

            return batch

        def __exit__(self, *error: object) -> None:
            self.inner.__exit__(*error)

    monkeypatch.setattr(rates, "find_idiom", lambda loader: (loader, Wrong))
    with (
        store.open() as dataset,
        BatchStream(dataset, size=SIZE) as stream,
        pytest.raises(BenchError, match="loader mmap and its plain idiom gave different samples"),
    ):
        rates.measure(dataset, stream, lambda _: [np.arange(9)], 1, beside=True, size=SIZE)


@given(st.integers(0, 30), st.integers(1, 9))
@settings(deadline=None)
def test_the_pool_fills_each_row_once(count: int, threads: int) -> None:
    with pool.Pool(threads, (3, 1, 2)) as bare:
        out = bare.fresh(count)
        asked: list[int] = []

        def make(row: int, place: Any) -> None:
            asked.append(row)
            place[:] = row

        bare.fill(out, make)
    assert sorted(asked) == list(range(count))
    assert out.shape == (count, 1, 2, 3)
    assert np.array_equal(out.reshape(count, 6), np.repeat(np.arange(count), 6).reshape(count, 6))


def test_an_error_in_a_thread_is_told() -> None:
    def fetch(row: int) -> bytes:
        raise OSError(f"no row {row}")

    with pool.Pool(2, (3, 4, 4)) as bare, pytest.raises(OSError, match="no row 0"):
        bare.decode(3, fetch)


@pytest.fixture(scope="module", params=DEVICE_CASES, ids=str)
def on_host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prepared, ImageDataset[Any]]]:
    """``gpu_mmap`` on a device that is the CPU."""
    store = prepared(request.param, tmp_path_factory.mktemp("device"), OnHost)
    with store.open() as dataset:
        yield store, dataset


@settings(deadline=None, max_examples=10)
@given(some_indices, some_crops)
def test_the_device_s_idiom_gives_the_same(
    on_host: tuple[Prepared, ImageDataset[Any]], indices: Any, crops: Crops
) -> None:
    store, dataset = on_host
    many = dataset.split_info.shape is None
    size, seed, epoch = crops
    with gpu_mmap.idiom(dataset, crops if many else None) as read:
        images, labels = read(indices)
        kept = images.clone()
        images.fill_(7)
        labels.fill_(-1)
        images, labels = read(indices)
    assert torch.equal(images, kept)
    samples = store.samples["train"]
    expected = samples.expect(indices.tolist(), *((seed, epoch, True, size) if many else ()))
    assert torch.equal(images.permute(0, 3, 1, 2) if many else images, expected[0])
    assert torch.equal(labels, expected[1])


def test_tensors_are_measured_and_compared(
    on_host: tuple[Prepared, ImageDataset[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, dataset = on_host
    size = SIZE if dataset.split_info.shape is None else None
    batches = [np.array([3, 40, 3]), np.arange(41)]
    monkeypatch.setattr(rates, "find_idiom", lambda _: ("its", gpu_mmap.idiom))
    with BatchStream(dataset, size=size) as stream:
        found = rates.measure(dataset, stream, lambda _: batches, 2, beside=True, size=size)
        assert found.raw is not None
        assert (len(found.raw), found.idiom) == (2, "its")
        wrong = itertools.count()

        def other(images: Any, labels: Any) -> Any:
            return (images ^ 1, labels) if next(wrong) else (images, labels)

        with gpu_mmap.idiom(dataset, Crops(size) if size else None) as read, pytest.raises(BenchError):
            rates._compare("it", stream.epoch(batches, train=True), lambda at: other(*read(at)), batches)


@pytest.mark.parametrize("case", [Case("on_host", {"mode": mode}) for mode in ("cuda", "pinned")], ids=str)
def test_no_room_is_no_idiom_and_no_failure(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    store = prepared(case, tmp_path, OnHost)
    needed = sum(image.size for image in store.samples["train"].images)
    memory = SimpleNamespace(available=2 * needed - 1)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    monkeypatch.setattr(rates, "find_idiom", lambda _: ("its", gpu_mmap.idiom))
    lines: list[str] = []

    def measured() -> rates.Rates:
        with store.open() as dataset, BatchStream(dataset) as stream:
            return rates.measure(dataset, stream, lambda _: [np.arange(9)], 1, beside=True, say=lines.append)

    found = measured()
    assert (len(found.loader), found.raw, found.idiom) == (1, None, None)
    assert lines[0].startswith("no plain idiom to compare with: it would hold the split once more, 0.00 GB of the")
    memory.available += 1
    assert measured().idiom == "its"


def test_memory_is_not_filled_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = prepared(Case("memory", {}), tmp_path, load("memory"))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with store.open() as dataset, pytest.raises(NoIdiomError, match="this machine's memory"), plain(dataset)(dataset):
        pass


@given(st.sampled_from([(2, 3, 4, 4), (3, 3, 5, 3), (1, 3, 2, 2)]), st.integers(0, 2**32 - 1))
def test_no_memory_order_costs_a_copy(shape: tuple[int, ...], seed: int) -> None:
    images = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
    last = images.contiguous(memory_format=torch.channels_last)
    for given_ in (images, last):
        assert rates._as_in_memory(given_).data_ptr() == given_.data_ptr()
        assert rates._as_in_memory(given_).is_contiguous()


def test_every_loader_has_an_idiom() -> None:
    assert all(find_idiom(name) for name in loader_names() if name in ("gpu_mmap", *(c.loader for c in CASES)))
    assert find_idiom("on_host") is None


@pytest.mark.cuda
@pytest.mark.parametrize("case", DEVICE_CASES, ids=str)
def test_on_a_device_both_sides_are_measured(tmp_path: Path, case: Case) -> None:
    store = prepared(case, tmp_path, load("gpu_mmap"))
    size = SIZE if store.samples["train"].shape is None else None
    with store.open() as dataset, BatchStream(dataset, size=size) as stream:
        found = rates.measure(dataset, stream, lambda _: [np.arange(41)[::-1].copy()] * 3, 2, beside=True, size=size)
        assert found.raw is not None
        assert found.idiom == "bench.idioms.gpu_mmap"
        with gpu_mmap.idiom(dataset, Crops(size) if size else None) as read:
            images, labels = read(np.array([5, 5, 0]))
            assert (images.device.type, labels.device.type) == ("cuda", "cuda")


@pytest.mark.cuda
def test_what_is_on_its_way_is_not_overwritten(tmp_path: Path) -> None:
    """Page-locked memory of one batch must not be given to the next before its copy is done."""
    samples = Samples(64, (3, 256, 256))
    found = load("gpu_mmap")
    options = found.Options.model_validate({"mode": "pinned"})
    found.prepare(as_splits({"train": samples}), tmp_path / "store", options, dataset=INFO)
    order = [np.random.default_rng(i).permutation(64) for i in range(30)]
    with found(tmp_path / "store", "train", options) as dataset, gpu_mmap.idiom(dataset) as read:
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


def test_a_scaled_decoding_of_what_has_become_lossless_is_refused(tmp_path: Path) -> None:
    file = picture_files()["jpeg_rgb"]
    samples = RaggedSamples(1)
    samples.files = [file]
    found = load("mmap")
    found.prepare(
        {"train": samples}, tmp_path / "store", found.Options.model_validate({"encoding": "jpeg"}), dataset=INFO
    )
    lossless = with_byte(file, frame_at(file) + 1, 0xC3)
    (tmp_path / "store" / "train.jpeg").write_bytes(lossless)
    refused = pytest.raises(DecodeError, match="its header is not that of the image")
    with (
        found(tmp_path / "store", "train", {"encoding": "jpeg", "scaled": True}, size=8) as dataset,
        plain(dataset)(dataset, Crops(8)) as read,
        refused,
    ):
        read(np.zeros(1, np.int64))


@pytest.mark.parametrize("name", ["sampling_41_21", "jpeg_jfif_0", "extraneous_before_eoi"])
def test_images_of_one_size_that_only_pillow_reads_are_the_loader_s(tmp_path: Path, name: str) -> None:
    file = picture_files()[name]
    height, width, _ = decode_picture(file, name)[0].shape
    samples = Samples(3, (3, height, width), "jpeg")
    samples.files = [file] * 3
    found = load("mmap")
    found.prepare(
        {"train": samples}, tmp_path / "store", found.Options.model_validate({"encoding": "jpeg"}), dataset=INFO
    )
    with found(tmp_path / "store", "train", {"encoding": "jpeg"}) as dataset, plain(dataset)(dataset) as read:
        wanted = dataset.batch([0, 2]).images.permute(0, 2, 3, 1).numpy()
        assert np.array_equal(read(np.array([0, 2]))[0], wanted)
