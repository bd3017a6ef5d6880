"""All of ``gpu_mmap`` on a device that is the CPU, and what only a CUDA device has on one."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.config import RunConfig
from bench.run.runner import run
from bench.run.stores import StoreSpec, silent
from bench.sources.registry import open_source
from loaders import (
    BackendError,
    Batch,
    BatchRequest,
    DecodeError,
    DecodingOptions,
    OptionError,
    StoreDataset,
    StoreError,
    UnavailableError,
    load,
    parse_options,
)
from loaders.core.format import Caps
from loaders.formats.gpu_mmap import fill
from loaders.formats.gpu_mmap.device import Device, HostAccess, host_access, host_view
from loaders.formats.gpu_mmap.format import GpuMmapFormat, GpuMmapOptions
from loaders.formats.gpu_mmap.hostpages import ATTEMPTS, Way, file_pages, locked_memory
from loaders.formats.gpu_mmap.reader import RowsReader, widest_word
from loaders.images.decode import Decoder
from loaders.store.manifest import Store
from loaders.store.sizes import sizes_name
from loaders.testing import SIZE, Case, RaggedSamples, Samples, assert_same, make_splits
from tests.stores import open_store, store_samples

READ_ONLY, WRITABLE = 0x02 | 0x08, 0x02
REFUSED = 801
# What devices say: one that reads all memory, one that registers all, and the usual card.
PAGEABLE, ANY, WRITABLE_ONLY = (
    HostAccess(*[True] * 4),
    HostAccess(False, *[True] * 3),
    HostAccess(False, True, True, False),
)
WAYS: dict[Way, tuple[HostAccess, tuple[int, ...]]] = {
    "pageable": (PAGEABLE, ()),
    "registered": (WRITABLE_ONLY, ()),
    "tmpfs": (WRITABLE_ONLY, (REFUSED,)),
}
MODES = ("cuda", "pinned", "mapped")
LOCKED = ["register", "unregister", "register"]
"""A page is tried first."""


class Fake(Device):
    """A device that is the CPU, and notes what is asked of it.

    Attributes:
        says: of the host's memory.
        codes: what registering gives, one after the other, then 0.
        log: what happened, in order.
    """

    def __init__(self, *codes: int, says: HostAccess = ANY) -> None:
        self.where = torch.device("cpu")
        self.says = says
        self.codes = list(codes)
        self.on_unregister = 0
        self.registered: list[tuple[int, int, int]] = []
        self.unregistered: list[int] = []
        self.log: list[str] = []
        self.left = 10**12

    def free(self) -> int:
        return self.left

    def access(self) -> HostAccess:
        return self.says

    def register(self, pointer: int, size: int, flags: int) -> int:
        self.registered.append((pointer, size, flags))
        self.log.append("register")
        return self.codes.pop(0) if self.codes else 0

    def unregister(self, pointer: int) -> int:
        self.unregistered.append(pointer)
        self.log.append("unregister")
        return self.on_unregister

    def view(self, array: Any) -> torch.Tensor:
        return host_view(array)

    def synchronize(self) -> None:
        self.log.append("synchronize")


class OnHost(GpuMmapFormat):
    """``gpu_mmap`` on the CPU.

    Of images of many sizes its datasets crop on the host, as for all formats of the CPU; see `device_crops`.
    """

    name = "on_host"
    caps = Caps(device="cpu", max_workers=0)
    fake = Fake()

    def unavailable(self) -> str | None:
        return self.fake.says.lacking(self.options.mode)

    @classmethod
    def device(cls) -> Device:
        return cls.fake


@pytest.fixture
def fake() -> Fake:
    """A new device for `OnHost`."""
    OnHost.fake = Fake()
    return OnHost.fake


def prepared(location: Path, samples: Any, **options: Any) -> StoreDataset:
    """A dataset over a new store."""
    store_samples(OnHost, {"train": samples}, location, options)
    return open_store(OnHost, location, "train", options, size=SIZE if samples.shape is None else None)


def images_of_both_kinds() -> list[Any]:
    """Of one size, and of many."""
    return [Samples(20, (3, 8, 8)), RaggedSamples(20, "raw")]


def device_crops(dataset: StoreDataset, request: BatchRequest, size: int = SIZE) -> Batch:
    """Crops as a dataset on a CUDA device asks its reader for them."""
    sizes = Store(dataset.location, dataset.info).sizes(dataset.split)
    return dataset.reader.crops(request, *Decoder(None, sizes, "", "", DecodingOptions()).boxes(request), size)


HOST_CASES = [
    Case("on_host", {"mode": "cuda"}),
    Case("on_host", {"mode": "cuda", "encoding": "jpeg"}, "jpeg"),
    Case("on_host", {"mode": "pinned"}),
    Case("on_host", {"mode": "pinned", "encoding": "jpeg", "threads": 1}, "jpeg"),
    Case("on_host", {"mode": "mapped"}),
    Case("on_host", {"mode": "cuda"}, "ragged"),
    Case("on_host", {"mode": "cuda", "encoding": "jpeg"}, "ragged"),
    Case("on_host", {"mode": "cuda"}, "ragged-raw"),
    Case("on_host", {"mode": "pinned", "encoding": "jpeg"}, "ragged"),
    Case("on_host", {"mode": "pinned"}, "ragged-raw"),
    Case("on_host", {"mode": "mapped"}, "ragged-raw"),
]


@pytest.mark.parametrize("case", HOST_CASES, ids=str)
def test_every_mode_gives_the_samples(tmp_path: Path, fake: Fake, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "PIECE", 3000)  # what is larger is decoded in pieces
    splits = make_splits(case.source)
    store_samples(OnHost, splits, tmp_path / "store", case.options)
    for split, samples in splits.items():
        dataset = open_store(OnHost, tmp_path / "store", split, case.options, size=SIZE)
        everything = list(range(len(samples)))
        for _ in range(2):  # closed and opened again
            with dataset:
                for indices in (everything, [7, 3, 3, 12, 0, 7], [-1, 0], []):
                    assert_same(dataset.batch(indices), samples.expect(indices))
                images, labels = dataset.whole(everything)
                assert labels.tolist() == samples.labels.tolist()
                for image, mine in zip(images, samples.images, strict=True):
                    assert np.array_equal(image, mine if case.ragged else mine.transpose(1, 2, 0))
                if case.ragged:
                    request = BatchRequest(np.array([5, 12, 5, 0]), 7, 1)
                    for size, train in ((SIZE, True), (9, True), (80, False)):
                        expected = samples.expect([5, 12, 5, 0], 7, 1, train, size)
                        assert_same(device_crops(dataset, request._replace(train=train), size), expected)

                def read(
                    seed: int, count: int = len(samples), samples: Any = samples, dataset: StoreDataset = dataset
                ) -> None:
                    order = np.random.default_rng(seed).integers(0, count, 20)
                    batch = device_crops(dataset, BatchRequest(order)) if case.ragged else dataset.batch(order)
                    assert_same(batch, samples.expect(order.tolist()))
                    batch.images.fill_(7)  # the caller's own memory
                    batch.labels.fill_(-1)

                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(read, range(8)))


@given(st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 9)), st.integers(1, 12), st.data())
def test_gather_is_indexing(shape: tuple[int, int, int], count: int, data: st.DataObject) -> None:
    """Odd row sizes go byte by byte, others in words; the result is the same."""
    samples = Samples(count, shape)
    indices = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=15)), np.int64)
    reader = RowsReader(torch.from_numpy(samples.images), samples.labels)
    for _ in range(2):
        images, labels = reader.fetch(indices)
        assert isinstance(images, torch.Tensor) and isinstance(labels, torch.Tensor)
        assert images.shape == (len(indices), *shape)
        assert_same(Batch(images, labels), samples.expect(indices.tolist()))
        images.fill_(7)  # fresh memory
        labels.fill_(-1)
    size = int(np.prod(shape))
    width = widest_word(size).itemsize
    assert size % width == 0
    assert width == 8 or size % (2 * width)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120))
def test_pieces_are_all_samples_in_order_and_small(sizes: list[int], most: int) -> None:
    pieces = list(fill.pieces(np.array(sizes, np.int64), most))
    assert [i for start, stop in pieces for i in range(start, stop)] == list(range(len(sizes)))
    for start, stop in pieces:
        assert stop == start + 1 or sum(sizes[start:stop]) <= most
        assert stop == len(sizes) or sum(sizes[start : stop + 1]) > most  # as many as fit


def test_a_split_that_does_not_fit_is_refused_beforehand(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendError) as caught:
        fill.check_room(3 * 10**9, 2 * 10**9, "the device", fill.remedy("cuda", "raw"))
    assert str(caught.value) == (
        "the split needs 3.00 GB and the device has 2.00 GB free; "
        "use --option mode=pinned, --option mode=mapped or --limit"
    )
    assert fill.remedy("cuda", "jpeg") == "--option mode=pinned or --limit"
    assert fill.remedy("pinned", "raw") == "--option mode=mapped or --limit"
    assert fill.remedy("mapped", "raw") == fill.remedy("pinned", "jpeg") == "--limit"
    memory = SimpleNamespace(available=0)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    for (mode, what), samples in itertools.product(
        (("cuda", "the device"), ("pinned", "this machine's memory")), images_of_both_kinds()
    ):
        dataset = prepared(tmp_path / "store", samples, mode=mode)
        needed = sum(image.size for image in samples.images)
        memory.available = fake.left = needed - 1
        with pytest.raises(BackendError, match=f"the split needs 0.00 GB and {what} has 0.00 GB free; use --option"):
            dataset.open()
        assert "register" not in fake.log
        memory.available = fake.left = needed
        with dataset:
            assert_same(dataset.batch([3, 1]), samples.expect([3, 1]))
        fake.log.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.pixels"
    path.write_bytes(bytes(range(200)) * 50)
    return path


def test_a_file_s_own_pages_are_read(file: Path) -> None:
    for says, flags in ((ANY, READ_ONLY), (WRITABLE_ONLY, WRITABLE)):
        fake = Fake(says=says)
        with contextlib.ExitStack() as life:
            array, way = file_pages(file, fake, life)
            pointer = array.ctypes.data
            assert fake.registered == [(pointer, 4096, flags), (pointer, 10_000, flags)], says
            assert array.tobytes() == file.read_bytes()
            assert (way, array.flags.writeable) == ("registered", says is WRITABLE_ONLY)
            assert str(file) in Path("/proc/self/maps").read_text()
        assert fake.log == [*LOCKED, "synchronize", "unregister"]
        assert fake.unregistered == [pointer] * 2
    fake = Fake(says=PAGEABLE)  # where the device reads all memory nothing is registered
    with contextlib.ExitStack() as life:
        array, way = file_pages(file, fake, life)
        assert array.tobytes() == file.read_bytes()
        assert (way, array.flags.writeable) == ("pageable", False)
    assert fake.log == ["synchronize"]


def test_a_copy_in_tmpfs_is_read_where_the_file_cannot_be(file: Path) -> None:
    content = file.read_bytes()
    for codes, sizes in (((1,), [4096]), ((0, 2), [4096, 10_000])):  # a page was refused, or all
        fake = Fake(*codes, says=WRITABLE_ONLY)
        with contextlib.ExitStack() as life:
            array, way = file_pages(file, fake, life)
            asked = [(size, flags) for _, size, flags in fake.registered]
            assert asked == [(size, WRITABLE) for size in (*sizes, 4096, 10_000)]
            assert way == "tmpfs"
            array[0] = 77
            assert array.tobytes()[1:] == content[1:]
            assert file.read_bytes() == content
            assert "/memfd:train.pixels (deleted)" in Path("/proc/self/maps").read_text()  # nobody has to remove it
            del array
        assert fake.unregistered[-1] == fake.registered[-1][0]
        assert "/memfd:train.pixels" not in Path("/proc/self/maps").read_text()


def test_refusals_are_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(REFUSED, 2, says=WRITABLE_ONLY)
    with pytest.raises(UnavailableError) as caught:
        file_pages(file, fake, contextlib.ExitStack())
    assert str(caught.value) == (
        f"the device cannot read the pages of {file} in place (pageable 0, registration 1, same address 1, read only "
        "0; registered: cuMemHostRegister(flags 0x2) gave error 801; tmpfs: cuMemHostRegister(flags 0x2) gave error "
        "2); "
        "use --option mode=pinned or mode=cuda"
    )
    assert fake.log == ["register"] * 2
    file.chmod(0o400)
    if not os.access(file, os.W_OK):  # permission bits do not bind root
        with pytest.raises(UnavailableError, match="mapping the file to be written: Permission denied; tmpfs: cuMem"):
            file_pages(file, Fake(2, says=WRITABLE_ONLY), contextlib.ExitStack())
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=9_999))
    fake = Fake()
    with pytest.raises(UnavailableError, match=r"0.00 GB to be locked, of which this machine has 0.00 GB free"):
        file_pages(file, fake, contextlib.ExitStack())
    assert fake.log == []
    assert file_pages(file, Fake(says=PAGEABLE), contextlib.ExitStack())[1] == "pageable"


def test_what_the_device_lacks_is_told_before_anything_is_opened(tmp_path: Path, fake: Fake) -> None:
    datasets = {mode: prepared(tmp_path / mode, Samples(9, (3, 8, 8)), mode=mode) for mode in MODES}
    for says, without in (
        (PAGEABLE, []),
        (ANY, []),
        (WRITABLE_ONLY, []),
        (HostAccess(True, False, False, False), ["pinned"]),
        (HostAccess(False, False, True, True), ["pinned", "mapped"]),
        (HostAccess(False, True, False, True), ["pinned", "mapped"]),
    ):
        fake.says = says
        assert [mode for mode, dataset in datasets.items() if dataset.format.unavailable()] == without, says
        for mode in without:
            with pytest.raises(
                UnavailableError, match=r"\(pageable \d, registration \d, .*\); use --option mode=cuda$"
            ):
                datasets[mode].open()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_file_s_pages_gives_the_same(tmp_path: Path, fake: Fake, way: Way) -> None:
    for samples in (Samples(20, (3, 7, 9)), RaggedSamples(20, "raw")):
        dataset = prepared(tmp_path / "store", samples, mode="mapped")
        fake.says, fake.codes = WAYS[way][0], list(WAYS[way][1])
        with dataset:
            assert dataset.reader.way == way
            assert_same(dataset.batch([19, 3, 3]), samples.expect([19, 3, 3]))
        fake.codes = [REFUSED, REFUSED]
        if way != "pageable":
            with pytest.raises(UnavailableError, match="cannot read the pages of"):
                dataset.open()


def test_a_refusal_at_opening_is_a_run_that_is_unavailable(tmp_path: Path, fake: Fake) -> None:
    options: dict[str, Any] = {"mode": "mapped"}
    config = RunConfig(
        loader="gpu_mmap", options=options, dataset="digits", limit=32, epochs=1, device="cpu", ceiling_steps=0
    )
    source = open_source("digits", tmp_path)
    spec = StoreSpec(OnHost, GpuMmapOptions(**options), source, 32, tmp_path / "stores")
    fake.says, fake.codes = WRITABLE_ONLY, [REFUSED] * 2
    record = run(config, spec, silent, lambda _: None)
    assert record.status == "unavailable"
    assert record.error is not None
    assert record.error.startswith("the device cannot read the pages of STORES/digits-limit32/")
    assert record.error.endswith("use --option mode=pinned or mode=cuda")
    fake.codes = [REFUSED]
    record = run(config, spec, silent, lambda _: None)
    assert (record.status, record.loader.way) == ("ok", "tmpfs"), record.error


class Driver:
    """The CUDA driver of one device, as far as it is asked; it knows no attribute beyond 100."""

    def __init__(self, *attributes: int, init: int = 0) -> None:
        self.attributes, self.init = attributes, init

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the library's names, here and below
        return self.init or flags

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = 40 + index
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        if attribute > 100 or device.value != 41:
            return 1
        value._obj.value = int(attribute in self.attributes)
        return 0


def test_the_driver_is_asked_and_pytorch_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr("ctypes.CDLL", lambda name: found[name])
    for attributes, access in (((88, 91, 99, 113), (True, True, True, False)), ((99,), (False, True, False, False))):
        found["libcuda.so.1"] = Driver(*attributes)
        assert host_access(1) == access
    found["libcuda.so.1"] = Driver(init=3)
    with pytest.raises(BackendError, match="the CUDA driver gave error 3 when asked for device 1"):
        host_access(1)


@pytest.mark.skipif(torch.version.cuda is None, reason="this PyTorch is built without CUDA")
def test_pytorch_takes_memory_that_nobody_registered_for_the_device_s() -> None:
    """In a process of its own, where PyTorch believes that CUDA has begun: it needs no device to make such a tensor."""
    code = """
import numpy as np, torch
from loaders.formats.gpu_mmap.device import Device
torch.cuda._initialized = True
array, device = np.arange(16, dtype=np.uint8), Device.__new__(Device)
device.where = torch.device("cuda", 0)
view = device.view(array)
assert (view.device, view.data_ptr(), view.shape) == (device.where, array.ctypes.data, (16,))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_as_much_memory_is_locked_as_is_asked_for() -> None:
    """PyTorch's own pinned memory would come as the next power of two."""
    for size in (1, 4096, 5000, 2**20 + 1):
        fake = Fake()
        with contextlib.ExitStack() as life:
            array = locked_memory(size, fake, life)
            assert fake.registered[-1] == (array.ctypes.data, size, WRITABLE)
            assert array.ctypes.data % 4096 == 0
            array[:] = 7
        assert fake.log == [*LOCKED, "synchronize", "unregister"], size


def test_memory_that_cannot_be_had_or_locked_is_a_refusal() -> None:
    fake = Fake(2)
    with pytest.raises(BackendError) as caught:
        locked_memory(3 * 10**7, fake, contextlib.ExitStack())
    assert str(caught.value) == (
        "CUDA cannot lock 0.03 GB of memory (cuMemHostRegister(flags 0x2) gave error 2); "
        "raise the locked-memory limit (ulimit -l), or use --option mode=cuda"
    )
    assert fake.log == ["register"]
    with pytest.raises(BackendError, match=r"this machine has no .* GB of memory left; use --option mode=cuda or"):
        locked_memory(2**60, Fake(), contextlib.ExitStack())


def test_pages_that_stay_locked_are_told_once(file: Path) -> None:
    fake, life = Fake(), contextlib.ExitStack()
    file_pages(file, fake, life)
    fake.on_unregister = 713
    with pytest.raises(BackendError, match="cuMemHostUnregister gave error 713"):
        life.close()
    life.close()
    assert fake.log == [*LOCKED, "synchronize", "unregister"]


def test_a_view_of_read_only_memory_is_no_copy() -> None:
    array = np.arange(9, dtype=np.uint8)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = host_view(array)
    assert view.data_ptr() == array.ctypes.data
    del array
    assert view.tolist() == list(range(9))


def test_options_that_do_not_fit_are_refused_and_modes_share_a_store() -> None:
    for options, message in (
        ({"mode": "mapped", "encoding": "jpeg"}, "mode=mapped reads pixels in place; use encoding=raw"),
        ({"scaled": True}, "scaled=true is for loaders that decode on the host for each crop; leave it out"),
    ):
        with pytest.raises(OptionError) as caught:
            parse_options(GpuMmapOptions, options, "gpu_mmap")
        assert str(caught.value) == f"loader gpu_mmap: {message}"
    assert [GpuMmapOptions.model_validate({"mode": mode}).stored() for mode in MODES] == [{"encoding": "raw"}] * 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_why(tmp_path: Path) -> None:
    prepared(tmp_path / "store", Samples(9, (3, 8, 8)))
    built = torch.version.cuda is not None
    for mode in MODES:
        reason = GpuMmapFormat.configured({"mode": mode}).unavailable()
        assert reason == ("no CUDA device" if built else "this PyTorch is built without CUDA; install a CUDA build")
    manifest = tmp_path / "store" / "store.json"
    with pytest.raises((UnavailableError, StoreError)):
        open_store(GpuMmapFormat, manifest.parent).open()


def jpegs(count: int = 30) -> RaggedSamples:
    """Pictures of many sizes that are all plain JPEG files."""
    samples = RaggedSamples(count, "raw", seed=4)
    samples.encoding = "jpeg"
    samples.files = [bytes(simplejpeg.encode_jpeg(image, 90)) for image in samples.images]
    samples.images = [simplejpeg.decode_jpeg(file) for file in samples.files]
    return samples


def test_a_damaged_file_gives_back_what_was_taken(tmp_path: Path, fake: Fake) -> None:
    taken = {"cuda": ["synchronize"], "pinned": [*LOCKED, "synchronize", "unregister"]}
    sources: list[Any] = [Samples(20, (3, 16, 16), "jpeg"), jpegs(20)]
    for mode, samples in itertools.product(taken, sources):
        dataset = prepared(tmp_path / "store", samples, mode=mode, encoding="jpeg")
        path = tmp_path / "store" / "train.jpeg"
        content = path.read_bytes()
        damaged = content.index(samples.files[6]) + 10
        path.write_bytes(content[:damaged] + bytes(40) + content[damaged + 40 :])
        fake.log.clear()
        with pytest.raises(DecodeError, match=r"image 6 of the train split in .* remove"):
            dataset.open()
        assert fake.log == taken[mode]
        dataset.close()


def test_a_device_whose_memory_is_in_pieces_is_told(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(*_: Any, **__: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    dataset = prepared(tmp_path / "store", Samples(20, (3, 8, 8)))
    monkeypatch.setattr("torch.empty", empty)
    with pytest.raises(BackendError) as caught:
        dataset.open()
    assert str(caught.value) == f"the device has no 0.00 GB in one piece; use {fill.remedy('cuda', 'raw')}"
    assert fake.log == ["synchronize"]


def test_closing_waits_for_the_device_before_it_takes_its_pages(tmp_path: Path, fake: Fake) -> None:
    for mode in MODES:
        dataset = prepared(tmp_path / mode, Samples(20, (3, 8, 8)), mode=mode).open()
        dataset.batch([1])
        dataset.close()
        dataset.close()
        locked = mode != "cuda"
        assert fake.log == LOCKED * locked + ["synchronize"] + ["unregister"] * locked
        for pointer, size, _ in fake.registered:
            assert fake.unregistered == [pointer] * 2
            assert size == 20 * 3 * 8 * 8
        for notes in (fake.log, fake.registered, fake.unregistered):
            notes.clear()


def test_pages_are_given_back_even_if_the_device_is_lost(tmp_path: Path, fake: Fake) -> None:
    dataset = prepared(tmp_path / "store", Samples(20, (3, 8, 8)), mode="mapped")

    def lost() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    fake.synchronize = lost  # type: ignore[method-assign]
    dataset.open()
    with pytest.raises(RuntimeError, match="launch failure"):
        dataset.close()
    assert fake.log == [*LOCKED, "unregister"]
    dataset.close()


def test_pixels_that_do_not_fit_their_sizes_never_reach_the_device(tmp_path: Path, fake: Fake) -> None:
    location = tmp_path / "store"
    for mode in ("cuda", "mapped"):
        dataset = prepared(location, RaggedSamples(20, "raw"), mode=mode)
        path = location / sizes_name("train")
        described = np.fromfile(path, "<i4").reshape(-1, 3)
        described[3, 0] += 1
        described.tofile(path)
        with pytest.raises(StoreError, match=r"image 3 of the train split in .* has \d+ bytes instead of \d+; remove"):
            dataset.open()
        described[3, 0] -= 1
        described.tofile(path)
        offsets = np.fromfile(location / "train.offsets", "<i8")
        (offsets + 3).tofile(location / "train.offsets")
        with pytest.raises(StoreError, match=r"the offsets of the train split in .* do not fit its pixels; remove"):
            dataset.open()
    assert fake.log == []


def test_host_and_device_crop_alike(tmp_path: Path, fake: Fake) -> None:
    """The same store through ``mmap``, which crops on the host."""
    samples = jpegs()
    options = {"encoding": "jpeg"}
    store_samples(load("mmap"), {"train": samples}, tmp_path / "host", options)
    with (
        prepared(tmp_path / "device", samples, **options) as device,
        open_store(load("mmap"), tmp_path / "host", "train", options, size=SIZE) as host,
    ):
        for train in (False, True):
            request = BatchRequest(np.arange(30)[::-1].copy(), 3, 1, 20, train)
            assert_same(device_crops(device, request, 20), host.batch(request))


def on_device(tmp_path: Path, samples: Any, **options: Any) -> StoreDataset:
    """The same on the CUDA device."""
    if reason := GpuMmapFormat.configured(options).unavailable():
        pytest.skip(reason)
    store_samples(GpuMmapFormat, {"train": samples}, tmp_path / "store", options)
    return open_store(GpuMmapFormat, tmp_path / "store", "train", options, size=SIZE if samples.shape is None else None)


@pytest.mark.cuda
@pytest.mark.parametrize("mode", MODES, ids="mode={}".format)
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature:UserWarning")
def test_a_batch_does_not_wait_for_the_network(tmp_path: Path, mode: str) -> None:
    """The time of a fetch is the loader's own, however long the device has still to compute what came before."""
    sources: list[Any] = [Samples(64, (3, 64, 64)), RaggedSamples(64, "raw")]
    for samples in sources:
        indices = [9, 3, 3, 40]
        with on_device(tmp_path, samples, mode=mode) as dataset:
            kept = [dataset.batch(indices) for _ in range(3)]  # kernels and memory are there before it counts
            torch.cuda.synchronize()
            del kept
            torch.cuda._sleep(10**9)  # cycles: half a second
            network = torch.cuda.Event()
            network.record()
            torch.cuda.set_sync_debug_mode("error")  # names what waits
            try:
                batch = dataset.batch(indices)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            assert not network.query()
            assert_same(batch, samples.expect(indices))


@pytest.mark.cuda
@pytest.mark.parametrize("way", ATTEMPTS)
def test_registered_pages_are_read_on_the_device(tmp_path: Path, way: Way) -> None:
    """Also where the device would read them as they are. A file's own pages may be refused, a copy in tmpfs not."""
    device, path = Device(), tmp_path / "file"
    content = torch.arange(20_003, dtype=torch.int32).to(torch.uint8)
    path.write_bytes(content.numpy().tobytes())
    if reason := device.access().lacking("pinned"):
        pytest.skip(reason)
    with contextlib.ExitStack() as life:
        found = ATTEMPTS[way](path, device.access(), device, life)
        if isinstance(found, str):
            assert way == "registered", found
            pytest.skip(found)
        at = torch.tensor([20_002, 0, 4096, 5], device=device.where)
        assert device.view(found).index_select(0, at).tolist() == content[at.cpu()].tolist()


@pytest.mark.cuda
def test_a_refused_registration_leaves_no_error_behind() -> None:
    device, life = Device(), contextlib.ExitStack()
    array = locked_memory(2**20, device, life)
    assert device.register(array.ctypes.data, 2**20, WRITABLE) != 0  # it is registered already
    assert torch.zeros(3, device="cuda").sum().item() == 0  # would raise the error of another
    with ThreadPoolExecutor(1) as other:  # one that has not used CUDA yet
        other.submit(life.close).result()
