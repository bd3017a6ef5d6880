"""A store that will not fit its disk is refused after its first samples rather than at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from loaders import Block, StoreError, load
from loaders.store import space
from loaders.testing import INFO, Samples, make_splits
from tests.stores import store_samples


class Huge:
    """576 GB of samples, all alike."""

    encoding: Literal["raw", "jpeg"] = "raw"
    shape = (3, 16, 12)

    def __init__(self) -> None:
        self.taken = 0

    def __len__(self) -> int:
        return 10**9

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        (block,) = Samples(16, self.shape).blocks()
        while True:
            self.taken += 16
            yield block.part(np.arange(16))


@pytest.mark.parametrize("name", ["mmap", "filesystem", "hdf5", "postgres", "lmdb", "sqlite"])
def test_refused_after_the_first_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(space, "PROBE", 1 << 20)
    huge = Huge()
    with pytest.raises(StoreError, match=r"will need about [\d,.]+ GB more and its disk has [\d,.]+ [GM]B free; free"):
        store_samples(load(name), {"train": huge}, tmp_path / "store")
    assert huge.taken < 2 * (1 << 20) / 576
    assert {path.name for path in tmp_path.iterdir()} <= {".store.lock"}


def test_a_store_that_fits_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "PROBE", 1)
    assert store_samples(load("mmap"), make_splits(), tmp_path / "store", dataset=INFO).samples == 54
