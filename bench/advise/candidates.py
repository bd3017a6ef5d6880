"""What could feed the training: formats with their options, and ways to read ahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import psutil
import torch

from bench.sources.base import Source
from loaders import UnavailableError, load, loader_names
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


class Declared(NamedTuple):
    """What a format declares to be worth a try."""

    options: Mapping[str, Any]
    needs: Literal["ram", "device", "files"] | None
    """All decoded images fit into the RAM or onto the device, or the source has JPEG files; or nothing."""
    ways: tuple[Way, ...]
    """Of reading, in the order in which they are tried."""
    ragged_ways: tuple[Way, ...] = ()
    """Further ones for images of many sizes, which are cropped."""


_ALONE, _AHEAD, _WORKERS = Way(), Way(prefetch=2), Way(workers=min(default_threads(), MOST_WORKERS))
_DECODING = (_ALONE, _AHEAD, _WORKERS)
_PLAIN = (_ALONE, _AHEAD)
_JPEG = {"encoding": "jpeg"}

BASELINE = "filesystem"
"""Needs no preparation worth the name: against it the others must pay."""
DECLARED: dict[str, tuple[Declared, ...]] = {  # the baseline first, then what usually matters most
    BASELINE: (Declared({}, None, _DECODING),),
    "gpu_mmap": (Declared({}, "device", (_ALONE,)),),
    "mmap": (Declared({}, None, _PLAIN, (_WORKERS,)), Declared(_JPEG, "files", _DECODING)),
    "memory": (Declared({}, "ram", _PLAIN),),
    "hdf5": (Declared({}, None, _PLAIN), Declared(_JPEG, "files", (_ALONE,))),
    "postgres": (Declared({}, None, (_ALONE,)),),
}


class Candidate(NamedTuple):
    """A loader with options, and the ways of reading it that are to be tried."""

    loader: str
    options: Mapping[str, Any]
    ways: tuple[Way, ...]

    @property
    def label(self) -> str:
        """Loader and options."""
        return " ".join([self.loader, *(f"{name}={value}" for name, value in self.options.items())])


def candidates(source: Source, raw_bytes: int, device: torch.device) -> Iterator[Candidate]:
    """All that can run here, the baseline first; ``raw_bytes`` is the size of all decoded images."""
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    holds = {
        None: True,
        "ram": raw_bytes < psutil.virtual_memory().available * MEMORY_SHARE,
        "device": raw_bytes < on_device * MEMORY_SHARE,
        "files": any(split.encoding == "jpeg" for split in source.splits().values()),
    }
    for name in sorted(loader_names(), key=lambda name: [*DECLARED, name].index(name)):
        for declared in DECLARED.get(name, ()):
            if holds[declared.needs] and _is_available(name):
                yield Candidate(name, declared.options, declared.ways + declared.ragged_ways * source.ragged)


def _is_available(name: str) -> bool:
    try:
        loader = load(name)
    except UnavailableError:
        return False
    return loader.reason_unavailable(loader.Options()) is None
