"""Memory, processes and descriptors that run out are a sentence each, with what helps."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.sentences import ran_out, sentence
from loaders.core.errors import DecodeError, StoreError

DEVICE = "the device ran out of memory"
MEMORY, PROCESSES, FILES = "the machine's memory ran out", "no more threads or processes", "too many files are open"


def caught(work: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as error:
        work()
    return error.value


def test_memory_that_is_refused() -> None:
    for work in (
        lambda: np.zeros(2**60, "u1"),
        lambda: torch.zeros(2**60, dtype=torch.uint8),
        lambda: bytearray(2**62),
    ):
        assert sentence(caught(work)).startswith(MEMORY)


def test_descriptors_that_have_run_out(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))  # noqa: PTH208
    opened: list[int] = []

    def work() -> None:
        while True:
            opened.append(os.open(tmp_path, os.O_RDONLY))

    try:
        error = caught(work)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in opened:
            os.close(descriptor)
    assert sentence(error) == "too many files are open; lower --workers or --prefetch, or raise the limit (`ulimit -n`)"


ERRORS: list[tuple[Exception, str]] = [
    (MemoryError(), MEMORY),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
    (RuntimeError("std::bad_alloc"), MEMORY),
    (ImportError("libx.so: failed to map segment from shared object"), MEMORY),
    (RuntimeError("can't start new thread"), PROCESSES),
    (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), PROCESSES),
    (OSError(errno.ENFILE, "Too many open files in system"), FILES),
    (RuntimeError("… by calling `torch.multiprocessing.set_sharing_strategy('file_system')` at the …"), FILES),
    (RuntimeError("unable to open shared memory object </torch_1>: Too many open files (24)"), FILES),
    (MemoryError("Caught MemoryError in DataLoader worker process 0.\nTraceback …"), MEMORY),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), f"{DEVICE} (2.00"),
    (RuntimeError("CUDA error: out of memory"), f"{DEVICE}; lower --batch-size or take a smaller --model"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), DEVICE),
    (RuntimeError("GET was unable to find an engine to execute this computation"), DEVICE),
    (RuntimeError("CUDA error: an illegal memory access"), "RuntimeError: CUDA error: an illegal memory access"),
]


def test_what_has_run_out() -> None:
    for error, begins in ERRORS:
        assert sentence(error).startswith(begins), error


def test_an_error_of_our_own_that_came_from_it_is_about_it() -> None:
    wrapped = StoreError("x cannot be opened; prepare it again")
    wrapped.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert sentence(wrapped).startswith(FILES)
    wrapped.__cause__ = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")  # a lock that is held
    assert sentence(wrapped) == str(wrapped)


def test_others_of_our_own_say_it_themselves_and_any_other_is_named_with_its_last_line() -> None:
    for error in (BenchError("a sentence"), DecodeError("too many open files are in a.png")):
        assert (sentence(error), ran_out(error)) == (str(error), None)
    assert sentence(KeyError("x")) == "KeyError: 'x'"
    assert sentence(ValueError("Traceback …\n\nValueError: no\n")) == "ValueError: ValueError: no"


@pytest.mark.parametrize(
    ("limit", "begins"),
    [("-v 1500000", MEMORY), ("-n 12", FILES)],
    ids=["memory", "descriptors"],
)
def test_a_program_with_too_little_says_so(limit: str, begins: str, tmp_path: Path) -> None:
    short = "--limit 64 --threads 1 --ceiling-steps 0 --rate-batches 0 --device cpu --workers 2"
    line = f"ulimit {limit}; '{sys.executable}' -m bench run mmap digits {short} --data-dir '{tmp_path}'"
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("prepare ")]
    assert (done.returncode, len(said), said[-1].startswith(f"bench: {begins}")) == (1, 1, True), done.stderr
