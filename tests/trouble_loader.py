"""A loader that gets into trouble when it is told to; tests of sweeps make it known as another package would."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from loaders import BackendError, Batch, LoaderOptions, StoreDataset, StreamedSplit, Written, read_option

OVER = "TROUBLE_IS_OVER"
"""A variable that, if set, lets every read go well."""


class TroubleOptions(LoaderOptions):
    """What is to go wrong."""

    kind: Literal["none", "segfault", "raise", "hang", "unavailable"] = read_option("none")


class Arrays(NamedTuple):
    """The open handle."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@final
class TroubleDataset(StoreDataset[Arrays]):
    """Two ``.npy`` files a split."""

    name = "trouble"
    device = "cpu"
    max_workers = 4
    Options = TroubleOptions

    @classmethod
    def unavailable(cls, options: TroubleOptions) -> str | None:  # type: ignore[override]
        return "told to be" if options.kind == "unavailable" else None

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: LoaderOptions) -> Written:  # noqa: ARG003
        for name, split in splits.items():
            blocks = list(split.blocks())
            np.save(folder / f"{name}.npy", np.concatenate([block.images for block in blocks]))
            np.save(folder / f"{name}-labels.npy", np.concatenate([block.labels for block in blocks]))
        return Written([file.name for file in folder.iterdir()])

    def _open(self) -> Arrays:
        return Arrays(*(np.load(self.location / f"{self.split}{part}.npy") for part in ("", "-labels")))

    def _read(self, handle: Arrays, indices: NDArray[np.int64]) -> Batch:
        if OVER not in os.environ:
            self._get_into_trouble()
        return Batch(torch.from_numpy(handle.images[indices]), torch.from_numpy(handle.labels[indices]))

    def _get_into_trouble(self) -> None:
        match self.options.kind:
            case "segfault":
                print("about to read address 0", flush=True)  # noqa: T201
                ctypes.string_at(0)
            case "raise":
                raise BackendError(f"the server at {Path.home() / 'socket'} was lost")
            case "hang":
                time.sleep(1000)

    def _close(self, handle: Arrays) -> None:
        """Nothing to do."""
