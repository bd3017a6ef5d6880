"""How fast a loader delivers batches that are consumed and not trained on, beside its format's fastest plain idiom."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.measure.idioms import Read
from loaders import Batch, ImageDataset
from loaders.batch import Indices

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


class Stream(Protocol):
    """What gives the loader's batches."""

    def epoch(self, batches: list[Indices], *, train: bool = False) -> Iterator[Batch]:
        """Read these batches, in this order; of images of many sizes random crops or central ones."""


class Rates(NamedTuple):
    """Images/s of each repetition.

    Attributes:
        loader: the loader's.
        raw: the plain idiom's, on the same batches; ``None`` where there is no idiom.
        idiom: module of the idiom.
    """

    loader: list[float]
    raw: list[float] | None
    idiom: str | None


def measure(
    dataset: ImageDataset[Any],
    stream: Stream,
    draw: Callable[[int], list[Indices]],
    repeats: int,
    *,
    beside: bool,
    say: Callable[[str], None] = lambda _: None,
) -> Rates:
    """Draw batches and consume them; loader and idiom in turns, after an untimed pass that compares the two.

    Args:
        dataset: what is read; names the loader.
        stream: gives the dataset's batches.
        draw: the batches of a repetition, 0 being the untimed one.
        repeats: number of timed repetitions.
        beside: whether to measure the format's plain idiom too, if it has one.
        say: takes one line a repetition.

    Raises:
        BenchError: loader and idiom gave different samples.
    """
    found = find_idiom(dataset.name) if beside else None
    rates: dict[str, list[float]] = {"loader": [], "raw": []}
    sides: dict[str, Callable[[list[Indices]], Iterable[int]]] = {
        "loader": lambda batches: map(consume, stream.epoch(batches, train=True))
    }
    with contextlib.ExitStack() as stack:
        if found is None:
            for _ in stream.epoch(draw(0), train=True):
                pass
        else:
            read = stack.enter_context(found[1](dataset))
            sides["raw"] = lambda batches: (consume_array(read(indices)[0]) for indices in batches)
            _compare(dataset.name, stream, read, draw(0))
        for repeat in range(1, repeats + 1):
            batches = draw(repeat)
            images = sum(len(indices) for indices in batches)
            for side in list(sides)[:: 1 if repeat % 2 else -1]:
                started = time.perf_counter()
                for _ in sides[side](batches):
                    pass
                rates[side].append(images / (time.perf_counter() - started))
            say(", ".join(f"{side} {values[-1]:,.0f} images/s" for side, values in rates.items() if values))
    return Rates(rates["loader"], rates["raw"] or None, found[0] if found is not None else None)


def _compare(loader: str, stream: Stream, read: Read, batches: list[Indices]) -> None:
    """One untimed pass of both sides, which warms the cache and shows that they deliver the same thing."""
    for batch, indices in zip(stream.epoch(batches), batches, strict=True):
        mine, (images, labels) = _as_in_memory(batch.images.cpu()), read(indices)
        if not (np.array_equal(mine.ravel(), images.ravel()) and np.array_equal(batch.labels.cpu().numpy(), labels)):
            raise BenchError(f"loader {loader} and its plain idiom gave different samples; report this")
