"""Cases of the contract suite, and helpers that break, interrupt or fork a preparation."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from loaders import Batch, Block, DatasetInfo, Format, StoreDataset, StoreInfo, prepare_store
from loaders.testing.samples import INFO, SIZE, SourceKind


class Case(NamedTuple):
    """A format, its options and the kind of source it is prepared from."""

    loader: str  # registered name
    options: Mapping[str, Any] = {}
    source: SourceKind = "raw"
    thorough: bool = False  # also test forks, workers, interruptions and damage, which hardly depend on the options

    def __str__(self) -> str:
        return "-".join([self.loader, self.source, *(f"{k}={v}" for k, v in self.options.items())])

    @property
    def ragged(self) -> bool:
        """Whether the images have many sizes."""
        return self.source.startswith("ragged")


class Prepared(NamedTuple):
    """A store and the samples that it must hold."""

    format: Format[Any]
    location: Path
    samples: dict[str, Any]

    def open(self, split: str = "train") -> StoreDataset:
        """A dataset over the store."""
        return StoreDataset(self.format, self.location, split, size=SIZE)

    def prepare(self, samples: Mapping[str, Any] | None = None, dataset: DatasetInfo = INFO) -> StoreInfo:
        """Prepare it."""
        return prepare_store(self.format, samples or self.samples, self.location, dataset=dataset)


def assert_same(batch: Batch, expected: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Fail with the difference unless a batch equals the expected one in type, shape and every byte."""
    images, labels = batch.images.cpu(), batch.labels.cpu()
    assert images.dtype == torch.uint8, f"images are {images.dtype}, not uint8"
    assert labels.dtype == torch.int64, f"labels are {labels.dtype}, not int64"
    assert images.shape == expected[0].shape, f"images are {tuple(images.shape)}, not {tuple(expected[0].shape)}"
    assert labels.tolist() == expected[1].tolist(), "the labels or their order differ"
    wrong = [i for i, (mine, other) in enumerate(zip(images, expected[0], strict=True)) if not torch.equal(mine, other)]
    assert not wrong, f"the pixels of samples {wrong} of the batch differ"


class Breaking:
    """A split that calls a function after its second block."""

    def __init__(self, samples: Any, act: Callable[[], None]) -> None:
        self._samples, self._act = samples, act
        self.encoding, self.shape = samples.encoding, samples.shape

    def __len__(self) -> int:
        return len(self._samples)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Those of the samples."""
        for number, block in enumerate(self._samples.blocks(start, stop)):
            if number == 2:
                self._act()
            yield block


class Interruption(BaseException):
    """Like KeyboardInterrupt, which pytest handles itself."""


def interrupt() -> None:
    """Raise an `Interruption`."""
    raise Interruption


def die() -> None:
    """Kill this process with SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_fork(work: Callable[[], object]) -> int:
    """Run in a forked child; returns its exit status, 0 if nothing was raised."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def beside(location: Path) -> list[str]:
    """Names that a preparation left next to its store, apart from the lock file."""
    return [p.name for p in location.parent.iterdir() if p.name != location.name and not p.name.endswith(".lock")]
