"""The contract, over every loader, encoding and option worth having."""

from __future__ import annotations

import pytest

from loaders import load, loader_names
from tests.loader_contract import Case, LoaderContract

CASES = [
    Case("memory", {}, thorough=True),
    Case("memory", {"encoding": "raw"}, "jpeg"),
    Case("memory", {"encoding": "jpeg"}, "jpeg", thorough=True),
    Case("mmap", {}, thorough=True),
    Case("mmap", {"readahead": "off"}),
    Case("mmap", {"readahead": "off", "encoding": "jpeg"}, "ragged"),
    Case("mmap", {"encoding": "raw"}, "jpeg"),
    Case("mmap", {"encoding": "jpeg", "threads": 1}, "jpeg", thorough=True),
    Case("filesystem", {}, thorough=True),
    Case("filesystem", {}, "jpeg", thorough=True),
    Case("filesystem", {"decoder": "pil", "compression": "0", "threads": "3"}),
    Case("filesystem", {"decoder": "pil"}, "jpeg"),
    # A half-written HDF5 file is not readable: what goes straight into one begins anew.
    Case("hdf5", {}, thorough=True, goes_on=False),
    Case("hdf5", {"access": "mapped"}, thorough=True, goes_on=False),
    Case("hdf5", {"element": "pixel"}, goes_on=False),
    Case("hdf5", {"element": "pixel", "layout": "chunked", "chunk_rows": "4", "compression": "gzip"}, goes_on=False),
    Case("hdf5", {"layout": "chunked", "chunk_rows": "1"}, goes_on=False),
    Case("hdf5", {"layout": "chunked", "chunk_rows": "16"}, goes_on=False),
    Case("hdf5", {"layout": "chunked", "chunk_rows": "7", "compression": "lzf"}, goes_on=False),
    Case("hdf5", {"layout": "chunked", "compression": "gzip"}, goes_on=False),
    Case("hdf5", {}, "jpeg", goes_on=False),
    Case("hdf5", {"encoding": "jpeg"}, "jpeg", thorough=True),
    Case("hdf5", {"encoding": "jpeg", "access": "mapped"}, "jpeg"),
    Case("postgres", {}, thorough=True),
    Case("postgres", {"storage": "toast"}),
    Case("postgres", {"transport": "tcp"}),
    Case("postgres", {}, "jpeg"),
    Case("postgres", {"encoding": "jpeg"}, "jpeg", thorough=True),
    Case("memory", {"encoding": "jpeg"}, "ragged"),
    Case("memory", {}, "ragged-raw"),
    Case("mmap", {"encoding": "jpeg"}, "ragged", thorough=True),
    Case("mmap", {"threads": "1"}, "ragged"),
    Case("mmap", {}, "ragged-raw"),
    Case("filesystem", {}, "ragged", thorough=True),
    Case("filesystem", {}, "ragged-raw"),
    Case("hdf5", {"encoding": "jpeg"}, "ragged", thorough=True),
    Case("hdf5", {"encoding": "jpeg", "access": "mapped"}, "ragged"),
    Case("hdf5", {}, "ragged-raw"),
    Case("hdf5", {"access": "mapped"}, "ragged"),
    Case("postgres", {"encoding": "jpeg"}, "ragged", thorough=True),
    Case("postgres", {}, "ragged-raw"),
    Case("postgres", {"storage": "toast"}, "ragged"),
]
CUDA_CASES = [
    Case("gpu_mmap", {"mode": "cuda"}),
    Case("gpu_mmap", {"mode": "cuda", "encoding": "jpeg"}, "jpeg"),
    Case("gpu_mmap", {"mode": "pinned"}),
    Case("gpu_mmap", {"mode": "pinned", "encoding": "jpeg"}, "jpeg"),
    Case("gpu_mmap", {"mode": "mapped"}),
    Case("gpu_mmap", {"mode": "cuda", "encoding": "jpeg"}, "ragged"),
    Case("gpu_mmap", {"mode": "cuda"}, "ragged-raw"),
    Case("gpu_mmap", {"mode": "pinned", "encoding": "jpeg"}, "ragged"),
    Case("gpu_mmap", {"mode": "pinned"}, "ragged-raw"),
    Case("gpu_mmap", {"mode": "mapped"}, "ragged"),
    Case("gpu_mmap", {"mode": "mapped"}, "ragged-raw"),
]


class TestLoaders(LoaderContract):
    """Loaders that give batches in RAM."""

    @pytest.fixture(params=CASES, ids=str)
    def case(self, request: pytest.FixtureRequest) -> Case:
        found: Case = request.param
        return found


@pytest.mark.cuda
class TestCudaLoaders(LoaderContract):
    """Loaders that give batches on a CUDA device."""

    @pytest.fixture(params=CUDA_CASES, ids=str)
    def case(self, request: pytest.FixtureRequest) -> Case:
        found: Case = request.param
        return found


def test_every_loader_is_covered_and_runs_here() -> None:
    """A loader whose every test is skipped where it could run would go unnoticed."""
    covered = {case.loader for case in CASES + CUDA_CASES}
    assert covered == set(loader_names())
    for case in CASES:
        loader = load(case.loader)
        assert loader.unavailable(loader.Options.model_validate(case.options)) is None, str(case)
