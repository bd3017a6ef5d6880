"""Whether a store will fit its disk, estimated from a few samples before anything is written."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from loaders.core.errors import LoaderError, StoreError
from loaders.store.intake import StreamedSplit
from loaders.store.samples import Block, Split, StoredBlock
from loaders.store.writer import StoreWriter, folder_bytes

_PLACES = 16
_FEW = 2


class _Probes:
    """A few samples of a split: from all over it, or its first where they are alike and others may be dear to reach."""

    def __init__(self, split: Split) -> None:
        self.encoding: Literal["raw", "jpeg"] = split.encoding
        self.shape = split.shape
        self._split = split
        count, few = len(split), _PLACES * _FEW
        self._parts = [(i * count // _PLACES, i * count // _PLACES + _FEW) for i in range(_PLACES)]
        if count <= few or split.shape is not None:
            self._parts = [(0, min(few, count))]

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self._parts)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:  # noqa: ARG002
        """All of them."""
        for part in self._parts:
            yield from self._split.blocks(*part)


def estimate(splits: Mapping[str, Split], classes: int, kept_bytes: Callable[[StoredBlock], int | None]) -> int | None:
    """About how many bytes a store takes; None where the loader cannot say.

    Args:
        splits: what is to be stored.
        classes: number of classes.
        kept_bytes: of some samples.
    """
    total = 0.0
    for name, split in splits.items():
        probes = StreamedSplit(name, _Probes(split), classes, lambda _: None, "skip")
        seen = kept = 0
        if not len(split):
            continue
        # A bad sample, or too few of them, will be told of when all are taken.
        with contextlib.suppress(LoaderError):
            for block in probes.blocks():
                some = kept_bytes(block)
                if some is None:
                    return None
                seen, kept = seen + len(block.labels), kept + some
        total += kept / max(seen, 1) * len(split)
    return int(total)


def check_space(writer: StoreWriter, needed: int | None) -> None:
    """Refuse before the first sample rather than hours later.

    Raises:
        StoreError: the disk has less room than the store is estimated to need, or that part of it which is left to do.
    """
    if needed is None:
        return
    free = shutil.disk_usage(writer.folder).free
    left = needed - folder_bytes(writer.folder)[1]
    if left > free:
        raise StoreError(
            f"the store {writer.location} will take about {in_words(left)} and its disk has {in_words(free)} free; "
            "free some space, choose another --store-dir, or keep less (--limit, --resize)"
        )


def in_words(count: int) -> str:
    """Bytes in MB or GB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
