"""How a store of ten million images opens and gives random batches, compared with one of twenty thousand.

The images are holes in sparse files, so that no disk needs 123 GB; the index is real. Run by ``scripts/scale``.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bench.measure.cache import evict
from bench.stats.intervals import mean_interval
from loaders import BatchRequest, StoreDataset, open_dataset, prepare
from loaders.store.manifest import write_manifest
from loaders.store.sizes import sizes_name

LARGE, SMALL = 10_000_000, 20_000
SIDE, BATCH, BATCHES, ROUNDS = 64, 128, 100, 5
IMAGE_BYTES = 3 * SIDE * SIDE
OPEN_S, OPEN_BYTES, LEAST_RATIO = 1.0, 200e6, 0.8

_say = functools.partial(print, flush=True)
_OPENING = """
import json, sys, time
from bench.measure.processes import peak_memory, reset_peak_memory
from loaders import open_dataset
import torch

cpu = torch.device("cpu")
dataset = open_dataset(sys.argv[1], size=64)
reset_peak_memory(cpu)
before, started = peak_memory(cpu)["process_peak_rss"], time.perf_counter()
dataset.open()
print(json.dumps([time.perf_counter() - started, peak_memory(cpu)["process_peak_rss"] - before]))
"""


class Black(Dataset[Any]):
    """Two black images, the beginning of a store that is then enlarged."""

    def __init__(self, ragged: bool) -> None:
        self._ragged = ragged

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return np.zeros((SIDE + self._ragged * index, SIDE, 3), np.uint8), 0


def _offsets(count: int) -> NDArray[np.int64]:
    return np.arange(0, (count + 1) * IMAGE_BYTES, IMAGE_BYTES, dtype="<i8")


def _sizes(location: Path, count: int) -> None:
    np.tile(np.array([SIDE, SIDE, 0], "<i4"), (count, 1)).tofile(location / sizes_name("train"))


def _flat(location: Path, count: int) -> None:
    np.zeros(count, "<i8").tofile(location / "train.labels")
    _offsets(count).tofile(location / "train.offsets")
    with (location / "train.pixels").open("wb") as file:
        file.truncate(count * IMAGE_BYTES)


def _flat_ragged(location: Path, count: int) -> None:
    _flat(location, count)
    _sizes(location, count)


def _hdf5_ragged(location: Path, count: int) -> None:
    _sizes(location, count)
    with h5py.File(location / "images.h5", "w", libver=("v110", "v110")) as file:
        group = file.create_group("train")
        images = group.create_dataset("images", (count * IMAGE_BYTES,), np.uint8, fill_time="never")
        images[-1] = 0  # gives the sparse file its full length
        group["offsets"] = _offsets(count)
        group["labels"] = np.zeros(count, "<i8")


def _files(location: Path, count: int) -> None:
    np.zeros((count, 2), "<i8").tofile(location / "train.png.index")


class Case(NamedTuple):
    """A format whose store can be simulated.

    Attributes:
        what: the case in words.
        loader: its name.
        ragged: whether the images have many sizes.
        enlarge: makes the store one of so many images.
        data: the file whose pages are evicted before images are read; None: there are no images to read.
    """

    what: str
    loader: str
    ragged: bool
    enlarge: Callable[[Path, int], None]
    data: str | None


CASES = [
    Case("mmap, one size", "mmap", False, _flat, "train.pixels"),
    Case("mmap, many sizes", "mmap", True, _flat_ragged, "train.pixels"),
    Case("hdf5, many sizes", "hdf5", True, _hdf5_ragged, "images.h5"),
    Case("filesystem, the index alone", "filesystem", False, _files, None),
]


def simulate(case: Case, location: Path, count: int) -> Path:
    """Make the index of a store of so many images, with nothing behind it."""
    info = prepare(Black(case.ragged), case.loader, location, classes=1, ragged=case.ragged)
    case.enlarge(location, count)
    splits = {"train": info.splits["train"].model_copy(update={"count": count})}
    files = {name: (location / name).stat().st_size for name in info.files}
    write_manifest(info.model_copy(update={"splits": splits, "files": files}), location)
    return location


def opening(location: Path) -> tuple[float, int]:
    """Seconds and peak bytes of opening a store in a new process."""
    command = [sys.executable, "-c", _OPENING, str(location)]
    seconds, peak = json.loads(subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout)
    return seconds, peak


def draw(dataset: StoreDataset, order: NDArray[np.int64]) -> float:
    """Images/s of batches in this order."""
    started = time.perf_counter()
    for start in range(0, len(order), BATCH):
        dataset.batch(BatchRequest(order[start : start + BATCH], train=True))
    return len(order) / (time.perf_counter() - started)


def compare(data: str, large: Path, small: Path, rounds: int) -> dict[str, list[float]]:
    """Ratios of the large store's speed to the small one's, of each round: at first touch, and of the same again.

    At first touch the small one has an advantage that no format can take from it: the pages read around an image are
    soon needed, too.
    """
    ratios: dict[str, list[float]] = {"first touch": [], "again": []}
    for number in range(rounds):
        speeds = {}
        for location in (large, small) if number % 2 else (small, large):
            evict([location / data])
            with open_dataset(location, size=SIDE) as dataset:
                random = np.random.default_rng(number)
                order = random.choice(len(dataset), min(BATCH * BATCHES, len(dataset)), replace=False)
                speeds[location] = [draw(dataset, order), draw(dataset, order)]
        for name, fast, slow in zip(ratios, speeds[large], speeds[small], strict=True):
            ratios[name].append(fast / slow)
    return ratios


def main(large: int = LARGE, small: int = SMALL, rounds: int = ROUNDS, folder: Path | None = None) -> int:
    """Measure all cases and print; gives the exit status."""
    failed = False
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="scale-", dir=folder) as place:
            stores = [simulate(case, Path(place) / str(count), count) for count in (large, small)]
            seconds, peak = opening(stores[0])
            failed |= seconds > OPEN_S or peak > OPEN_BYTES
            _say(f"{case.what}: {large:,} images open in {seconds * 1e3:.0f} ms and {peak / 1e6:.0f} MB")
            if case.data is None:
                continue
            for name, ratios in compare(case.data, stores[0], stores[1], rounds).items():
                found = mean_interval(ratios)
                failed |= name == "again" and found.mean < LEAST_RATIO
                low, high = found.low or found.mean, found.high or found.mean
                _say(
                    f"{case.what}: random batches, {name}: {found.mean:.2f} [{low:.2f}, {high:.2f}] "
                    f"of the speed with {small:,} images"
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
