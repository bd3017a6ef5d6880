"""A store that would not fit is refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from loaders import Block, StoreError, StoreInfo, load, loader_names
from loaders.store.space import estimate
from loaders.testing import CLASSES, INFO, RaggedSamples, Samples, make_splits


class Huge:
    """A trillion samples, of which only those are made that are asked for."""

    def __init__(self, samples: Any) -> None:
        self._samples = samples
        self.encoding: Literal["raw", "jpeg"] = samples.encoding
        self.shape = samples.shape
        self.asked = 0

    def __len__(self) -> int:
        return 10**12

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        assert stop is not None, "the whole split was asked for"
        self.asked += stop - start
        (block,) = self._samples.blocks()
        yield block.part(np.arange(stop - start) % len(block.labels))


SOURCES: dict[str, Callable[[], Any]] = {
    "raw": lambda: Samples(16, (3, 16, 12)),
    "jpeg": lambda: Samples(16, (3, 16, 12), "jpeg"),
    "ragged": lambda: RaggedSamples(16),
    "ragged-raw": lambda: RaggedSamples(16, "raw"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", loader_names())
def test_refused_after_a_few_samples(tmp_path: Path, name: str, source: str) -> None:
    loader = load(name)
    options = loader.Options.model_validate({})
    if reason := loader.unavailable(options):
        pytest.skip(f"{name}: {reason}")
    huge = Huge(SOURCES[source]())
    with pytest.raises(StoreError, match=r"will take about [\d,.]+ GB and its disk has [\d,.]+ [GM]B free; free some"):
        loader.prepare({"train": huge}, tmp_path / "store", options, dataset=INFO)
    assert huge.asked <= 32
    assert {path.name for path in tmp_path.iterdir()} <= {".store.lock"}


@pytest.mark.parametrize("options", [{"encoding": "jpeg"}, {"layout": "chunked", "compression": "gzip"}])
def test_options_count(tmp_path: Path, options: dict[str, Any]) -> None:
    loader = load("hdf5")
    with pytest.raises(StoreError, match="will take about"):
        loader.prepare(
            {"train": Huge(SOURCES["jpeg"]())}, tmp_path / "store", loader.Options.model_validate(options), dataset=INFO
        )


@pytest.mark.parametrize("name", ["mmap", "filesystem", "hdf5", "postgres"])
@pytest.mark.parametrize("kind", ["raw", "ragged"])
def test_the_estimate_is_near(tmp_path: Path, name: str, kind: str) -> None:
    """Of images that are alike; a server's own files come on top."""
    splits: dict[str, Any] = {**make_splits()} if kind == "raw" else {"train": RaggedSamples(300, "raw")}
    loader = load(name)
    options = loader.Options.model_validate({})
    estimated = estimate(splits, CLASSES, lambda block: loader._kept_bytes(block, options))
    info: StoreInfo = loader.prepare(splits, tmp_path / "store", options, dataset=INFO)
    assert estimated is not None
    own = {"mmap": 0, "filesystem": 0, "hdf5": 4096, "postgres": 64 << 20}[name]
    spooled = 2 if name == "hdf5" and kind == "ragged" else 1
    size = info.allocated_bytes if name == "filesystem" else info.bytes
    assert 0.6 * estimated / spooled - own < size < 1.5 * estimated / spooled + own
