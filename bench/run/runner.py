"""Wires one run: store, batches, network and measurements in, record out."""

from __future__ import annotations

import datetime
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.config import RunConfig, Settings
from bench.errors import BenchError, UsageError
from bench.measure.cache import CacheWatch
from bench.measure.clocks import stopwatch_cost
from bench.measure.environment import environment
from bench.measure.gpu.nvml import GpuSampler
from bench.measure.processes import INTERVAL, MemorySampler, peak_memory, reset_peak_memory
from bench.records import (
    DatasetPart,
    EpochPart,
    LoaderPart,
    RatesPart,
    Record,
    ResourcesPart,
    SetupPart,
    StorePart,
)
from bench.run import rates
from bench.run.delivered import check_samples
from bench.run.epochs import Ceiling, Epochs
from bench.run.reading import Reading
from bench.run.stores import Progress, Wanted, prepare
from bench.sentences import sentence
from bench.train.augment import Transform
from bench.train.batching import cut, epoch_order
from bench.train.models import build_model
from bench.train.trainer import Trainer
from loaders import DatasetInfo, Indices, OptionError, SplitInfo, StoreDataset, StoreInfo, UnavailableError

RATE_REPEATS = 3
RESIDENT = "memory is resident, not proportional, which this kernel does not tell: shared pages count in each process"
Say = Callable[[str], None]
FILLING: Any = torch.utils.deterministic
"""The module with PyTorch's setting for uninitialised memory, which PyTorch's stubs do not know."""


class RunFailedError(BenchError):
    """A run that ended early; the record says why and holds what had been measured."""

    def __init__(self, record: Record, text: str) -> None:
        """Args: text is the error in full; the record may be published and hides folders and hosts."""
        super().__init__(text)
        self.record = record


class Draft:
    """A record in the making: what is known so far, so that a failed run leaves what it has."""

    def __init__(self, config: Settings, wanted: Wanted, device: torch.device) -> None:
        self.fields: dict[str, Any] = {
            "run_id": config.run_id,
            "config": config,
            "loader": LoaderPart(name=config.loader, options=wanted.options.public()),
            "environment": environment(device, wanted.store_dir),
            "started_at": _now(),
            "epochs": [],
            "flags": [],
            **dict.fromkeys(("error", "dataset", "store", "cache", "setup", "ceiling", "rates", "resources", "digest")),
        }

    def describe(
        self, dataset: DatasetInfo, counts: Mapping[str, int], shape: tuple[int, int, int] | None, skipped: int = 0
    ) -> None:
        """Note which images the run is about."""
        self.fields["dataset"] = DatasetPart(
            name=dataset.name,
            official=dataset.official,
            synthetic=dataset.synthetic,
            limit=dataset.limit,
            classes=len(dataset.classes),
            train=counts["train"],
            test=counts["test"],
            shape=shape,
            fingerprint=dataset.fingerprint,
            resize=dataset.resize,
            skipped=skipped,
        )

    def store(self, wanted: Wanted, info: StoreInfo) -> None:
        """Note dataset and store."""
        counts = {name: split.count for name, split in info.splits.items()}
        skipped = sum(len(split.skipped) for split in info.splits.values())
        self.describe(info.dataset, counts, info.splits["train"].shape, skipped)
        self.fields["store"] = StorePart(
            path=wanted.relative,
            bytes=info.bytes,
            allocated_bytes=info.allocated_bytes,
            bytes_per_image=info.bytes / max(info.samples, 1),
            prepare_s=info.prepare_s,
            attempts=info.attempts,
        )

    def way(self, dataset: StoreDataset) -> None:
        """Note which way the loader took to its data, where it has several."""
        self.fields["loader"] = self.fields["loader"].model_copy(update={"way": dataset.reader.way})

    def finish(self, status: str, error: str | None = None) -> Record:
        """The record as it stands."""
        return Record(**{**self.fields, "status": status, "error": error, "finished_at": _now()})


def resolve_device(name: str) -> torch.device:
    """``auto`` takes CUDA where there is some.

    Raises:
        UsageError: CUDA asked for where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch finds no CUDA device here; use --device cpu, or see `bench doctor`")
    return torch.device(name)


def fix_arithmetic(config: Settings) -> None:
    """Fix what decides the last bit of a loss: PyTorch's threads and algorithms, on CUDA the workspace of products.

    The latter is read when CUDA starts; PyTorch's deterministic algorithms insist on it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if config.threads:
        torch.set_num_threads(config.threads)
    if isinstance(config, RunConfig):
        torch.use_deterministic_algorithms(config.deterministic)
        torch.backends.cudnn.benchmark = not config.deterministic
        # Else every `empty` would be filled, batches among them, which costs time and decides no bit.
        FILLING.fill_uninitialized_memory = False


def run(config: RunConfig, wanted: Wanted, progress: Progress, say: Say) -> Record:
    """Do one run.

    Args:
        config: what to do, with the device resolved.
        wanted: the loader and the dataset.
        progress: told of a preparation.
        say: takes one line per epoch.

    Returns:
        The record of a run that succeeded, or of a loader that is unavailable here.

    Raises:
        UsageError, OptionError: options that do not fit the dataset; there is nothing to record.
        RunFailedError: anything else; it carries the record.
    """
    device = torch.device(config.device)
    fix_arithmetic(config)
    draft = Draft(config, wanted, device)
    return complete(draft, wanted, lambda: _train(config, wanted, progress, say, device, draft))


def complete(draft: Draft, wanted: Wanted, work: Callable[[], None]) -> Record:
    """Do the work that fills a draft, if the loader is available, and give the record.

    Raises:
        UsageError, OptionError: options that do not fit the dataset; there is nothing to record.
        RunFailedError: anything else; it carries the record.
    """
    try:
        if reason := wanted.format.reason_unavailable():
            if not wanted.source.missing():
                splits = wanted.splits()
                counts = {name: len(split) for name, split in splits.items()}
                draft.describe(wanted.dataset_info(), counts, splits["train"].shape)
            return draft.finish("unavailable", reason)
        _check_fit(draft.fields["config"], wanted)
        work()
    except UnavailableError as error:
        return draft.finish("unavailable", publishable(str(error), wanted))
    except (UsageError, OptionError):
        raise
    except Exception as error:
        text = sentence(error)
        # Its frames hold the network and batches, on the device too; what it says stays.
        traceback.clear_frames(error.__traceback__)
        raise RunFailedError(draft.finish("failed", publishable(text, wanted)), text) from error
    return draft.finish("ok")


def shape_of(config: Settings, split: SplitInfo) -> tuple[int, int, int]:
    """``(C, H, W)`` of the images as the network gets them."""
    if split.shape is not None:
        return split.shape
    assert config.image_size is not None  # `Wanted.image_size` gives one
    return 3, config.image_size, config.image_size


def _check_fit(config: Settings, wanted: Wanted) -> None:
    """Refuse settings that the loader cannot serve, before anything is prepared."""
    loader = wanted.loader
    if isinstance(config, RunConfig) and config.cuda_graphs and config.device != "cuda":
        raise UsageError("--cuda-graphs replays steps on a CUDA device; use --device cuda or leave it out")
    if loader.caps.device == "cuda" and config.device != "cuda":
        raise UsageError(f"loader {loader.name} gives batches on a CUDA device; use --device cuda")
    if loader.caps.max_workers is not None and config.workers > loader.caps.max_workers:
        raise UsageError(f"loader {loader.name} takes at most {loader.caps.max_workers} workers; lower --workers")


def publishable(text: str, wanted: Wanted) -> str:
    """An error as a record may show it: no folder of this machine, and nothing that options keep to themselves."""
    hidden = {str(wanted.store_dir): "STORES", str(wanted.source.folder): f"DATA/{wanted.source.name}"}
    hidden |= {str(Path.cwd()): ".", str(Path.home()): "~"}
    hidden |= dict.fromkeys(wanted.options.private(), "…")
    for secret in sorted(hidden, key=len, reverse=True):
        if len(secret) > 1:
            text = text.replace(secret, hidden[secret])
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # names may have bytes that are no text


def _train(config: RunConfig, wanted: Wanted, progress: Progress, say: Say, device: torch.device, draft: Draft) -> None:
    info, _ = prepare(wanted, progress)
    draft.store(wanted, info)
    split, classes = info.splits["train"], len(info.dataset.classes)
    shape = shape_of(config, split)

    first = cut(epoch_order(split.count, config.seed, 0), config.batch_size)
    transform = Transform(
        split.mean, split.std, device=device, channels_last=config.channels_last, shift=split.shape is not None
    )
    model = build_model(config.model, classes, shape[1], config.seed, shape[0])
    trainer = Trainer(
        model,
        transform,
        device=device,
        steps=config.epochs * len(first),
        seed=config.seed,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        label_smoothing=config.label_smoothing,
        channels_last=config.channels_last,
        amp=config.amp,
        compiled=config.compile,
        cuda_graphs=config.cuda_graphs,
        in_flight=config.in_flight,
    )
    test = cut(np.arange(info.splits["test"].count), config.batch_size)
    sizes, test_sizes = (sorted({len(b) for b in batches}, reverse=True) for batches in (first, test))
    trainer.warm_up(shape, sizes, classes, test_sizes)
    ceiling = Ceiling(trainer, shape, len(first[0]), classes)
    ceiling.measure(config.ceiling_steps // 2)
    reset_peak_memory(device)

    with Reading(config, wanted) as reading:
        watch = CacheWatch(wanted.location, info, config.cache)
        with MemorySampler(reading.worker_pids) as sampler, GpuSampler(device) as gpu:
            epochs = Epochs(config, info, trainer, reading, watch, sampler, gpu)
            for part, flags in epochs.run():
                draft.fields["epochs"].append(part)
                draft.fields["flags"] += flags
                say(
                    f"epoch {part.index}: {part.wall_s:.2f} s, loss {part.train_loss:.4f}, "
                    f"accuracy {part.test_accuracy:.4f}, macro-F1 {part.test_macro_f1:.4f}"
                )
        draft.way(reading.train)
        draft.fields["cache"] = watch.part(epochs.read_bytes, epochs.elsewhere_read_bytes)
        stopwatch_s = stopwatch_cost(trainer.way.timeline()) * len(first)
        draft.fields["resources"] = _resources(
            draft.fields["epochs"], epochs.energy_j(), sampler, gpu, device, stopwatch_s
        )
        if sampler.result().resident:
            draft.fields["flags"].append(RESIDENT)
        draft.fields["digest"] = check_samples(reading.train, reading.stream, first)
        check_samples(reading.test, reading.test_stream, test)
        if config.rate_batches:
            draft.fields["rates"] = _rates(config, reading, split.count)
        close_s = reading.close()
    draft.fields["setup"] = SetupPart(open_s=epochs.open_s, first_batch_s=epochs.first_batch_s, close_s=close_s)
    ceiling.measure(config.ceiling_steps - config.ceiling_steps // 2)
    draft.fields["ceiling"] = ceiling.part(split.count)


def _rates(config: RunConfig, reading: Reading, count: int) -> RatesPart:
    """The loader alone, in this process, beside its plain idiom where that reads in the same way."""

    def draw(repeat: int) -> list[Indices]:
        return cut(epoch_order(count, config.seed, repeat), config.batch_size)[: config.rate_batches]

    alone = not (config.workers or config.prefetch)
    return rates.measure(reading.train, reading.stream, draw, RATE_REPEATS, beside=alone, size=config.image_size)


def _resources(
    epochs: list[EpochPart],
    energy_j: float | None,
    sampler: MemorySampler,
    gpu: GpuSampler,
    device: torch.device,
    stopwatch_s: float,
) -> ResourcesPart:
    seen = sampler.result()
    groups: dict[str, float] = {}
    for epoch in epochs:
        for group, seconds in (epoch.cpu_s or {}).items():
            groups[group] = groups.get(group, 0.0) + seconds
    return ResourcesPart(
        cpu_s=groups,
        energy_j=energy_j,
        gpu=gpu.result(),
        memory={
            "tree_peak_pss": seen.peak,
            **{f"{group}_peak_pss": size for group, size in seen.groups.items()},
            **peak_memory(device),
        },
        sampling={
            "samples": seen.samples,
            "interval_s": INTERVAL,
            "cost_s": seen.cost_s,
            "unreadable": seen.unreadable,
            "resident": seen.resident,
            "stopwatch_s": stopwatch_s,
        },
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
