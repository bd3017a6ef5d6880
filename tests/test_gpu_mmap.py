"""What of ``gpu_mmap`` needs no device: its gather on the CPU, its layout, and the book-keeping of locked pages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loaders import BackendError, OptionError, UnavailableError, load
from loaders.arrays import ArrayReader, open_arrays, write_arrays
from loaders.gpu_mmap import Gather, HostPages, check_room, fill, widest_word
from loaders.options import parse_options
from loaders.split import SplitInfo
from loaders.streamed import StreamedSplit
from tests.loader_contract import same
from tests.samples import CLASSES, Samples

GPU_MMAP = load("gpu_mmap")
READ_ONLY, WRITABLE = 0x02 | 0x08, 0x02

shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 9))


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


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
@pytest.mark.parametrize("count", [1, 1023, 1025])
def test_fill_copies_every_sample(tmp_path: Path, encoding: Any, count: int) -> None:
    samples = Samples(count, (3, 8, 8), encoding)
    info = written(samples, tmp_path, encoding)
    reader = ArrayReader(open_arrays(tmp_path, "train", info, encoding), info.shape, 1)
    target = torch.zeros((count, 3, 8, 8), dtype=torch.uint8)
    fill(target, reader)
    reader.close()
    assert torch.equal(target, torch.from_numpy(samples.images))


def written(samples: Samples, folder: Path, encoding: Any) -> SplitInfo:
    streamed = StreamedSplit("train", samples, CLASSES, lambda _: None)
    write_arrays(streamed, folder, encoding)
    return streamed.info


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
    check_room(100, 100, "the device")
    with pytest.raises(BackendError) as caught:
        check_room(3 * 10**9, 2 * 10**9, "the device")
    assert str(caught.value) == (
        "the split needs 3.00 GB and the device has 2.00 GB free; use --option mode=mapped or --limit"
    )


class Runtime:
    """Stands where CUDA's register and unregister would, and keeps what it was asked."""

    def __init__(self, *codes: int, on_unregister: int = 0) -> None:
        self.codes = list(codes)
        self.on_unregister = on_unregister
        self.registered: list[tuple[int, int, int]] = []
        self.unregistered: list[int] = []

    def register(self, pointer: int, size: int, flags: int) -> int:
        self.registered.append((pointer, size, flags))
        return self.codes.pop(0)

    def unregister(self, pointer: int) -> int:
        self.unregistered.append(pointer)
        return self.on_unregister


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.pixels"
    path.write_bytes(bytes(range(200)))
    return path


def test_pages_are_registered_read_only_where_that_works(file: Path) -> None:
    runtime = Runtime(0)
    pages = HostPages(file, runtime.register, runtime.unregister)
    ((pointer, size, flags),) = runtime.registered
    assert pages.array is not None
    assert (pointer, size, flags) == (pages.array.ctypes.data, 200, READ_ONLY)
    assert pages.array.tolist() == list(range(200))
    assert not pages.array.flags.writeable
    pages.close()
    pages.close()
    assert runtime.unregistered == [pointer]


def test_pages_are_registered_writable_where_they_must_be(file: Path) -> None:
    runtime = Runtime(801, 0)
    pages = HostPages(file, runtime.register, runtime.unregister)
    assert [flags for _, _, flags in runtime.registered] == [READ_ONLY, WRITABLE]
    assert pages.array is not None
    assert pages.array.flags.writeable
    pages.close()
    assert runtime.unregistered == [runtime.registered[1][0]]


def test_both_refusals_are_told(file: Path) -> None:
    runtime = Runtime(801, 2)
    with pytest.raises(BackendError) as caught:
        HostPages(file, runtime.register, runtime.unregister)
    assert str(caught.value) == (
        f"CUDA cannot read the pages of {file} in place (cudaHostRegister(flags 0xa) gave error 801; "
        "cudaHostRegister(flags 0x2) gave error 2); "
        "raise the locked-memory limit (ulimit -l) or use --option mode=pinned"
    )
    assert runtime.unregistered == []


def test_a_file_that_may_not_be_written_is_a_refusal(file: Path) -> None:
    file.chmod(0o400)
    if os.access(file, os.W_OK):
        pytest.skip("permission bits do not bind this user")
    runtime = Runtime(801)
    with pytest.raises(BackendError, match="error 801; mapping it writable: Permission denied"):
        HostPages(file, runtime.register, runtime.unregister)


def test_pages_that_stay_locked_are_told_once(file: Path) -> None:
    runtime = Runtime(0, on_unregister=713)
    pages = HostPages(file, runtime.register, runtime.unregister)
    with pytest.raises(BackendError, match="cudaHostUnregister gave error 713"):
        pages.close()
    pages.close()


def test_mapped_pages_cannot_be_decoded() -> None:
    with pytest.raises(OptionError) as caught:
        parse_options(GPU_MMAP.Options, {"mode": "mapped", "encoding": "jpeg"}, "gpu_mmap")
    assert str(caught.value) == (
        "loader gpu_mmap: mode=mapped reads pixels in place and cannot decode; use encoding=raw"
    )
    for mode in ("cuda", "pinned"):
        parse_options(GPU_MMAP.Options, {"mode": mode, "encoding": "jpeg"}, "gpu_mmap")


def test_modes_share_a_store() -> None:
    stored = [GPU_MMAP.Options.model_validate({"mode": mode}).stored() for mode in ("cuda", "pinned", "mapped")]
    assert stored == [{"encoding": "raw"}] * 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_why(tmp_path: Path) -> None:
    reason = GPU_MMAP.unavailable(GPU_MMAP.Options())
    built = torch.version.cuda is not None
    assert reason == ("no CUDA device" if built else "this PyTorch is built without CUDA; install a CUDA build")
    with pytest.raises(UnavailableError, match="loader gpu_mmap cannot run here: "):
        GPU_MMAP(tmp_path, "train").open()
