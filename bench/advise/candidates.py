"""What could feed the training: formats with their options, and ways to read ahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import psutil
import torch

from bench.sources.base import Source
from loaders import UnavailableError, load
from loaders.images.threads import default_threads

MEMORY_SHARE = 0.6
"""Share of the memory that is free now which a split kept in memory may take."""
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
    """A loader with options, and the ways of reading it that are worth a try."""

    loader: str
    options: Mapping[str, Any]
    ways: tuple[Way, ...]
    """In the order in which they are tried."""
    ragged_ways: tuple[Way, ...] = ()
    """Further ones for images of many sizes, which are cropped."""
    needs: Literal["ram", "device", "files"] | None = None
    """All decoded images fit into the RAM or onto the device, or the source has JPEG files; or nothing."""

    @property
    def label(self) -> str:
        """Loader and options."""
        return " ".join([self.loader, *(f"{name}={value}" for name, value in self.options.items())])


_ALONE, _AHEAD, _WORKERS = Way(), Way(prefetch=2), Way(workers=min(default_threads(), MOST_WORKERS))
_DECODING, _PLAIN = (_ALONE, _AHEAD, _WORKERS), (_ALONE, _AHEAD)
_JPEG = {"encoding": "jpeg"}

BASELINE = "filesystem"
"""Needs no preparation worth the name: against it the others must pay."""
CANDIDATES = (  # the baseline first, then what usually matters most
    Candidate(BASELINE, {}, _DECODING),
    Candidate("gpu_mmap", {}, (_ALONE,), needs="device"),
    Candidate("mmap", {}, _PLAIN, ragged_ways=(_WORKERS,)),
    Candidate("mmap", _JPEG, _DECODING, needs="files"),
    Candidate("memory", {}, _PLAIN, needs="ram"),
    Candidate("hdf5", {}, _PLAIN),
    Candidate("hdf5", _JPEG, (_ALONE,), needs="files"),
    Candidate("postgres", {}, (_ALONE,)),
)


def candidates(source: Source, raw_bytes: int, device: torch.device) -> Iterator[Candidate]:
    """All that can run here, the baseline first; ``raw_bytes`` is the size of all decoded images."""
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    holds = {
        None: True,
        "ram": raw_bytes < psutil.virtual_memory().available * MEMORY_SHARE,
        "device": raw_bytes < on_device * MEMORY_SHARE,
        "files": any(split.encoding == "jpeg" for split in source.splits().values()),
    }
    for candidate in CANDIDATES:
        if holds[candidate.needs] and _is_available(candidate.loader):
            yield candidate._replace(ways=candidate.ways + candidate.ragged_ways * source.ragged)


def _is_available(name: str) -> bool:
    try:
        loader = load(name)
    except UnavailableError:
        return False
    return loader.reason_unavailable(loader.Options()) is None
