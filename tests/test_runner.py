"""A whole run; and that neither loader nor workers nor read-ahead change a bit of its result."""

from __future__ import annotations

import gc
import hashlib
import itertools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from bench.config import RunConfig
from bench.errors import UsageError
from bench.measure.cache import evict, files_of, residency
from bench.measure.gpu.nvml import GpuSampler
from bench.records import Record
from bench.report.metrics import METRICS
from bench.run.devices import resolve_device
from bench.run.draft import RunFailedError
from bench.run.runner import FILLING, run
from bench.run.stores import StoreSpec, prepare, silent
from bench.sources.registry import open_source
from bench.train.trainer import EpochResult, Trainer
from loaders import epoch_order, load, loader_names

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "limit": 96,
    "epochs": 2,
    "batch_size": 32,
    "device": "cpu",
    "threads": 1,
    "ceiling_steps": 2,
    "rate_batches": 2,
}


def spec_of(folder: Path, loader: str, options: dict[str, Any], dataset: str, limit: int | None) -> StoreSpec:
    kind = load(loader)
    source = open_source(dataset, folder)
    return StoreSpec(kind, kind.Options.model_validate(options), source, limit, folder / "stores")


def do(folder: Path, loader: str, options: dict[str, Any] | None = None, **changes: Any) -> Record:
    config = RunConfig(**{**SMALL, "loader": loader, "options": options or {}, **changes})
    spec = spec_of(folder, loader, options or {}, config.dataset, config.limit)
    return run(config, spec, silent, lambda _: None)


def outcome(record: Record) -> Any:
    """What must be equal to the last bit."""
    assert record.status == "ok", record.error
    epochs = [(e.train_loss, e.test_accuracy, e.test_macro_f1, e.images) for e in record.epochs]
    return epochs, record.digest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def baseline(folder: Path) -> Record:
    return do(folder, "memory")


def test_a_record_holds_the_run(baseline: Record) -> None:
    assert baseline.dataset is not None
    assert (baseline.dataset.train, baseline.dataset.test, baseline.dataset.limit) == (96, 96, 96)
    assert [e.images for e in baseline.epochs] == [96, 96]
    assert baseline.setup is not None
    assert baseline.setup.open_s > 0
    assert baseline.store is not None
    assert baseline.store.path == "digits-limit96/memory"
    assert baseline.store.bytes > 192 * 3072
    assert baseline.resources is not None
    assert baseline.resources.cpu_s["process"] > 0
    for epoch in baseline.epochs:
        parts = epoch.fetch_s + epoch.transfer_s + epoch.compute_s + epoch.other_s
        assert parts <= epoch.wall_s
        assert set(epoch.wait_s) == {"p50", "p95", "p99", "max"}


def test_the_digest_is_of_the_source_s_samples(baseline: Record, folder: Path) -> None:
    from bench.sources.base import LimitedSplit

    split = LimitedSplit(open_source("digits", folder).splits()["train"], 96)
    blocks = list(split.blocks())
    order = epoch_order(96, 0, 0)
    images = np.concatenate([b.images for b in blocks if b.images is not None])[order]
    labels = np.concatenate([b.labels for b in blocks])[order]
    assert baseline.digest is not None
    assert baseline.digest.pixels == hashlib.sha256(images.tobytes()).hexdigest()
    assert baseline.digest.labels == hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()


@pytest.mark.parametrize("loader", [name for name in loader_names() if load(name).caps.device == "cpu"])
def test_every_loader_trains_the_same_and_proves_what_the_cache_held(
    baseline: Record, folder: Path, loader: str
) -> None:
    """Warm in this process, and cold by workers; `baseline` has prepared the store of `memory` alone."""
    prepare(spec_of(folder, loader, {}, "digits", 96))
    evict(files_of(folder / "stores" / "digits-limit96" / loader))
    warm, cold = do(folder, loader), do(folder, loader, cache="cold", workers=2)
    assert outcome(warm) == outcome(cold) == outcome(baseline)
    assert [epoch.open_s for epoch in warm.epochs] == [None, None]
    assert all(epoch.open_s and epoch.first_batch_s for epoch in cold.epochs)
    if residency([]).method == "none":
        pytest.skip("this system does not tell what is in memory")
    for record, state in ((warm, "warm"), (cold, "cold")):
        assert record.cache is not None
        assert record.cache.evidence is not None
        assert (record.cache.state, record.cache.reason) == (state, None)
    assert warm.cache is not None
    assert warm.cache.evidence is not None
    held = warm.cache.evidence.before_epoch
    # The environment of LMDB has pages that no sample needs.
    assert all(share is not None and share > 0.98 for share in held) if loader == "lmdb" else held == [1.0, 1.0]
    assert cold.cache is not None
    assert cold.cache.evidence is not None
    assert len(cold.cache.evidence.after_eviction) == 2


@pytest.mark.parametrize(
    "changes", [{"prefetch": 3, "cache": "as-is"}, {"workers": 1, "prefetch": 3, "start_method": "spawn"}], ids=str
)
def test_ways_of_reading_train_the_same(baseline: Record, folder: Path, changes: dict[str, Any]) -> None:
    assert outcome(do(folder, "mmap", **changes)) == outcome(baseline)


JPEG: dict[str, Any] = {"dataset": "tiny-imagenet", "limit": 64, "epochs": 1, "channels_last": True}


@pytest.fixture(scope="module")
def jpeg_baseline(folder: Path) -> Record:
    open_source("tiny-imagenet", folder).make_twin(0.002, lambda *_: None)
    return do(folder, "memory", **JPEG)


@pytest.mark.parametrize(
    ("loader", "options", "workers"),
    [
        ("filesystem", {"decoder": "pil"}, 2),
        ("mmap", {"encoding": "jpeg"}, 0),
        ("hdf5", {"encoding": "jpeg"}, 0),
        ("postgres", {"encoding": "jpeg"}, 2),
    ],
    ids=str,
)
def test_jpeg_files_train_the_same(
    jpeg_baseline: Record, folder: Path, loader: str, options: dict[str, Any], workers: int
) -> None:
    assert outcome(do(folder, loader, options, workers=workers, **JPEG)) == outcome(jpeg_baseline)


def test_a_run_measures_its_ceiling_and_its_loader(baseline: Record) -> None:
    ceiling, rates = baseline.ceiling, baseline.rates
    assert ceiling is not None
    assert (ceiling.batch_size, ceiling.block_steps) == (32, [1, 1])
    assert ceiling.epoch_s == pytest.approx(sum(ceiling.block_s) / 64 * 96)
    assert rates is not None
    assert len(rates.loader) == 3
    assert rates.raw is not None
    assert len(rates.raw) == 3
    assert rates.idiom == "bench.idioms.memory"


def test_settings_that_do_not_train_change_no_bit_and_stand_in_the_record(folder: Path, baseline: Record) -> None:
    changes: dict[str, Any] = {"ceiling_steps": 0, "rate_batches": 0, "in_flight": 4}
    FILLING.fill_uninitialized_memory = True
    record = do(folder, "memory", **changes)
    assert outcome(record) == outcome(baseline)
    assert (record.ceiling, record.rates) == (None, None)
    assert changes.items() <= record.config.model_dump().items()
    assert torch.are_deterministic_algorithms_enabled()
    assert not FILLING.fill_uninitialized_memory


def test_resources_name_workers_and_a_server_apart(folder: Path) -> None:
    record = do(folder, "postgres", workers=1)
    assert record.resources is not None
    memory, cpu = record.resources.memory, record.resources.cpu_s
    for group in ("process", "workers", "server"):
        assert memory[f"{group}_peak_pss"] > 1_000_000, group
    assert memory["tree_peak_pss"] >= memory["process_peak_pss"]
    assert set(cpu) == {"process", "workers", "server", "ended"}
    assert record.resources.sampling is not None
    assert record.resources.sampling["samples"] >= 4
    for group in cpu:
        assert cpu[group] == pytest.approx(sum((e.cpu_s or {})[group] for e in record.epochs))


def test_what_should_matter_does(baseline: Record, folder: Path) -> None:
    quick: dict[str, Any] = {"ceiling_steps": 0, "rate_batches": 0}
    changes: list[dict[str, Any]] = [{"seed": 1}, {"lr": 0.01}, {"batch_size": 31}, {"label_smoothing": 0.1}]
    found = [outcome(do(folder, "memory", **quick, **change))[0] for change in changes]
    assert len({str(epochs) for epochs in [*found, outcome(baseline)[0]]}) == 5


@pytest.mark.cuda
def test_cuda_loader_modes_train_the_same(folder: Path) -> None:
    records = [do(folder, "gpu_mmap", {"mode": mode}, device="cuda") for mode in ("cuda", "pinned", "mapped")]
    records.append(do(folder, "mmap", device="cuda"))
    assert len({str(outcome(record)) for record in records}) == 1


def test_a_failed_run_leaves_a_record(folder: Path) -> None:
    with pytest.raises(RunFailedError, match="is not in") as caught:
        do(folder, "mmap", dataset="cifar10", limit=None)
    record = caught.value.record
    assert record.status == "failed"
    assert str(folder) in str(caught.value)
    assert record.error == str(caught.value).replace(str(folder / "cifar10"), "DATA/cifar10")
    assert record.epochs == []


def test_a_loader_that_cannot_run_leaves_a_record(folder: Path) -> None:
    loader = load("gpu_mmap")
    reason = loader.configured().unavailable()
    if reason is None:
        pytest.skip("it can run here")
    record = do(folder, "gpu_mmap")
    assert (record.status, record.error) == ("unavailable", reason)


def test_graphs_without_cuda_are_refused_in_one_sentence(folder: Path) -> None:
    sentence = "CUDA graphs are for a CUDA device, not for cpu; take device cuda, or no graphs"
    with pytest.raises(UsageError) as caught:
        do(folder, "memory", cuda_graphs=True)
    assert str(caught.value) == sentence


def test_memory_that_runs_out_is_one_sentence_and_comes_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Any]] = []

    def full(trainer: Trainer, *_: Any, **__: Any) -> None:
        held.append(weakref.ref(trainer.model))
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB"
        )

    monkeypatch.setattr(Trainer, "train_epoch", full)
    with pytest.raises(RunFailedError) as caught:
        do(folder, "memory")
    wanted = "the device ran out of memory (2.00 GiB more were asked for); lower --batch-size or take a smaller --model"
    assert caught.value.record.error == wanted
    assert caught.value.record.status == "failed"
    gc.collect()
    assert held[0]() is None  # although the error is still there


def test_a_short_epoch_s_energy_counts_in_the_run_s(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's meters are renewed about ten times a second, too seldom for a short epoch."""
    counter, train = itertools.count(1000.0, 50.0), Trainer.train_epoch

    def lasting(seconds: float) -> Callable[..., EpochResult]:
        def train_epoch(*arguments: Any, **named: Any) -> EpochResult:
            result = train(*arguments, **named)
            result.host.wall.total = int(seconds * 1e9)
            return result

        return train_epoch

    monkeypatch.setattr(GpuSampler, "energy_j", lambda _: next(counter))
    for seconds, joules, whole in ((0.5, None, None), (1.5, None, 100.0), (2.5, 50.0, 100.0)):
        monkeypatch.setattr(Trainer, "train_epoch", lasting(seconds))
        record = do(folder, "memory", limit=32, ceiling_steps=0, rate_batches=0)
        assert [epoch.energy_j for epoch in record.epochs] == [joules, joules]
        assert record.resources is not None
        assert record.resources.energy_j == whole
        assert METRICS["energy_j_per_epoch"].of(record) == (None if whole is None else 50.0)


def test_memory_that_is_not_proportional_is_flagged(
    folder: Path, baseline: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [flag for flag in baseline.flags if flag.startswith("memory")]
    monkeypatch.setattr(psutil._pslinux.Process, "memory_full_info", psutil._pslinux.Process.memory_info)
    record = do(folder, "memory", limit=32, epochs=1, ceiling_steps=0, rate_batches=0)
    assert [flag for flag in record.flags if flag.startswith("memory is resident, not proportional")]
    assert record.resources is not None
    assert record.resources.sampling is not None
    assert record.resources.sampling["resident"] >= 1


@pytest.mark.cuda
def test_cuda_memory_that_runs_out_is_a_failed_record(folder: Path) -> None:
    """At the network's own weights: further on cuDNN may be the one that finds no memory, and say so in other words."""
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e6 / total)
    try:
        with pytest.raises(RunFailedError, match=r"the device ran out of memory.*; lower --batch-size") as caught:
            do(folder, "mmap", device="cuda", model="densenet121")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert caught.value.record.status == "failed"


@pytest.mark.cuda
@pytest.mark.parametrize(
    "changes", [{}, {"cuda_graphs": True}, {"in_flight": 1}, {"channels_last": True, "amp": True}], ids=str
)
def test_cuda_loaders_train_the_same(folder: Path, changes: dict[str, Any]) -> None:
    """Through the transfer or past it, by workers or read ahead, replayed or not: not one bit differs."""
    records = [
        do(folder, "gpu_mmap", device="cuda", batch_size=40, **changes),
        do(folder, "mmap", device="cuda", batch_size=40, **changes),
        do(folder, "memory", device="cuda", batch_size=40, workers=2, **changes),
        do(folder, "filesystem", device="cuda", batch_size=40, prefetch=3, **changes),
    ]
    assert len({str(outcome(record)) for record in records}) == 1
    for record in records:
        for epoch in record.epochs:
            assert epoch.device_compute_s is not None
            assert epoch.device_idle_s is not None
            assert epoch.device_compute_s + epoch.device_idle_s <= epoch.wall_s


def test_cuda_where_there_is_none() -> None:
    if torch.cuda.is_available():
        assert resolve_device("auto") == "cuda"
        return
    assert resolve_device("auto") == "cpu"
    with pytest.raises(UsageError, match="finds no CUDA device"):
        resolve_device("cuda")
