"""What could feed the training: formats with their options, and ways to read ahead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import psutil
import torch

import loaders
from bench.sources.base import Source
from loaders import UnavailableError, load, loader_names
from loaders.images.threads import default_threads

MEMORY_SHARE = 0.6  # of the memory that is free now, for a split kept there
MOST_WORKERS = 8


class Way(NamedTuple):
    """How batches are read: in this process, ahead by a thread, or by workers."""

    workers: int = 0
    prefetch: int = 0

    @property
    def given(self) -> dict[str, int]:
        """The settings that are not 0."""
        return {name: value for name, value in self._asdict().items() if value}

    @property
    def words(self) -> str:
        """As options of the command line."""
        return " ".join(f"--{name} {value}" for name, value in self.given.items())


class Candidate(NamedTuple):
    """A loader with options, and the ways of reading it that are worth a try, in this order."""

    loader: str
    options: Mapping[str, Any]
    ways: tuple[Way, ...]

    @property
    def label(self) -> str:
        """Loader and options."""
        return " ".join([self.loader, *(f"{name}={value}" for name, value in self.options.items())])


_WAYS = {"process": Way(), "thread": Way(prefetch=2), "workers": Way(workers=min(default_threads(), MOST_WORKERS))}
BASELINE = "filesystem"  # needs no preparation worth the name: against it the others must pay


def candidates(source: Source, raw_bytes: int, device: torch.device) -> Iterator[Candidate]:
    """What the formats declare and what can run here; ``raw_bytes`` is the size of all decoded images.

    The baseline comes first, then what must fit into some memory: where it fits, it is usually the fastest.
    """
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    holds = {
        None: True,
        "memory": raw_bytes < psutil.virtual_memory().available * MEMORY_SHARE,
        "device": raw_bytes < on_device * MEMORY_SHARE,
        "files": any(split.encoding == "jpeg" for split in source.splits().values()),
    }
    declared: list[tuple[str, loaders.Candidate]] = []
    for name in loader_names():
        with contextlib.suppress(UnavailableError):
            format_ = load(name).configured()
            if (format_.caps.ragged or not source.ragged) and format_.reason_unavailable() is None:
                declared += [(name, each) for each in format_.candidates if holds[each.needs]]
    declared.sort(key=lambda pair: (pair[0] != BASELINE, pair[1].needs not in ("device", "memory")))
    for name, each in declared:
        reads = (*each.reads, *(each.ragged_reads if source.ragged else ()))
        yield Candidate(name, each.options, tuple(_WAYS[read] for read in reads))
