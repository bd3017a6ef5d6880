"""Rates count only bytes that were consumed, and a loader is compared with the idiom of its own format."""

from __future__ import annotations

import contextlib
import functools
import operator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.config import RateConfig
from bench.idioms import BUILT_IN
from bench.records import Record
from bench.run import rates as module
from bench.run.draft import RunFailedError
from bench.run.rates import consume, find_idiom
from bench.run.runner import rate
from bench.run.stores import StoreSpec, silent
from bench.sources.registry import open_source
from loaders import Batch, BatchStream, load, loader_names
from loaders.testing import INFO, make_splits
from tests.stores import open_store, store_samples

RUNNABLE = [name for name in loader_names() if load(name).caps.device == "cpu"]


def measure(folder: Path, loader: str, **changes: Any) -> Record:
    config = RateConfig(loader=loader, dataset="digits", limit=50, batch_size=16, repeats=3, device="cpu", **changes)
    found = load(loader)
    lines: list[str] = []
    spec = StoreSpec(found, found.Options(), open_source("digits", folder), 50, folder / "stores")
    record = rate(config, spec, silent, lines.append)
    assert len(lines) == 3
    return record


@given(st.binary(min_size=1, max_size=300))
def test_every_byte_counts(data: bytes) -> None:
    array = np.frombuffer(data, np.uint8)
    total = consume((torch.from_numpy(array.copy()), None))
    for position in {0, len(data) // 2, len(data) - 1}:
        changed = array.copy()
        changed[position] ^= 0x5A
        assert consume((torch.from_numpy(changed), None)) != total
    words = functools.reduce(operator.xor, np.frombuffer(data[: len(data) // 8 * 8], "<u8").tolist(), 0)
    rest = functools.reduce(operator.xor, data[len(data) // 8 * 8 :], 0)
    assert total == words ^ rest


def test_batches_are_consumed_as_they_lie_in_memory_without_a_copy() -> None:
    for shape in ((2, 3, 4, 4), (3, 3, 5, 3), (1, 3, 2, 2), (0, 3, 2, 2)):
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        labels = torch.zeros(shape[0], dtype=torch.int64)
        last = images.contiguous(memory_format=torch.channels_last)
        in_memory = images.permute(0, 2, 3, 1).contiguous()
        assert consume(Batch(last, labels)) == consume((in_memory, None)), shape
        assert consume(Batch(images[:, :, ::2], labels)) == consume((images[:, :, ::2].contiguous(), None)), shape
        for given_ in (images, last):
            assert module._as_in_memory(given_).data_ptr() == given_.data_ptr(), shape
            assert module._as_in_memory(given_).is_contiguous(), shape


@pytest.mark.parametrize("loader", RUNNABLE)
def test_loader_and_idiom_deliver_the_same_bytes(tmp_path: Path, loader: str) -> None:
    record = measure(tmp_path, loader)  # raises if the two differ
    assert record.rates is not None
    assert record.rates.raw is not None
    assert len(record.rates.loader) == len(record.rates.raw) == 3
    assert min(record.rates.loader + record.rates.raw) > 0
    assert record.rates.idiom == f"bench.idioms.{loader}"
    assert record.epochs == []
    assert {name: version(name) for name in load(loader).packages}.items() <= record.environment["packages"].items()


@pytest.mark.parametrize("loader", RUNNABLE)
def test_the_same_of_jpeg_files(tmp_path: Path, loader: str) -> None:
    found = load(loader)
    options = found.Options.model_validate({"encoding": "jpeg"} if "encoding" in found.Options.model_fields else {})
    samples = make_splits("jpeg")
    store_samples(found, samples, tmp_path / "store", options, dataset=INFO)
    batches = [np.array([3, 40, 3]), np.arange(41)]
    with open_store(found, tmp_path / "store", "train", options) as dataset, BatchStream(dataset) as stream:
        plain = find_idiom(dataset)
        assert plain is not None
        with plain[1](dataset, None) as read:
            module._warm_up(loader, batches, stream.epoch, read)
            images = np.asarray(read(batches[0])[0])
    assert np.array_equal(images.transpose(0, 3, 1, 2), samples["train"].images[[3, 40, 3]])


def test_different_bytes_are_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(dataset: Any, crops: Any) -> Any:
        return contextlib.nullcontext(lambda indices: (np.zeros((len(indices), 3, 32, 32), np.uint8), indices))

    monkeypatch.setattr(module, "find_idiom", lambda _: ("its", wrong))
    with pytest.raises(RunFailedError, match="gave different samples"):
        measure(tmp_path, "memory")


def test_a_stream_that_reads_ahead_has_no_idiom(tmp_path: Path) -> None:
    for how in ({"workers": 1}, {"prefetch": 2}):
        record = measure(tmp_path, "mmap", **how)
        assert record.rates is not None
        assert (record.rates.raw, record.rates.idiom) == (None, None), how


def test_every_format_has_an_idiom_and_a_plug_in_may_bring_its_own() -> None:
    def fetch(dataset: Any, crops: Any) -> Any:
        raise NotImplementedError

    for name in BUILT_IN:
        found = find_idiom(SimpleNamespace(name=name, format=load(name).configured()))  # type: ignore[arg-type]
        assert found is not None, name
        assert found[0] == f"bench.idioms.{name}"
    assert set(RUNNABLE) <= set(BUILT_IN)
    assert find_idiom(SimpleNamespace(name="nosuch", format=load("mmap").configured())) is None  # type: ignore[arg-type]
    plug_in = type("PlugIn", (), {"idiom": fetch})
    own = find_idiom(SimpleNamespace(name="mine", format=plug_in()))  # type: ignore[arg-type]
    assert own == (f"{__name__}.{fetch.__qualname__}", fetch)
