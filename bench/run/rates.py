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
from bench.idioms import Crops, DeviceRead, NoIdiomError, Read
from loaders import Batch, Indices, StoreDataset

Idiom = Callable[[StoreDataset, Crops | None], AbstractContextManager[Read | DeviceRead]]


def find_idiom(loader: str) -> tuple[str, Idiom] | None:
    """The plain idiom of a format, by the loader's name, or None where there is none to compare with."""
    name = f"bench.idioms.{loader}"
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
    return consume_images(batch.images)


def consume_images(images: NDArray[np.uint8] | torch.Tensor) -> int:
    """The same of images alone, wherever they are; of a device's, this waits for them."""
    if isinstance(images, np.ndarray):
        return consume_array(images)
    if images.is_cpu:
        return consume_array(_as_in_memory(images).numpy())
    flat = _as_in_memory(images).reshape(-1)
    return int(flat.view(torch.int64).sum() if flat.numel() % 8 == 0 else flat.sum())


def _as_in_memory(images: torch.Tensor) -> torch.Tensor:
    """Contiguous; images whose channels come last in memory are not copied for that."""
    if images.is_contiguous():
        return images
    last = images.permute(0, 2, 3, 1)
    return last if last.is_contiguous() else images.contiguous()


class Stream(Protocol):
    """What gives the loader's batches."""

    def epoch(self, batches: list[Indices], *, seed: int = 0, epoch: int = 0, train: bool = False) -> Iterator[Batch]:
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
    dataset: StoreDataset,
    stream: Stream,
    draw: Callable[[int], list[Indices]],
    repeats: int,
    *,
    beside: bool,
    size: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Rates:
    """Draw batches and consume them; loader and idiom in turns, after an untimed pass that compares the two.

    Args:
        dataset: what is read; names the loader.
        stream: gives the dataset's batches.
        draw: the batches of a repetition, 0 being the untimed one.
        repeats: number of timed repetitions.
        beside: whether to measure the format's plain idiom too, if it has one.
        size: side of the stream's crops, of images of many sizes.
        say: takes one line a repetition, and why there is no idiom where one was to be measured.

    Raises:
        BenchError: loader and idiom gave different samples.
    """
    crops = Crops(size) if size else None
    drawn = {"seed": crops.seed, "epoch": crops.epoch} if crops else {}

    def deliver(batches: list[Indices]) -> Iterator[Batch]:
        return stream.epoch(batches, train=True, **drawn)

    rates: dict[str, list[float]] = {"loader": [], "raw": []}
    sides: dict[str, Callable[[list[Indices]], Iterable[int]]] = {
        "loader": lambda batches: map(consume, deliver(batches))
    }
    with contextlib.ExitStack() as life:
        found = _opened(dataset, crops, life, say) if beside else None
        if found is None:
            for _ in deliver(draw(0)):
                pass
        else:
            read = found[1]
            sides["raw"] = lambda batches: (consume_images(read(indices)[0]) for indices in batches)
            batches = draw(0)
            _compare(dataset.name, deliver(batches), read, batches)
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


def _opened(
    dataset: StoreDataset, crops: Crops | None, life: contextlib.ExitStack, say: Callable[[str], None]
) -> tuple[str, Read | DeviceRead] | None:
    """The module of the format's plain idiom, and the idiom, open; None where there is none."""
    found = find_idiom(dataset.name)
    if found is None:
        return None
    name, idiom = found
    try:
        return name, life.enter_context(idiom(dataset, crops))
    except NoIdiomError as why:
        say(f"no plain idiom to compare with: {why}")
        return None


def _compare(loader: str, delivered: Iterable[Batch], read: Read | DeviceRead, batches: list[Indices]) -> None:
    """One untimed pass of both sides, which warms the cache and shows that they deliver the same thing."""
    for batch, indices in zip(delivered, batches, strict=True):
        images, labels = (_on_host(each) for each in read(indices))
        mine = _on_host(batch.images), _on_host(batch.labels)
        if not (np.array_equal(mine[0].ravel(), images.ravel()) and np.array_equal(mine[1], labels)):
            raise BenchError(f"loader {loader} and its plain idiom gave different samples; report this")


def _on_host(found: NDArray[Any] | torch.Tensor) -> NDArray[Any]:
    if isinstance(found, np.ndarray):
        return found
    array: NDArray[Any] = (_as_in_memory(found) if found.dim() == 4 else found).cpu().numpy()
    return array
