"""All of ``gpu_mmap`` on a device that is the CPU, and what only a CUDA device has on one."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given
from hypothesis import strategies as st

from loaders import (
    BackendError,
    BatchRequest,
    DecodeError,
    LoaderFaultError,
    OptionError,
    StoreError,
    UnavailableError,
    load,
)
from loaders.device import Device, cuda_device
from loaders.device_fill import check_room, copy_into, decode_into, pieces, remedy
from loaders.gathering import Gather, widest_word
from loaders.gpu_mmap import GatheredDataset
from loaders.hostpages import HostPages, Registrar, forget_last_error, host_view
from loaders.options import LoaderOptions, parse_options
from loaders.ragged import sizes_name
from loaders.streamed import StreamedSplit
from tests.loader_contract import Case, LoaderContract, Prepared, same
from tests.ragged_samples import SIZE, RaggedSamples
from tests.samples import CLASSES, INFO, Samples, any_splits

GPU_MMAP = load("gpu_mmap")
READ_ONLY, WRITABLE = 0x02 | 0x08, 0x02

shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 9))


class Fake:
    """A device that is the CPU, and notes what is asked of it.

    Attributes:
        codes: what registering gives, one after the other, then 0.
        log: what happened, in order.
    """

    def __init__(self, *codes: int, on_unregister: int = 0) -> None:
        self.codes = list(codes)
        self.on_unregister = on_unregister
        self.registered: list[tuple[int, int, int]] = []
        self.unregistered: list[int] = []
        self.log: list[str] = []
        self.free = self.available = 10**12
        self.view: Callable[[Any], torch.Tensor] = host_view

    @property
    def registrar(self) -> Registrar:
        return Registrar(self._register, self._unregister, lambda: self.log.append("forget"))

    def device(self) -> Device:
        return Device(
            where=torch.device("cpu"),
            free=lambda: self.free,
            available=lambda: self.available,
            registrar=self.registrar,
            view=self.view,
            synchronize=lambda: self.log.append("synchronize"),
        )

    def _register(self, pointer: int, size: int, flags: int) -> int:
        self.registered.append((pointer, size, flags))
        self.log.append("register")
        return self.codes.pop(0) if self.codes else 0

    def _unregister(self, pointer: int) -> int:
        self.unregistered.append(pointer)
        self.log.append("unregister")
        return self.on_unregister


class OnHost(GatheredDataset):
    """``gpu_mmap`` on the CPU."""

    name = "on_host"
    device = "cpu"
    fake = Fake()

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:  # noqa: ARG003
        return None

    @classmethod
    def _device(cls) -> Device:
        return cls.fake.device()


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


def prepared(location: Path, samples: Any, **options: Any) -> GatheredDataset:
    """A dataset over a new store."""
    parsed = OnHost.Options.model_validate(options)
    OnHost.prepare({"train": samples}, location, parsed, dataset=INFO)
    return OnHost(location, "train", parsed, size=SIZE if samples.shape is None else None)


@given(shapes, st.integers(1, 12), st.data())
def test_gather_is_indexing(shape: tuple[int, int, int], count: int, data: st.DataObject) -> None:
    """Odd row sizes go byte by byte, others in words; the result is the same."""
    samples = Samples(count, shape)
    indices = data.draw(st.lists(st.integers(0, count - 1), max_size=15))
    gather = Gather(torch.from_numpy(samples.images), torch.from_numpy(samples.labels))
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
    monkeypatch.setattr("loaders.device_fill.PIECE", 64)
    content = np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)
    targets = [torch.zeros(1000, dtype=torch.uint8) for _ in range(2)]
    copy_into(targets[0], host_view(content))
    decode_into(targets[1], np.full(100, 10), lambda i: torch.from_numpy(content.reshape(100, 10)[i].reshape(-1)))
    assert [target.numpy().tobytes() for target in targets] == [content.tobytes()] * 2


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
def test_a_split_that_does_not_fit_takes_nothing(tmp_path: Path, fake: Fake, mode: str, ragged: bool) -> None:
    samples: Any = RaggedSamples(20, "raw") if ragged else Samples(20, (3, 8, 8))
    dataset = prepared(tmp_path / "store", samples, mode=mode)
    needed = sum(image.size for image in samples.images)
    fake.free = fake.available = needed - 1
    what = "this machine's memory" if mode == "pinned" else "the device"
    with pytest.raises(BackendError, match=f"the split needs 0.00 GB and {what} has 0.00 GB free; use --option mode="):
        dataset.open()
    assert "register" not in fake.log
    fake.free = fake.available = needed
    with dataset:
        assert same(dataset.batch([3, 1]), samples.expect([3, 1]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.pixels"
    path.write_bytes(bytes(range(200)))
    return path


def test_pages_are_registered_read_only_where_that_works(file: Path) -> None:
    fake = Fake(0)
    pages = HostPages.of_file(file, fake.registrar)
    ((pointer, size, flags),) = fake.registered
    assert pages.array is not None
    assert (pointer, size, flags) == (pages.array.ctypes.data, 200, READ_ONLY)
    assert pages.array.tolist() == list(range(200))
    assert not pages.array.flags.writeable
    pages.close()
    pages.close()
    assert fake.unregistered == [pointer]
    assert fake.log == ["register", "unregister"]


def test_pages_are_registered_writable_where_they_must_be(file: Path) -> None:
    fake = Fake(801, 0)
    pages = HostPages.of_file(file, fake.registrar)
    assert [flags for _, _, flags in fake.registered] == [READ_ONLY, WRITABLE]
    assert pages.array is not None
    assert pages.array.flags.writeable
    pages.close()
    assert fake.unregistered == [fake.registered[1][0]]
    assert fake.log == ["register", "forget", "register", "unregister"]


def test_both_refusals_are_told(file: Path) -> None:
    fake = Fake(801, 2)
    with pytest.raises(BackendError) as caught:
        HostPages.of_file(file, fake.registrar)
    assert str(caught.value) == (
        f"CUDA cannot read the pages of {file} in place (cudaHostRegister(flags 0xa) gave error 801; "
        "cudaHostRegister(flags 0x2) gave error 2); "
        "raise the locked-memory limit (ulimit -l), or use --option mode=pinned or mode=cuda"
    )
    assert fake.log == ["register", "forget"] * 2


def test_a_file_that_may_not_be_written_is_a_refusal(file: Path) -> None:
    file.chmod(0o400)
    if os.access(file, os.W_OK):
        pytest.skip("permission bits do not bind this user")
    with pytest.raises(BackendError, match="error 801; mapping it writable: Permission denied"):
        HostPages.of_file(file, Fake(801).registrar)


@pytest.mark.parametrize("size", [1, 4096, 5000, 2**20 + 1])
def test_as_much_memory_is_locked_as_is_asked_for(size: int) -> None:
    """PyTorch's own pinned memory would come as the next power of two."""
    fake = Fake()
    pages = HostPages.of_memory(size, fake.registrar)
    assert pages.array is not None
    assert fake.registered == [(pages.array.ctypes.data, size, WRITABLE)]
    assert pages.array.ctypes.data % 4096 == 0
    pages.array[:] = 7
    pages.close()
    pages.close()
    assert fake.log == ["register", "unregister"]


def test_memory_that_may_not_be_locked_is_a_refusal() -> None:
    fake = Fake(2)
    with pytest.raises(BackendError) as caught:
        HostPages.of_memory(3 * 10**7, fake.registrar)
    assert str(caught.value) == (
        "CUDA cannot lock 0.03 GB of memory (cudaHostRegister(flags 0x2) gave error 2); "
        "raise the locked-memory limit (ulimit -l), or use --option mode=cuda"
    )
    assert fake.log == ["register", "forget"]


def test_memory_that_there_is_not_is_a_refusal() -> None:
    with pytest.raises(BackendError, match=r"this machine has no .* GB of memory left; use --option mode=cuda or"):
        HostPages.of_memory(2**60, Fake().registrar)


def test_pages_that_stay_locked_are_told_once(file: Path) -> None:
    fake = Fake(0, on_unregister=713)
    pages = HostPages.of_file(file, fake.registrar)
    with pytest.raises(BackendError, match="cudaHostUnregister gave error 713"):
        pages.close()
    pages.close()
    assert fake.log == ["register", "unregister", "forget"]


def test_a_view_of_read_only_memory_is_no_copy() -> None:
    array = np.arange(9, dtype=np.uint8)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = host_view(array)
    assert view.data_ptr() == array.ctypes.data
    del array
    assert view.tolist() == list(range(9))


def test_the_error_of_a_refusal_is_taken_from_every_runtime(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f0-7f1 r--p 00000000 08:01 11                         /a b/nvidia/libcudart.so.13\n"
        "7f1-7f2 r-xp 00001000 08:01 11                         /a b/nvidia/libcudart.so.13\n"
        "7f2-7f3 r-xp 00001000 08:01 12                         /c/libcudart-3eda.so.12 (deleted)\n"
        "7f3-7f4 r-xp 00001000 08:01 13                         /libcudart/libc.so.6\n"
        "7f4-7f5 rw-p 00000000 00:00 0\n"
    )
    asked = []

    class Library:
        def __init__(self, path: str) -> None:
            self.path = path

        def cudaGetLastError(self) -> int:  # noqa: N802 - the library's name
            asked.append(self.path)
            return 1

    assert forget_last_error(maps, Library) == 2
    assert asked == ["/a b/nvidia/libcudart.so.13", "/c/libcudart-3eda.so.12"]
    assert forget_last_error(tmp_path / "none", Library) == 0


@pytest.mark.skipif(torch.version.cuda is None or sys.platform != "linux", reason="no CUDA runtime in this process")
def test_pytorch_s_own_runtime_is_found() -> None:
    """In a process of its own: without a driver the runtime keeps that as its error."""
    code = "import torch; from loaders.hostpages import forget_last_error; assert forget_last_error() >= 1"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


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
    assert fake.log == {"cuda": ["synchronize"], "pinned": ["register", "synchronize", "unregister"]}[mode]
    dataset.close()


@pytest.mark.parametrize("mode", ["pinned", "mapped"], ids="mode={}".format)
def test_a_device_without_memory_gives_back_what_was_taken(tmp_path: Path, fake: Fake, mode: str) -> None:
    def view(array: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    fake.view = view
    with pytest.raises(BackendError) as caught:
        prepared(tmp_path / "store", Samples(20, (3, 8, 8)), mode=mode).open()
    assert str(caught.value) == (
        f"the device ran out of memory while the train split was opened; use {remedy(mode, 'raw')}"
    )
    assert fake.log == ["register", "synchronize", "unregister"]


@pytest.mark.parametrize("mode", ["cuda", "pinned", "mapped"], ids="mode={}".format)
def test_closing_waits_for_the_device_before_it_takes_its_pages(tmp_path: Path, fake: Fake, mode: str) -> None:
    dataset = prepared(tmp_path / "store", Samples(20, (3, 8, 8)), mode=mode).open()
    dataset.batch([1])
    dataset.close()
    dataset.close()
    locked = mode != "cuda"
    assert fake.log == ["register"] * locked + ["synchronize"] + ["unregister"] * locked
    assert len(fake.registered) == locked
    for pointer, size, _ in fake.registered:
        assert fake.unregistered == [pointer]
        assert size == 20 * 3 * 8 * 8


def test_pages_are_given_back_even_if_the_device_is_lost(tmp_path: Path, fake: Fake) -> None:
    dataset = prepared(tmp_path / "store", Samples(20, (3, 8, 8)), mode="mapped")

    def lost() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    device = fake.device()._replace(synchronize=lost)
    fake.device = lambda: device  # type: ignore[method-assign]
    dataset.open()
    with pytest.raises(LoaderFaultError, match="launch failure"):
        dataset.close()
    assert fake.log == ["register", "unregister"]
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


@pytest.mark.cuda
def test_a_refused_registration_leaves_no_error_behind() -> None:
    registrar = cuda_device().registrar
    pages = HostPages.of_memory(2**20, registrar)
    assert pages.array is not None
    assert int(registrar.register(pages.array.ctypes.data, 2**20, WRITABLE)) != 0  # it is registered already
    registrar.forget()
    assert torch.zeros(3, device="cuda").sum().item() == 0  # would raise the error of another
    pages.close()
