"""How fast a loader delivers batches that are consumed but not trained on, and its format's fastest plain idiom."""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.idioms import BUILT_IN, AnyRead, Crops, Idiom, NoIdiomError
from bench.records import RatesPart
from loaders import Batch, BatchStream, Indices, StoreDataset


def find_idiom(dataset: StoreDataset) -> tuple[str, Idiom] | None:
    """Name and function of the format's plain idiom, its own or a built-in one; None where there is none."""
    own = type(dataset.format).idiom  # of the class, so that it is not bound
    if own is not None:
        return f"{own.__module__}.{own.__qualname__}", own
    if dataset.name not in BUILT_IN:
        return None
    module = importlib.import_module(f"bench.idioms.{BUILT_IN[dataset.name]}")
    return f"bench.idioms.{dataset.name}", module.idiom


def consume(batch: tuple[torch.Tensor, Any]) -> int:
    """Touch every byte of a batch's images, in the memory order that they have.

    On the host the xor over 64-bit words and the rest; on a device the sum over such words, which waits for the images.
    """
    images = _as_in_memory(batch[0])
    if not images.is_cpu:
        flat = images.reshape(-1)
        return int(flat.view(torch.int64).sum() if flat.numel() % 8 == 0 else flat.sum())
    data = images.numpy().reshape(-1)
    whole = data.size // 8 * 8
    return int(np.bitwise_xor.reduce(data[:whole].view(np.uint64))) ^ int(np.bitwise_xor.reduce(data[whole:]))


def _tensors(read: AnyRead) -> Callable[[Indices], tuple[torch.Tensor, torch.Tensor]]:
    """The same as tensors, which training takes; they share the arrays' memory."""

    def tensors(indices: Indices) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = read(indices)
        return (
            torch.from_numpy(images) if isinstance(images, np.ndarray) else images,
            torch.from_numpy(labels) if isinstance(labels, np.ndarray) else labels,
        )

    return tensors


def _as_in_memory(images: torch.Tensor) -> torch.Tensor:
    """Contiguous; images whose channels come last in memory are not copied for that."""
    if images.is_contiguous():
        return images
    last = images.permute(0, 2, 3, 1)
    return last if last.is_contiguous() else images.contiguous()


def measure(
    dataset: StoreDataset,
    stream: BatchStream,
    draw: Callable[[int], list[Indices]],
    repeats: int,
    *,
    beside: bool,
    size: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> RatesPart:
    """Draw batches and consume them; loader and idiom in turns, after an untimed pass that compares the two.

    The idiom is measured twice where it can also read ``into`` memory that is used again.

    ``draw`` gives the batches of a repetition: 0 is the untimed one, before the ``repeats`` that are timed. Only
    ``beside`` measures the format's plain idiom too, if it has one. ``size`` is the side of the stream's crops, of
    images of many sizes. ``say`` takes a line a repetition, and why there is no idiom where one was to be measured.

    Raises:
        BenchError: loader and idiom gave different samples.
    """
    deliver = functools.partial(stream.epoch, train=True)
    rates: dict[str, list[float]] = {"loader": [], "raw": [], "reused": []}
    sides: dict[str, Callable[[list[Indices]], Iterable[Any]]] = {"loader": deliver}
    name, read = None, None
    with contextlib.ExitStack() as stack:
        if beside and (found := find_idiom(dataset)) is not None:
            try:
                read = stack.enter_context(found[1](dataset, Crops(size) if size else None))
                name, sides["raw"] = found[0], functools.partial(map, _tensors(read))
                if (into := getattr(read, "into", None)) is not None:
                    sides["reused"] = functools.partial(map, _tensors(into))
            except NoIdiomError as why:
                say(f"no plain idiom to compare with: {why}")
        _warm_up(dataset.name, draw(0), deliver, read)
        for repeat in range(1, repeats + 1):
            batches = draw(repeat)
            images = sum(len(indices) for indices in batches)
            for side in list(sides)[:: 1 if repeat % 2 else -1]:
                started = time.perf_counter()
                for _ in map(consume, sides[side](batches)):  # holds no batch while the next one is read
                    pass
                rates[side].append(images / (time.perf_counter() - started))
            say(", ".join(f"{side} {values[-1]:,.0f} images/s" for side, values in rates.items() if values))
    return RatesPart(loader=rates["loader"], raw=rates["raw"] or None, reused=rates["reused"] or None, idiom=name)


def _warm_up(
    loader: str, batches: list[Indices], deliver: Callable[[list[Indices]], Iterator[Batch]], read: AnyRead | None
) -> None:
    """One untimed pass, which warms the cache and shows that loader and idiom deliver the same samples."""
    for batch, indices in zip(deliver(batches), batches, strict=True):
        if read is None:
            continue
        images, labels = (_on_host(each) for each in read(indices))
        loader_images, loader_labels = (_on_host(each) for each in batch)
        if not (np.array_equal(loader_images.ravel(), images.ravel()) and np.array_equal(loader_labels, labels)):
            raise BenchError(f"loader {loader} and its plain idiom gave different samples; report this")


def _on_host(array: NDArray[Any] | torch.Tensor) -> NDArray[Any]:
    if isinstance(array, torch.Tensor):
        array = np.asarray((_as_in_memory(array) if array.dim() == 4 else array).cpu())
    return array
