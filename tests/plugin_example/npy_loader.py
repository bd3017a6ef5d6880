"""An example of a loader in a package of its own: pixels and labels of each split as ``.npy`` files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from loaders import Batch, LoaderOptions, StoreDataset, StreamedSplit, Written


class Arrays(NamedTuple):
    """The open handle."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@final
class NpyDataset(StoreDataset[Arrays]):
    """``<split>.npy`` uint8 ``[n, C, H, W]``, read through ``np.load(mmap_mode="r")``, and ``<split>-labels.npy``."""

    name = "npy"
    device = "cpu"
    max_workers = None
    Options = LoaderOptions  # none; a format with some derives a class and declares each with store_ or read_option

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:  # noqa: ARG003
        """NumPy is always there."""
        return None

    @classmethod
    def _write(
        cls,
        splits: Mapping[str, StreamedSplit],
        folder: Path,
        options: LoaderOptions,  # noqa: ARG003
    ) -> Written:
        for name, split in splits.items():
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(split), *split.shape)}
            labels = []
            # Written rather than mapped: a full disk is then an error and not a dead process.
            with (folder / f"{name}.npy").open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for block in split.blocks():
                    file.write(block.images.data)
                    labels.append(block.labels)
            np.save(folder / f"{name}-labels.npy", np.concatenate(labels))
        return Written([file.name for file in folder.iterdir()])

    def _open(self) -> Arrays:
        images = np.load(self.location / f"{self.split}.npy", mmap_mode="r")
        return Arrays(np.asarray(images), np.load(self.location / f"{self.split}-labels.npy"))

    def _read(self, handle: Arrays, indices: NDArray[np.int64]) -> Batch:
        images, labels = handle
        return Batch(torch.from_numpy(np.take(images, indices, axis=0)), torch.from_numpy(np.take(labels, indices)))

    def _close(self, handle: Arrays) -> None:
        """Nothing to do: the map ends with the last reference to it."""
