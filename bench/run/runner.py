"""Wires one run: store, batches, network and measurements in, record out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.config import RateConfig, RunConfig, Settings
from bench.measure.cache import CacheWatch
from bench.measure.clocks import stopwatch_cost
from bench.measure.gpu.nvml import GpuSampler
from bench.measure.processes import INTERVAL, MemorySampler, peak_memory, reset_peak_memory
from bench.records import CachePart, CeilingPart, RatesPart, Record, ResourcesPart, SetupPart
from bench.run.delivered import check_samples
from bench.run.devices import torch_device
from bench.run.draft import Draft, Steps, complete, completed, prepared
from bench.run.epochs import SHORTEST_METERED_S, Epochs, Trained
from bench.run.feed import feed, waits
from bench.run.rates import measure
from bench.run.reading import Reading, stream_of
from bench.run.stores import Progress, StoreSpec
from bench.train.ceiling import Ceiling
from bench.train.emulated import Emulator
from bench.train.trainer import Trainer
from loaders import BatchStream, Indices, StoreDataset, cut, epoch_order

RATE_REPEATS = 3
LARGEST_GAP = 0.01
"""Share of the wall time that may lie in no part of the timeline before the epoch is flagged."""
RESIDENT = "memory is resident, not proportional, which this kernel does not tell: shared pages count in each process"
Say = Callable[[str], None]
FILLING: Any = torch.utils.deterministic
"""The module with PyTorch's setting for uninitialised memory, which PyTorch's stubs do not know."""


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


def run(config: RunConfig, spec: StoreSpec, progress: Progress, say: Say) -> Record:
    """Do one run, with the device resolved; ``progress`` shows a preparation, ``say`` takes one line per epoch.

    Returns:
        The record of a run that succeeded, or of a loader that is unavailable here.

    Raises:
        UsageError, OptionError: options that do not fit the dataset; there is nothing to record.
        RunFailedError: anything else; it carries the record.
    """
    return completed(steps_of(config, spec, progress, say))


def steps_of(config: RunConfig, spec: StoreSpec, progress: Progress, say: Say) -> Steps[Record]:
    """The same, to be left before each slice of the search for the feed rate, for other runs to take theirs."""
    fix_arithmetic(config)
    return complete(config, spec, lambda draft: _train(config, spec, progress, say, draft))


def _train(config: RunConfig, spec: StoreSpec, progress: Progress, say: Say, draft: Draft) -> Steps[None]:
    info = prepared(spec, progress, draft)
    train, device = info.splits["train"], torch_device(config.device)
    first = cut(epoch_order(train.count, config.seed, 0), config.batch_size)
    test = cut(np.arange(info.splits["test"].count), config.batch_size)
    sizes, test_sizes = (sorted({len(b) for b in batches}, reverse=True) for batches in (first, test))

    trainer: Trainer | Emulator
    ceiling: Ceiling | None = None
    if config.accelerator is None:
        trainer = Trainer(config, train, len(info.dataset.classes), steps=config.epochs * len(first))
        trainer.warm_up(sizes, test_sizes)
        ceiling = Ceiling(trainer, sizes[0], config.ceiling_steps)
        ceiling.first_half()
    else:
        trainer = Emulator(config, config.accelerator.images_per_s, train)
    reset_peak_memory(device)

    trained: list[Trained] = []
    with Reading(config, spec) as reading:
        watch = CacheWatch(spec.location, info, config.cache)
        with MemorySampler(reading.worker_pids) as sampler, GpuSampler(device) as gpu:
            epochs = Epochs(config, info, trainer, reading, watch, sampler, gpu, test)
            for epoch in epochs.run():
                trained.append(epoch)
                opened = trained[0].opened
                _note(config, epoch, draft, say)
            if not trained:  # the slices evict the store, each for itself
                opened = epochs.open(evict=False)
                watch.before_epoch()
        draft.loader = draft.loader.model_copy(update={"way": reading.train.reader.way})
        stopwatch_s = stopwatch_cost(trainer.transfer.timeline()) * len(first)
        draft.resources = _resources(trained, sampler, gpu, device, stopwatch_s)
        if sampler.result().resident:
            draft.flags.append(RESIDENT)
        draft.digest = check_samples(reading.train, reading.stream, first)
        check_samples(reading.test, reading.test_stream, test)
        if config.rate_batches:
            draft.rates = _rates(config, reading.train, reading.stream, lambda _: None)
        if isinstance(trainer, Emulator):
            step_s = sizes[0] / trainer.device.images_per_s
            draft.feed = yield from feed(config, train, epochs, trainer)
            draft.waits = waits(trainer.device.late_ns, step_s, draft.flags)
        draft.cache = watch.part([e.read_bytes for e in trained], [e.elsewhere_read_bytes for e in trained])
        started = time.perf_counter()
    close_s = time.perf_counter() - started
    draft.setup = SetupPart(**opened._asdict(), close_s=close_s)
    if ceiling is not None:
        draft.ceiling = ceiling.second_half(train.count)
    elif config.accelerator is not None:
        epoch_s = train.count / config.accelerator.images_per_s
        draft.ceiling = CeilingPart(batch_size=sizes[0], block_steps=[], block_s=[], epoch_s=epoch_s)


def _note(config: RunConfig, epoch: Trained, draft: Draft, say: Say) -> None:
    """Keep an epoch's measurements, and tell the user."""
    part = epoch.part
    draft.epochs.append(part)
    if epoch.gap > LARGEST_GAP:
        draft.flags.append(f"epoch {part.index}: {epoch.gap:.1%} of the wall time is in no part")
    if config.accelerator is not None:
        busy = 100 * part.images / config.accelerator.images_per_s / part.wall_s
        say(f"epoch {part.index}: {part.wall_s:.2f} s, accelerator busy for {busy:.1f}%")
        return
    say(
        f"epoch {part.index}: {part.wall_s:.2f} s, loss {part.train_loss:.4f}, "
        f"accuracy {part.test_accuracy:.4f}, macro-F1 {part.test_macro_f1:.4f}"
    )


def rate(config: RateConfig, spec: StoreSpec, progress: Progress, say: Say) -> Record:
    """Measure the data path alone: the record has ``rates``, as `_rates` makes them, and no epochs.

    Takes, gives and raises what `run` does.
    """

    def work(draft: Draft) -> Steps[None]:
        info = prepared(spec, progress, draft)
        batches = cut(epoch_order(info.splits["train"].count, config.seed, 0), config.batch_size)
        with spec.open("train") as dataset, stream_of(dataset, config) as stream:
            rates = _rates(config, dataset, stream, say)
            check_samples(dataset, stream, batches[: config.batches or None])
            draft.loader = draft.loader.model_copy(update={"way": dataset.reader.way})
        draft.cache = CachePart(wanted="warm", state="unverified", evidence=None)
        draft.rates = rates
        yield from ()  # in one go

    fix_arithmetic(config)
    return completed(complete(config, spec, work))


def _rates(config: RunConfig | RateConfig, dataset: StoreDataset, stream: BatchStream, say: Say) -> RatesPart:
    """The loader alone, in turns with its format's plain idiom where that reads in the same way; a line for each."""
    if isinstance(config, RunConfig):
        batches, repeats = config.rate_batches, RATE_REPEATS
    else:
        batches, repeats = config.batches, config.repeats

    def draw(repeat: int) -> list[Indices]:
        return cut(epoch_order(len(dataset), config.seed, repeat), config.batch_size)[: batches or None]

    # An idiom reads in one process, when it is asked: with workers or read-ahead there is nothing to hold it to.
    alone = not (config.workers or config.prefetch)
    return measure(dataset, stream, draw, repeats, beside=alone, size=config.image_size, say=say)


def _resources(
    epochs: list[Trained], sampler: MemorySampler, gpu: GpuSampler, device: torch.device, stopwatch_s: float
) -> ResourcesPart:
    seen = sampler.result()
    joules = [epoch.energy_j for epoch in epochs if epoch.energy_j is not None]
    metered = len(joules) == len(epochs) and sum(epoch.part.wall_s for epoch in epochs) >= SHORTEST_METERED_S
    cpu_s: dict[str, float] = {}
    for epoch in epochs:
        for group, seconds in (epoch.part.cpu_s or {}).items():
            cpu_s[group] = cpu_s.get(group, 0.0) + seconds
    return ResourcesPart(
        cpu_s=cpu_s,
        energy_j=sum(joules) if metered else None,
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
