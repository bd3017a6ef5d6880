"""All of ``gpu_mmap`` on a device that is the CPU, and what only a CUDA device has on one."""

from __future__ import annotations

import contextlib
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
from bench.run.stores import Wanted, silent
from bench.sources.registry import open_source
from loaders import (
    BackendError,
    BatchRequest,
    DecodeError,
    OptionError,
    StoreError,
    UnavailableError,
    load,
)
from loaders.core.batch import Indices
from loaders.core.options import LoaderOptions, parse_options
from loaders.formats.gpu_mmap.device import Device, HostAccess, host_access, host_view
from loaders.formats.gpu_mmap.fill import check_room, decode_into, pieces, remedy
from loaders.formats.gpu_mmap.format import GpuMmapDataset, GpuMmapOptions
from loaders.formats.gpu_mmap.gathering import Gather, widest_word
from loaders.formats.gpu_mmap.hostpages import ATTEMPTS, Way, file_pages, locked_memory
from loaders.images.ragged import sizes_name
from loaders.store.intake import StreamedSplit
from tests.loader_contract import Case, LoaderContract, Prepared, same
from tests.ragged_samples import SIZE, RaggedSamples
from tests.samples import CLASSES, INFO, Samples, any_splits, as_splits

GPU_MMAP = load("gpu_mmap")
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

shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 9))


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


LOCKED = ["register", "unregister", "register"]
"""A page is tried first."""


class OnHost(GpuMmapDataset):
    """``gpu_mmap`` on the CPU."""

    name = "on_host"
    device = "cpu"  # type: ignore[assignment]
    fake = Fake()

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:
        assert isinstance(options, GpuMmapOptions)
        return cls.fake.says.lacking(options.mode)

    @classmethod
    def _device(cls) -> Device:
        return cls.fake


@pytest.fixture
def fake() -> Fake:
    """A new device for `OnHost`."""
    OnHost.fake = Fake()
    return OnHost.fake


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
_stores: dict[str, Prepared] = {}


class TestOnHost(LoaderContract):
    """The whole contract, so that the book-keeping of every mode is tested wherever the tests run."""

    @pytest.fixture(params=HOST_CASES, ids=str)
    def case(self, request: pytest.FixtureRequest) -> Case:
        found: Case = request.param
        return found

    @pytest.fixture
    def store(self, case: Case, tmp_path_factory: pytest.TempPathFactory, fake: Fake) -> Prepared:
        if str(case) not in _stores:
            location = tmp_path_factory.mktemp("stores", numbered=True) / "store"
            prepared = Prepared(OnHost, case.options, location, any_splits(case.source))
            prepared.prepare(location)
            _stores[str(case)] = prepared
        return _stores[str(case)]


def prepared(location: Path, samples: Any, **options: Any) -> OnHost:
    """A dataset over a new store."""
    parsed = OnHost.Options.model_validate(options)
    OnHost.prepare({"train": samples}, location, parsed, dataset=INFO)
    return OnHost(location, "train", parsed, size=SIZE if samples.shape is None else None)


@given(shapes, st.integers(1, 12), st.data())
def test_gather_is_indexing(shape: tuple[int, int, int], count: int, data: st.DataObject) -> None:
    """Odd row sizes go byte by byte, others in words; the result is the same."""
    samples = Samples(count, shape)
    indices = data.draw(st.lists(st.integers(0, count - 1), max_size=15))
    gather = Gather(torch.from_numpy(samples.images), samples.labels)
    batch = gather.read(np.array(indices, np.int64))
    assert batch.images.shape == (len(indices), *shape)
    assert same(batch, samples.expect(indices))
    batch.images.fill_(7)  # fresh memory
    batch.labels.fill_(-1)
    assert same(gather.read(np.array(indices, np.int64)), samples.expect(indices))


@given(st.integers(1, 10**6))
def test_the_widest_word_divides_the_row(size: int) -> None:
    width = widest_word(size).itemsize
    assert size % width == 0
    assert width == 8 or size % (2 * width)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120))
def test_pieces_are_all_samples_in_order_and_small(sizes: list[int], most: int) -> None:
    found = list(pieces(np.array(sizes, np.int64), most))
    assert [i for start, stop in found for i in range(start, stop)] == list(range(len(sizes)))
    for start, stop in found:
        assert stop == start + 1 or sum(sizes[start:stop]) <= most
        assert stop == len(sizes) or sum(sizes[start : stop + 1]) > most  # as many as fit


def test_what_is_larger_than_a_piece_is_brought_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loaders.formats.gpu_mmap.fill.PIECE", 64)
    content = np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)
    target, parts = torch.zeros(1000, dtype=torch.uint8), []

    def decode(indices: Indices) -> torch.Tensor:
        parts.append(len(indices))
        return torch.from_numpy(content.reshape(100, 10)[indices].reshape(-1))

    decode_into(target, np.full(100, 10), decode)
    assert target.numpy().tobytes() == content.tobytes()
    assert parts == [6] * 16 + [4]


def test_the_layout_is_plain_bytes(tmp_path: Path) -> None:
    samples = Samples(41, (3, 16, 12), "jpeg")
    for encoding in ("raw", "jpeg"):
        (tmp_path / encoding).mkdir()
        streamed = {name: StreamedSplit(name, samples, CLASSES, lambda _: None) for name in ("train", "test")}
        options = GPU_MMAP.Options.model_validate({"encoding": encoding})
        names = GPU_MMAP._write(streamed, tmp_path / encoding, options).checked
        assert set(names) == {path.name for path in (tmp_path / encoding).iterdir()}
    files = samples.files or []
    for split in ("train", "test"):
        assert (tmp_path / "raw" / f"{split}.pixels").read_bytes() == samples.images.tobytes()
        assert (tmp_path / "raw" / f"{split}.labels").read_bytes() == samples.labels.astype("<i8").tobytes()
        assert (tmp_path / "jpeg" / f"{split}.jpeg").read_bytes() == b"".join(files)
        offsets = np.fromfile(tmp_path / "jpeg" / f"{split}.offsets", "<i8")
        assert offsets.tolist() == [0, *np.cumsum([len(file) for file in files])]


def test_a_split_that_does_not_fit_is_refused_beforehand() -> None:
    check_room(100, 100, "the device", "--limit")
    with pytest.raises(BackendError) as caught:
        check_room(3 * 10**9, 2 * 10**9, "the device", remedy("cuda", "raw"))
    assert str(caught.value) == (
        "the split needs 3.00 GB and the device has 2.00 GB free; "
        "use --option mode=pinned, --option mode=mapped or --limit"
    )
    assert remedy("cuda", "jpeg") == "--option mode=pinned or --limit"
    assert remedy("pinned", "raw") == "--option mode=mapped or --limit"
    assert remedy("mapped", "raw") == remedy("pinned", "jpeg") == "--limit"


@pytest.mark.parametrize("mode", ["cuda", "pinned"], ids="mode={}".format)
@pytest.mark.parametrize("ragged", [False, True])
def test_a_split_that_does_not_fit_takes_nothing(
    tmp_path: Path, fake: Fake, mode: str, ragged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples: Any = RaggedSamples(20, "raw") if ragged else Samples(20, (3, 8, 8))
    dataset = prepared(tmp_path / "store", samples, mode=mode)
    needed = sum(image.size for image in samples.images)
    memory = SimpleNamespace(available=needed - 1)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    fake.left = needed - 1
    what = "this machine's memory" if mode == "pinned" else "the device"
    with pytest.raises(BackendError, match=f"the split needs 0.00 GB and {what} has 0.00 GB free; use --option mode="):
        dataset.open()
    assert "register" not in fake.log
    fake.left = memory.available = needed
    with dataset:
        assert same(dataset.batch([3, 1]), samples.expect([3, 1]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.pixels"
    path.write_bytes(bytes(range(200)) * 50)
    return path


@pytest.mark.parametrize(("says", "flags"), [(ANY, READ_ONLY), (WRITABLE_ONLY, WRITABLE)], ids=["any", "writable"])
def test_a_file_s_own_pages_are_registered(file: Path, says: HostAccess, flags: int) -> None:
    fake = Fake(says=says)
    with contextlib.ExitStack() as life:
        array, way = file_pages(file, fake, life)
        pointer = array.ctypes.data
        assert fake.registered == [(pointer, 4096, flags), (pointer, 10_000, flags)]
        assert array.tobytes() == file.read_bytes()
        assert (way, array.flags.writeable) == ("registered", says is WRITABLE_ONLY)
        assert str(file) in Path("/proc/self/maps").read_text()
    assert fake.log == [*LOCKED, "synchronize", "unregister"]
    assert fake.unregistered == [pointer] * 2


def test_nothing_is_registered_where_the_device_reads_all_memory(file: Path) -> None:
    fake = Fake(says=PAGEABLE)
    with contextlib.ExitStack() as life:
        array, way = file_pages(file, fake, life)
        assert array.tobytes() == file.read_bytes()
        assert (way, array.flags.writeable) == ("pageable", False)
    assert fake.log == ["synchronize"]


@pytest.mark.parametrize(("codes", "asked"), [((1,), [4096]), ((0, 2), [4096, 10_000])], ids=["page", "all"])
def test_a_copy_in_tmpfs_is_read_where_the_file_cannot_be(file: Path, codes: tuple[int, ...], asked: list[int]) -> None:
    fake = Fake(*codes, says=WRITABLE_ONLY)
    content = file.read_bytes()
    with contextlib.ExitStack() as life:
        array, way = file_pages(file, fake, life)
        assert [(size, flags) for _, size, flags in fake.registered] == [(n, WRITABLE) for n in (*asked, 4096, 10_000)]
        assert way == "tmpfs"
        array[0] = 77
        assert array.tobytes()[1:] == content[1:]
        assert file.read_bytes() == content
        assert "/memfd:train.pixels (deleted)" in Path("/proc/self/maps").read_text()  # nobody has to remove it
        del array
    assert fake.unregistered[-1] == fake.registered[-1][0]
    assert "/memfd:train.pixels" not in Path("/proc/self/maps").read_text()


def test_all_refusals_are_told(file: Path) -> None:
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


def test_a_file_that_memory_cannot_hold_is_not_locked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=9_999))
    fake = Fake()
    with pytest.raises(UnavailableError, match=r"0.00 GB to be locked, of which this machine has 0.00 GB free"):
        file_pages(file, fake, contextlib.ExitStack())
    assert fake.log == []
    fake.says = PAGEABLE
    assert file_pages(file, fake, contextlib.ExitStack())[1] == "pageable"


def test_a_file_that_may_not_be_written_is_a_refusal(file: Path) -> None:
    file.chmod(0o400)
    if os.access(file, os.W_OK):
        pytest.skip("permission bits do not bind this user")
    with pytest.raises(
        UnavailableError,
        match="mapping the file to be written: Permission denied; tmpfs: cuMem",
    ):
        file_pages(file, Fake(2, says=WRITABLE_ONLY), contextlib.ExitStack())


@pytest.mark.parametrize(
    ("says", "without"),
    [
        (PAGEABLE, []),
        (ANY, []),
        (WRITABLE_ONLY, []),
        (HostAccess(True, False, False, False), ["pinned"]),
        (HostAccess(False, False, True, True), ["pinned", "mapped"]),
        (HostAccess(False, True, False, True), ["pinned", "mapped"]),
    ],
    ids=str,
)
def test_what_the_device_lacks_is_told_before_anything_is_opened(
    tmp_path: Path, fake: Fake, says: HostAccess, without: list[str]
) -> None:
    datasets = {m: prepared(tmp_path / m, Samples(9, (3, 8, 8)), mode=m) for m in ("cuda", "pinned", "mapped")}
    fake.says = says
    assert [mode for mode, dataset in datasets.items() if dataset.unavailable(dataset.options)] == without
    for mode in without:
        with pytest.raises(UnavailableError, match=r"\(pageable \d, registration \d, .*\); use --option mode=cuda$"):
            datasets[mode].open()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ragged", [False, True])
def test_every_way_to_a_file_s_pages_gives_the_same(tmp_path: Path, fake: Fake, way: Way, ragged: bool) -> None:
    samples: Any = RaggedSamples(20, "raw") if ragged else Samples(20, (3, 7, 9))
    dataset = prepared(tmp_path / "store", samples, mode="mapped")
    fake.says, fake.codes = WAYS[way][0], list(WAYS[way][1])
    with dataset:
        assert dataset.way == way
        assert same(dataset.batch([19, 3, 3]), samples.expect([19, 3, 3]))
    fake.codes = [REFUSED, REFUSED]
    if way != "pageable":
        with pytest.raises(UnavailableError, match="cannot read the pages of"):
            dataset.open()


@pytest.mark.parametrize("way", ["tmpfs", None])
def test_a_refusal_at_opening_is_a_run_that_is_unavailable(tmp_path: Path, fake: Fake, way: Way | None) -> None:
    fake.says, fake.codes = WRITABLE_ONLY, [REFUSED] if way else [REFUSED] * 2
    options: dict[str, Any] = {"mode": "mapped"}
    config = RunConfig(
        loader="gpu_mmap", options=options, dataset="digits", limit=32, epochs=1, device="cpu", ceiling_steps=0
    )
    wanted = Wanted(OnHost, OnHost.Options(**options), open_source("digits", tmp_path), 32, tmp_path / "stores")
    record = run(config, wanted, silent, lambda _: None)
    if way:
        assert (record.status, record.loader.way) == ("ok", way), record.error
    else:
        assert record.status == "unavailable"
        assert record.error is not None
        assert record.error.startswith("the device cannot read the pages of STORES/digits-limit32/")
        assert record.error.endswith("use --option mode=pinned or mode=cuda")


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


@pytest.mark.parametrize("size", [1, 4096, 5000, 2**20 + 1])
def test_as_much_memory_is_locked_as_is_asked_for(size: int) -> None:
    """PyTorch's own pinned memory would come as the next power of two."""
    fake = Fake()
    with contextlib.ExitStack() as life:
        array = locked_memory(size, fake, life)
        assert fake.registered[-1] == (array.ctypes.data, size, WRITABLE)
        assert array.ctypes.data % 4096 == 0
        array[:] = 7
    assert fake.log == [*LOCKED, "synchronize", "unregister"]


def test_memory_that_may_not_be_locked_is_a_refusal() -> None:
    fake = Fake(2)
    with pytest.raises(BackendError) as caught:
        locked_memory(3 * 10**7, fake, contextlib.ExitStack())
    assert str(caught.value) == (
        "CUDA cannot lock 0.03 GB of memory (cuMemHostRegister(flags 0x2) gave error 2); "
        "raise the locked-memory limit (ulimit -l), or use --option mode=cuda"
    )
    assert fake.log == ["register"]


def test_memory_that_there_is_not_is_a_refusal() -> None:
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "mapped", "encoding": "jpeg"}, "mode=mapped reads pixels in place; use encoding=raw"),
        ({"scaled": True}, "scaled=true is for loaders that decode on the host for each crop; leave it out"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_options(GPU_MMAP.Options, options, "gpu_mmap")
    assert str(caught.value) == f"loader gpu_mmap: {message}"


def test_modes_share_a_store() -> None:
    given = [{"mode": mode} for mode in ("cuda", "pinned", "mapped")]
    assert [GPU_MMAP.Options.model_validate(each).stored() for each in given] == [{"encoding": "raw"}] * 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("mode", ["cuda", "mapped"], ids="mode={}".format)
def test_without_a_device_it_says_why(tmp_path: Path, mode: str) -> None:
    reason = GPU_MMAP.unavailable(GPU_MMAP.Options.model_validate({"mode": mode}))
    built = torch.version.cuda is not None
    assert reason == ("no CUDA device" if built else "this PyTorch is built without CUDA; install a CUDA build")
    with pytest.raises(UnavailableError, match="loader gpu_mmap cannot run here: "):
        GPU_MMAP(tmp_path, "train").open()


def jpegs(count: int = 30) -> RaggedSamples:
    """Pictures of many sizes that are all plain JPEG files."""
    samples = RaggedSamples(count, "raw", seed=4)
    samples.encoding = "jpeg"
    samples.files = [bytes(simplejpeg.encode_jpeg(image, 90)) for image in samples.images]
    samples.images = [simplejpeg.decode_jpeg(file) for file in samples.files]
    return samples


def damage(path: Path, file: bytes) -> None:
    """Make one stored file unreadable."""
    content = path.read_bytes()
    place = content.index(file)
    path.write_bytes(content[: place + 10] + bytes(40) + content[place + 50 :])


@pytest.mark.parametrize("mode", ["cuda", "pinned"], ids="mode={}".format)
@pytest.mark.parametrize("ragged", [False, True])
def test_a_damaged_file_gives_back_what_was_taken(tmp_path: Path, fake: Fake, mode: str, ragged: bool) -> None:
    samples: Any = jpegs() if ragged else Samples(20, (3, 16, 16), "jpeg")
    dataset = prepared(tmp_path / "store", samples, mode=mode, encoding="jpeg")
    damage(tmp_path / "store" / "train.jpeg", samples.files[6])
    with pytest.raises(DecodeError):
        dataset.open()
    assert fake.log == {"cuda": ["synchronize"], "pinned": [*LOCKED, "synchronize", "unregister"]}[mode]
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
    assert str(caught.value) == f"the device has no 0.00 GB in one piece; use {remedy('cuda', 'raw')}"
    assert fake.log == ["synchronize"]


@pytest.mark.parametrize("mode", ["cuda", "pinned", "mapped"], ids="mode={}".format)
def test_closing_waits_for_the_device_before_it_takes_its_pages(tmp_path: Path, fake: Fake, mode: str) -> None:
    dataset = prepared(tmp_path / "store", Samples(20, (3, 8, 8)), mode=mode).open()
    dataset.batch([1])
    dataset.close()
    dataset.close()
    locked = mode != "cuda"
    assert fake.log == LOCKED * locked + ["synchronize"] + ["unregister"] * locked
    for pointer, size, _ in fake.registered:
        assert fake.unregistered == [pointer] * 2
        assert size == 20 * 3 * 8 * 8


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


@pytest.mark.parametrize("mode", ["cuda", "mapped"], ids="mode={}".format)
def test_pixels_that_do_not_fit_their_sizes_never_reach_the_device(tmp_path: Path, fake: Fake, mode: str) -> None:
    location = tmp_path / "store"
    dataset = prepared(location, RaggedSamples(20, "raw"), mode=mode)
    path = location / sizes_name("train")
    described = np.fromfile(path, "<i4").reshape(-1, 3)
    described[3, 0] += 1
    described.tofile(path)
    with pytest.raises(StoreError, match=r"image 3 of the train split in .* has \d+ bytes instead of \d+; remove .*"):
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
    host = load("mmap")
    host.prepare({"train": samples}, tmp_path / "host", host.Options.model_validate(options), dataset=INFO)
    with (
        prepared(tmp_path / "device", samples, **options) as device,
        host(tmp_path / "host", "train", options, size=SIZE) as mmap,
    ):
        for train in (False, True):
            request = BatchRequest(np.arange(30)[::-1].copy(), 3, 1, 20, train)
            images, labels = mmap.batch(request)
            assert same(device.batch(request), (images, labels))


def on_device(tmp_path: Path, ragged: bool, **options: Any) -> tuple[GpuMmapDataset, Any]:
    """The same on the CUDA device, and what it must give."""
    samples: Any = RaggedSamples(64, "raw") if ragged else Samples(64, (3, 64, 64))
    parsed = GPU_MMAP.Options.model_validate(options)
    if reason := GPU_MMAP.unavailable(parsed):
        pytest.skip(reason)
    GPU_MMAP.prepare(as_splits({"train": samples}), tmp_path / "store", parsed, dataset=INFO)
    dataset = GPU_MMAP(tmp_path / "store", "train", parsed, size=SIZE if ragged else None)
    assert isinstance(dataset, GpuMmapDataset)
    return dataset, samples


@pytest.mark.cuda
@pytest.mark.parametrize("mode", ["cuda", "pinned", "mapped"], ids="mode={}".format)
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature:UserWarning")
@pytest.mark.parametrize("ragged", [False, True])
def test_a_batch_does_not_wait_for_the_network(tmp_path: Path, mode: str, ragged: bool) -> None:
    """The time of a fetch is the loader's own, however long the device has still to compute what came before."""
    dataset, samples = on_device(tmp_path, ragged, mode=mode)
    wanted = [9, 3, 3, 40]
    with dataset:
        kept = [dataset.batch(wanted) for _ in range(3)]  # kernels and memory are there before it counts
        torch.cuda.synchronize()
        del kept
        torch.cuda._sleep(10**9)  # cycles: half a second
        network = torch.cuda.Event()
        network.record()
        torch.cuda.set_sync_debug_mode("error")  # names what waits
        try:
            batch = dataset.batch(wanted)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert not network.query()
        assert same(batch, samples.expect(wanted))


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
