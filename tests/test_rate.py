"""Rates count only bytes that were consumed, and a loader is held against the idiom of its own format."""

from __future__ import annotations

import contextlib
import functools
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.config import RateConfig
from bench.records import Record
from bench.run import rates as module
from bench.run.draft import RunFailedError
from bench.run.rate import rate
from bench.run.rates import consume, consume_array, find_idiom
from bench.run.stores import Wanted, silent
from bench.sources.registry import open_source
from loaders import Batch, load, loader_names
from loaders.reading.stream import BatchStream
from tests.samples import INFO, as_splits, make_splits

RUNNABLE = [name for name in loader_names() if load(name).device == "cpu"]


def measure(folder: Path, loader: str, **changes: Any) -> Record:
    config = RateConfig(loader=loader, dataset="digits", limit=50, batch_size=16, repeats=3, device="cpu", **changes)
    found = load(loader)
    lines: list[str] = []
    wanted = Wanted(found, found.Options(), open_source("digits", folder), 50, folder / "stores")
    record = rate(config, wanted, silent, lines.append)
    assert len(lines) == 3
    return record


@given(st.binary(min_size=1, max_size=300))
def test_every_byte_counts(data: bytes) -> None:
    array = np.frombuffer(data, np.uint8)
    total = consume_array(array)
    for position in {0, len(data) // 2, len(data) - 1}:
        changed = array.copy()
        changed[position] ^= 0x5A
        assert consume_array(changed) != total
    words = functools.reduce(operator.xor, np.frombuffer(data[: len(data) // 8 * 8], "<u8").tolist(), 0)
    rest = functools.reduce(operator.xor, data[len(data) // 8 * 8 :], 0)
    assert total == words ^ rest


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (3, 3, 5, 3), (0, 3, 2, 2)])
def test_batches_are_consumed_as_they_lie_in_memory(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    labels = torch.zeros(shape[0], dtype=torch.int64)
    last = images.contiguous(memory_format=torch.channels_last)
    assert consume(Batch(images, labels)) == consume_array(images.numpy())
    assert consume(Batch(last, labels)) == consume_array(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()))
    assert consume(Batch(images[:, :, ::2], labels)) == consume_array(np.ascontiguousarray(images[:, :, ::2].numpy()))


@pytest.mark.parametrize("loader", RUNNABLE)
def test_loader_and_idiom_deliver_the_same_bytes(tmp_path: Path, loader: str) -> None:
    record = measure(tmp_path, loader)  # raises if the two differ
    assert record.rates is not None
    assert record.rates.raw is not None
    assert len(record.rates.loader) == len(record.rates.raw) == 3
    assert min(record.rates.loader + record.rates.raw) > 0
    assert record.rates.idiom == f"bench.idioms.{loader}"
    assert record.epochs == []


@pytest.mark.parametrize("loader", RUNNABLE)
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_the_same_of_jpeg_sources(tmp_path: Path, loader: str, encoding: str) -> None:
    found = load(loader)
    given = {"encoding": encoding} if "encoding" in found.Options.model_fields else {}
    options = found.Options.model_validate(given)
    samples = make_splits("jpeg")
    found.prepare(as_splits(samples), tmp_path / "store", options, dataset=INFO)
    plain = find_idiom(loader)
    assert plain is not None
    batches = [np.array([3, 40, 3]), np.arange(41)]
    with (
        found(tmp_path / "store", "train", options) as dataset,
        BatchStream(dataset) as stream,
        plain[1](dataset, None) as read,
    ):
        module._compare(loader, stream.epoch(batches), read, batches)
        images = np.asarray(read(batches[0])[0])
    expected = samples["train"].images[[3, 40, 3]]
    got = images if images.shape[1:] == expected.shape[1:] else images.transpose(0, 3, 1, 2)
    assert np.array_equal(got, expected)


def test_different_bytes_are_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(dataset: Any, crops: Any) -> Any:
        return contextlib.nullcontext(lambda indices: (np.zeros((len(indices), 3, 32, 32), np.uint8), indices))

    monkeypatch.setattr(module, "find_idiom", lambda loader: (loader, wrong))
    with pytest.raises(RunFailedError, match="gave different samples"):
        measure(tmp_path, "memory")


@pytest.mark.parametrize("how", [{"workers": 1}, {"prefetch": 2}], ids=str)
def test_who_reads_ahead_has_no_idiom(tmp_path: Path, how: dict[str, int]) -> None:
    record = measure(tmp_path, "mmap", **how)
    assert record.rates is not None
    assert (record.rates.raw, record.rates.idiom) == (None, None)


def test_idioms_are_found_by_name() -> None:
    assert all(find_idiom(name) for name in RUNNABLE)
    assert find_idiom("nosuch") is None
    assert find_idiom("not.a-name") is None
