"""The contract, over every format, encoding and option worth having."""

from __future__ import annotations

import pytest

from loaders import load, loader_names
from loaders.testing import Case, FormatContract

CASES = [
    Case("memory", {}, thorough=True),
    Case("memory", {"encoding": "jpeg"}, "jpeg"),
    Case("memory", {"encoding": "jpeg"}, "ragged"),
    Case("memory", {}, "ragged-raw"),
    Case("mmap", {}, thorough=True),
    Case("mmap", {"readahead": "off"}),
    Case("mmap", {"readahead": "off", "encoding": "jpeg"}, "ragged"),
    Case("mmap", {}, "jpeg"),
    Case("mmap", {"encoding": "jpeg", "threads": 1}, "jpeg", thorough=True),
    Case("mmap", {"encoding": "jpeg"}, "ragged", thorough=True),
    Case("mmap", {"threads": "1"}, "ragged"),
    Case("filesystem", {}, thorough=True),
    Case("filesystem", {}, "jpeg", thorough=True),
    Case("filesystem", {"decoder": "pil", "compression": "0", "threads": "3"}),
    Case("filesystem", {"decoder": "pil"}, "jpeg"),
    Case("filesystem", {}, "ragged", thorough=True),
    Case("filesystem", {}, "ragged-raw"),
    Case("hdf5", {}, thorough=True),
    Case("hdf5", {"access": "mapped"}, thorough=True),
    Case("hdf5", {"element": "pixel"}),
    Case("hdf5", {"element": "pixel", "layout": "chunked", "chunk_rows": "4", "compression": "gzip"}),
    Case("hdf5", {"layout": "chunked", "chunk_rows": "16"}),
    Case("hdf5", {"layout": "chunked", "chunk_rows": "7", "compression": "lzf"}),
    Case("hdf5", {"layout": "chunked", "compression": "gzip"}),
    Case("hdf5", {"encoding": "jpeg"}, "jpeg"),
    Case("hdf5", {"encoding": "jpeg", "access": "mapped"}, "jpeg"),
    Case("hdf5", {"encoding": "jpeg"}, "ragged", thorough=True),
    Case("hdf5", {"encoding": "jpeg", "access": "mapped"}, "ragged"),
    Case("hdf5", {}, "ragged-raw"),
    Case("postgres", {}, thorough=True),
    Case("postgres", {"storage": "toast"}),
    Case("postgres", {"transport": "tcp"}),
    Case("postgres", {"encoding": "jpeg"}, "jpeg"),
    Case("postgres", {"encoding": "jpeg"}, "ragged", thorough=True),
    Case("postgres", {}, "ragged-raw"),
    Case("postgres", {"storage": "toast"}, "ragged"),
    Case("lmdb", {}, thorough=True),
    Case("lmdb", {"readahead": "true"}),
    Case("lmdb", {"encoding": "jpeg"}, "jpeg"),
    Case("lmdb", {"encoding": "jpeg"}, "ragged", thorough=True),
    Case("lmdb", {}, "ragged-raw"),
    Case("sqlite", {}, thorough=True),
    Case("sqlite", {"page_size": "16384", "mmap_mb": "0"}),
    Case("sqlite", {"encoding": "jpeg"}, "jpeg"),
    Case("sqlite", {"encoding": "jpeg"}, "ragged", thorough=True),
    Case("sqlite", {}, "ragged-raw"),
]
CUDA_CASES = [
    Case("gpu_mmap", {"mode": "cuda"}, thorough=True),
    Case("gpu_mmap", {"mode": "cuda", "encoding": "jpeg"}, "jpeg"),
    Case("gpu_mmap", {"mode": "pinned"}),
    Case("gpu_mmap", {"mode": "pinned", "encoding": "jpeg"}, "jpeg"),
    Case("gpu_mmap", {"mode": "mapped"}),
    Case("gpu_mmap", {"mode": "cuda", "encoding": "jpeg"}, "ragged", thorough=True),
    Case("gpu_mmap", {"mode": "cuda"}, "ragged-raw"),
    Case("gpu_mmap", {"mode": "pinned", "encoding": "jpeg"}, "ragged"),
    Case("gpu_mmap", {"mode": "pinned"}, "ragged-raw"),
    Case("gpu_mmap", {"mode": "mapped"}, "ragged"),
    Case("gpu_mmap", {"mode": "mapped"}, "ragged-raw"),
]


class TestLoaders(FormatContract):
    """Formats that give batches in RAM."""

    cases = CASES


@pytest.mark.cuda
class TestCudaLoaders(FormatContract):
    """Formats that give batches on a CUDA device."""

    cases = CUDA_CASES


def test_every_loader_is_covered_and_runs_here() -> None:
    """A format whose every test is skipped where it could run would go unnoticed."""
    assert {case.loader for case in CASES + CUDA_CASES} == set(loader_names())
    for case in CASES:
        assert load(case.loader).configured(case.options).unavailable() is None, str(case)
