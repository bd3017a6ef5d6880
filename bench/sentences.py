"""Error messages: one sentence, with the remedy where memory, processes or file descriptors have run out."""

from __future__ import annotations

import errno
import re
import sys

from bench.errors import BenchError

_MEMORY = (
    "the machine's memory ran out, or a limit on it (`ulimit -v`); lower --batch-size, --workers or --prefetch, "
    "or end other programs"
)
_PROCESSES = (
    "no more threads or processes can be started; lower --workers or --threads, end other programs, or raise the limit "
    "(`ulimit -u`)"
)
_DESCRIPTORS = "too many files are open; lower --workers or --prefetch, or raise the limit (`ulimit -n`)"
_BY_NUMBER = {errno.ENOMEM: _MEMORY, errno.EAGAIN: _PROCESSES, errno.EMFILE: _DESCRIPTORS, errno.ENFILE: _DESCRIPTORS}
_BY_WORDS = {
    # As the system, C++, PyTorch's allocator and the dynamic linker say it.
    r"[Cc]an(no|')t allocate memory|bad_alloc|not enough memory|failed to map segment": _MEMORY,
    r"[Cc]an't start new thread": _PROCESSES,
    r"[Tt]oo many open files|set_sharing_strategy": _DESCRIPTORS,
}

# What full memory of a device looks like beside PyTorch's own error: to the driver, to cuBLAS, and to cuDNN, none of
# whose algorithms found workspace.
_FULL = re.compile(r"CUDA error: out of memory|ALLOC_FAILED|unable to find an engine to execute this computation")


def sentence(error: BaseException) -> str:
    """The message for a user: that of an error of our own, or the type and the last line of another."""
    if (known := ran_out(error)) is not None:
        return known
    if is_own(error):
        return str(error)
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[-1].strip()}"  # a worker's error has its traceback before its last line


def is_own(error: BaseException) -> bool:
    """Whether the error is written for a user."""
    # Without their package it is none of theirs; to import it takes PyTorch, and memory that may just have run out.
    errors = sys.modules.get("loaders.core.errors")
    return isinstance(error, BenchError) or (errors is not None and isinstance(error, errors.LoaderError))


def ran_out(error: BaseException) -> str | None:
    """The sentence for what has run out, according to the error, or to the cause of an error of our own."""
    if is_own(error):
        cause = error.__cause__
        # A lock that another process holds is an error of the same number as a refused process.
        known = isinstance(cause, OSError | MemoryError) and not isinstance(cause, BlockingIOError)
        return ran_out(cause) if cause is not None and known else None
    if type(error).__name__ == "OutOfMemoryError" or (isinstance(error, RuntimeError) and _FULL.search(str(error))):
        tried = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", str(error))
        what = f" ({tried[1]} more were asked for)" if tried else ""
        return f"the device ran out of memory{what}; lower --batch-size or take a smaller --model"
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError) and error.errno in _BY_NUMBER:
        return _BY_NUMBER[error.errno]
    return next((said for words, said in _BY_WORDS.items() if re.search(words, str(error))), None)
