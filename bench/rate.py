"""The data path alone: how fast a loader delivers batches, against its format's fastest plain idiom."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.batching import BatchStream, cut, epoch_order
from bench.config import RateConfig
from bench.errors import BenchError
from bench.measure.idioms import Read
from bench.records import CachePart, RatesPart, Record
from bench.runner import Draft, Say, complete, fix_arithmetic
from bench.stores import Progress, Wanted, prepare
from loaders import Batch, ImageDataset

Idiom = Callable[[ImageDataset[Any]], AbstractContextManager[Read]]


def find_idiom(loader: str) -> tuple[str, Idiom] | None:
    """The plain idiom of a format, by the loader's name, or None where there is none to compare with."""
    name = f"bench.measure.idioms.{loader}"
    if not loader.isidentifier() or importlib.util.find_spec(name) is None:
        return None
    module = importlib.import_module(name)
    return name, module.idiom


def consume_array(images: NDArray[np.uint8]) -> int:
    """Touch every byte: the xor over 64-bit words, and over what is left at the end."""
    flat = images.reshape(-1)
    whole = flat.size // 8 * 8
    words = int(np.bitwise_xor.reduce(flat[:whole].view(np.uint64))) if whole else 0
    rest = int(np.bitwise_xor.reduce(flat[whole:])) if whole < flat.size else 0
    return words ^ rest


def consume(batch: Batch) -> int:
    """Touch every byte of a batch, in the memory order that it has; on a device by a sum over 64-bit words."""
    images = batch.images
    if not images.is_cpu:
        flat = images.reshape(-1)
        return int(flat.view(torch.int64).sum() if flat.numel() % 8 == 0 else flat.sum())
    return consume_array(_as_in_memory(images))


def _as_in_memory(images: torch.Tensor) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = images.numpy()
    if found.flags.c_contiguous:
        return found
    last = found.transpose(0, 2, 3, 1)
    return last if last.flags.c_contiguous else np.ascontiguousarray(found)


def rate(config: RateConfig, wanted: Wanted, progress: Progress, say: Say) -> Record:
    """Draw batches in random order and consume them; loader and idiom in turns, after a pass that compares the two.

    Returns:
        A record with ``rates`` and no epochs, or one of a loader that is unavailable here.

    Raises:
        UsageError, OptionError: options that do not fit the dataset; there is nothing to record.
        RunFailedError: anything else; it carries the record.
    """
    fix_arithmetic(config)
    draft = Draft(config, wanted.options.public(), torch.device(config.device))
    return complete(draft, wanted, lambda: _measure(config, wanted, progress, say, draft))


def _measure(config: RateConfig, wanted: Wanted, progress: Progress, say: Say, draft: Draft) -> None:
    info, _ = prepare(wanted, progress)
    draft.store(wanted, info)
    count = info.splits["train"].count
    # An idiom reads in one process, when it is asked: with workers or read-ahead there is nothing to hold it against.
    found = None if config.workers or config.prefetch else find_idiom(config.loader)
    rates: dict[str, list[float]] = {"loader": [], "raw": []}
    with contextlib.ExitStack() as stack:
        dataset = stack.enter_context(wanted.open("train"))
        stream = stack.enter_context(
            BatchStream(dataset, workers=config.workers, start_method=config.start_method, prefetch=config.prefetch)
        )
        sides: dict[str, Callable[[list[Any]], Iterable[int]]] = {
            "loader": lambda batches: map(consume, stream.epoch(batches))
        }
        if found is None:
            for _ in stream.epoch(_batches(config, count, 0)):
                pass
        else:
            read = stack.enter_context(found[1](dataset))
            sides["raw"] = lambda batches: (consume_array(read(indices)[0]) for indices in batches)
            _compare(config.loader, stream, read, _batches(config, count, 0))
        for repeat in range(1, config.repeats + 1):
            batches = _batches(config, count, repeat)
            images = sum(len(indices) for indices in batches)
            for side in list(sides)[:: 1 if repeat % 2 else -1]:
                started = time.perf_counter()
                for _ in sides[side](batches):
                    pass
                rates[side].append(images / (time.perf_counter() - started))
            say(", ".join(f"{side} {values[-1]:,.0f} images/s" for side, values in rates.items() if values))
    draft.fields["cache"] = CachePart(wanted="warm", state="unverified", evidence=None)
    draft.fields["rates"] = RatesPart(
        loader=rates["loader"], raw=rates["raw"] or None, idiom=found[0] if found is not None else None
    )


def _batches(config: RateConfig, count: int, repeat: int) -> list[Any]:
    batches = cut(epoch_order(count, config.seed, repeat), config.batch_size)
    return batches[: config.batches] if config.batches else batches


def _compare(loader: str, stream: BatchStream, read: Read, batches: list[Any]) -> None:
    """One untimed pass of both sides, which warms the cache and shows that they deliver the same thing."""
    for batch, indices in zip(stream.epoch(batches), batches, strict=True):
        mine, (images, labels) = _as_in_memory(batch.images.cpu()), read(indices)
        if not (np.array_equal(mine.ravel(), images.ravel()) and np.array_equal(batch.labels.cpu().numpy(), labels)):
            raise BenchError(f"loader {loader} and its plain idiom gave different samples; report this")
