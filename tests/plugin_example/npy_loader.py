"""An example of a format in a package of its own: pixels and labels of each split as ``.npy`` files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loaders import Caps, Format, Indices, Intake, LoaderOptions, Reader, Rows, Store, StoreDataset, Written


@contextlib.contextmanager
def plain(dataset: StoreDataset, crops: None = None) -> Iterator[Callable[[Indices], tuple[Any, Any]]]:
    """NumPy alone, for ``bench rate`` to compare with."""
    images = np.load(dataset.location / f"{dataset.split}.npy", mmap_mode="r")
    labels = np.load(dataset.location / f"{dataset.split}-labels.npy")
    yield lambda indices: (np.asarray(images[indices]), labels[indices])


class NpyFormat(Format[LoaderOptions]):
    """``<split>.npy`` uint8 ``[n, C, H, W]`` and ``<split>-labels.npy``."""

    name = "npy"
    packages = ("loader-bench-npy",)
    caps = Caps(ragged=False)
    idiom = plain

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Written rather than mapped: a full disk is then an error and not a dead process."""
        for name, split in splits.items():
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(split), *split.fixed_shape)}
            labels = []
            with (folder / f"{name}.npy").open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for block in split.blocks():
                    file.write(block.images.data)
                    labels.append(block.labels)
            np.save(folder / f"{name}-labels.npy", np.concatenate(labels))
        return Written([file.name for file in folder.iterdir()])

    def open(self, store: Store, split: str) -> Reader:
        """Map the pixels and read the labels."""
        return NpyReader(store.location, split)


class NpyReader(Reader):
    """A batch is one gather."""

    def __init__(self, folder: Path, split: str) -> None:
        self._images = np.asarray(np.load(folder / f"{split}.npy", mmap_mode="r"))
        self.labels = np.load(folder / f"{split}-labels.npy")

    def fetch(self, indices: Indices) -> Rows:
        """Rows in fresh memory; the core looks up the labels."""
        return Rows(np.take(self._images, indices, axis=0))
