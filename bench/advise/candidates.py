"""What could feed the training: formats, encodings, and ways to read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import psutil
import torch

from bench.sources.base import Source
from loaders import load
from loaders.images.threads import default_threads

RAM_SHARE = 0.6
"""Share of the memory that is free now which a split kept in memory may take."""
MOST_WORKERS = 8


class Way(NamedTuple):
    """How batches are read: in this process, ahead by a thread, or by workers."""

    workers: int = 0
    prefetch: int = 0

    @property
    def words(self) -> str:
        """As options of the command line."""
        parts = [f"--workers {self.workers}"] * bool(self.workers) + [f"--prefetch {self.prefetch}"] * bool(
            self.prefetch
        )
        return " ".join(parts)


class Candidate(NamedTuple):
    """A format, with the ways of reading it that are worth a try.

    Attributes:
        loader: its name.
        options: of the loader.
        ways: in the order in which they are tried.
    """

    loader: str
    options: dict[str, Any]
    ways: tuple[Way, ...]

    @property
    def label(self) -> str:
        """Loader and options."""
        return " ".join([self.loader, *(f"{name}={value}" for name, value in self.options.items())])


def candidates(source: Source, raw_bytes: int, device: torch.device) -> Iterator[Candidate]:
    """All that can run here, the baseline first, then what usually matters most.

    Args:
        source: the data.
        raw_bytes: of all decoded images.
        device: that trains.
    """
    workers = Way(min(default_threads(), MOST_WORKERS))
    decoding = (Way(), Way(prefetch=2), workers)
    plain = (Way(), Way(prefetch=2))
    has_files = any(split.encoding == "jpeg" for split in source.splits().values())
    yield Candidate("filesystem", {}, decoding)
    if device.type == "cuda" and raw_bytes < torch.cuda.mem_get_info(device)[0] * RAM_SHARE:
        yield Candidate("gpu_mmap", {}, (Way(),))
    yield Candidate("mmap", {}, (*plain, workers) if source.ragged else plain)
    if has_files:
        yield Candidate("mmap", {"encoding": "jpeg"}, decoding)
    if raw_bytes < psutil.virtual_memory().available * RAM_SHARE:
        yield Candidate("memory", {}, plain)
    yield Candidate("hdf5", {}, plain)
    if has_files:
        yield Candidate("hdf5", {"encoding": "jpeg"}, (Way(),))
    postgres = load("postgres")
    if postgres.reason_unavailable(postgres.Options()) is None:
        yield Candidate("postgres", {}, (Way(),))
