"""How a store of ten million images opens and gives random batches, beside one of twenty thousand.

The images are holes in sparse files, so that no disk needs 123 GB; the index is real. Run by ``scripts/scale``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np

from bench.measure.pagecache import evict
from bench.stats.intervals import mean_interval
from loaders import BatchRequest, Block, DatasetInfo, StoreDataset, load, open_dataset, prepare_store
from loaders.store.manifest import write_manifest
from loaders.store.sizes import sizes_name

LARGE, SMALL = 10_000_000, 20_000
SIDE, BATCH, BATCHES, ROUNDS = 64, 128, 100, 5
IMAGE_BYTES = 3 * SIDE * SIDE
OPEN_S, OPEN_BYTES, LEAST_RATIO = 1.0, 200e6, 0.8
INFO = DatasetInfo(name="scale", official=False, synthetic=True, classes=("one",))

_OPENING = """
import json, sys, time
from pathlib import Path
from loaders import load

def peak():
    lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024

dataset = load(sys.argv[1])(sys.argv[2], "train", size=64)
Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
before, started = peak(), time.perf_counter()
dataset.open()
print(json.dumps([time.perf_counter() - started, peak() - before]))
"""


class _Few:
    """Two black images, as the beginning of a store that is then enlarged."""

    encoding: Literal["raw", "jpeg"] = "raw"

    def __init__(self, ragged: bool) -> None:
        self.shape = None if ragged else (3, SIDE, SIDE)

    def __len__(self) -> int:
        return 2

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        labels = np.zeros(2, np.int64)[start:stop]
        if self.shape is None:
            black = [np.zeros((SIDE + i, SIDE, 3), np.uint8) for i in range(2)][start:stop]
            yield Block(None, None, labels, pictures=black)
        else:
            yield Block(np.zeros((len(labels), *self.shape), np.uint8), None, labels)


def _index(location: Path, count: int) -> None:
    np.zeros(count, "<i8").tofile(location / "train.labels")
    np.arange(0, (count + 1) * IMAGE_BYTES, IMAGE_BYTES, dtype="<i8").tofile(location / "train.offsets")


def _sizes(location: Path, count: int) -> None:
    described = np.zeros((count, 3), "<i4")
    described[:, :2] = SIDE
    described.tofile(location / sizes_name("train"))


def _flat(location: Path, count: int) -> None:
    _index(location, count)
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
        images[-1] = 0  # the file is as long as that now, and sparse
        group["offsets"] = np.arange(0, (count + 1) * IMAGE_BYTES, IMAGE_BYTES, dtype="<i8")
        group["labels"] = np.zeros(count, "<i8")


def _files(location: Path, count: int) -> None:
    np.full((count, 2), 0, "<i8").tofile(location / "train.png.index")


class Case(NamedTuple):
    """A format whose store can be simulated.

    Attributes:
        what: for people.
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
    """Make a store of so many images, or rather its index."""
    info = prepare_store(load(case.loader).configured(), {"train": _Few(case.ragged)}, location, dataset=INFO)
    case.enlarge(location, count)
    splits = {"train": info.splits["train"].model_copy(update={"count": count})}
    files = {name: (location / name).stat().st_size for name in info.files}
    write_manifest(info.model_copy(update={"splits": splits, "files": files}), location)
    return location


def opening(case: Case, location: Path) -> tuple[float, int]:
    """Seconds and peak bytes of opening it in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", _OPENING, case.loader, str(location)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    seconds, peak = json.loads(done.stdout)
    return seconds, peak


def draw(dataset: StoreDataset, order: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Images/s of batches in this order."""
    started = time.perf_counter()
    for start in range(0, len(order), BATCH):
        dataset.batch(BatchRequest(order[start : start + BATCH], train=True))
    return len(order) / (time.perf_counter() - started)


def compare(case: Case, large: Path, small: Path, rounds: int) -> dict[str, list[float]]:
    """Ratios of the large store's speed to the small one's, of each round: at first touch, and of the same again.

    At first touch the small one has an advantage that no format can take from it: what is read around an image is
    soon wanted, too.
    """
    ratios: dict[str, list[float]] = {"first touch": [], "again": []}
    for number in range(rounds):
        speeds = []
        for location in (large, small) if number % 2 else (small, large):
            assert case.data is not None
            evict([location / case.data])
            with open_dataset(location, "train", size=SIDE if case.ragged else None) as dataset:
                random = np.random.default_rng(number)
                order = random.choice(len(dataset), min(BATCH * BATCHES, len(dataset)), replace=False)
                speeds.append([draw(dataset, order), draw(dataset, order)])
        if not number % 2:
            speeds.reverse()
        for name, mine, other in zip(ratios, *speeds, strict=True):
            ratios[name].append(mine / other)
    return ratios


def main(large: int = LARGE, small: int = SMALL, rounds: int = ROUNDS, folder: Path | None = None) -> int:
    """Measure all cases and print; gives the exit status."""
    failed = False
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="scale-", dir=folder) as place:
            stores = [simulate(case, Path(place) / str(count), count) for count in (large, small)]
            seconds, peak = opening(case, stores[0])
            failed |= seconds > OPEN_S or peak > OPEN_BYTES
            _say(f"{case.what}: {large:,} images open in {seconds * 1e3:.0f} ms and {peak / 1e6:.0f} MB")
            if case.data is None:
                continue
            for name, ratios in compare(case, stores[0], stores[1], rounds).items():
                found = mean_interval(ratios)
                failed |= name == "again" and found.mean < LEAST_RATIO
                low, high = found.low or found.mean, found.high or found.mean
                _say(
                    f"{case.what}: random batches, {name}: {found.mean:.2f} [{low:.2f}, {high:.2f}] "
                    f"of the speed with {small:,} images"
                )
    return int(failed)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
