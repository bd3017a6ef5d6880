"""A format that gets into trouble when it is told to; tests of sweeps make it known as another package would."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from loaders import (
    BackendError,
    Caps,
    Format,
    Indices,
    Intake,
    LoaderOptions,
    Reader,
    Rows,
    Store,
    Written,
    read_option,
)

OVER = "TROUBLE_IS_OVER"
"""A variable that, if set, lets every read go well."""


class TroubleOptions(LoaderOptions):
    """What is to go wrong."""

    kind: Literal["none", "segfault", "raise", "hang", "unavailable"] = read_option("none")


class TroubleFormat(Format[TroubleOptions]):
    """Two ``.npy`` files a split."""

    name = "trouble"
    caps = Caps(ragged=False, max_workers=4)
    Options = TroubleOptions

    def unavailable(self) -> str | None:
        return "told to be" if self.options.kind == "unavailable" else None

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        for name, split in splits.items():
            blocks = list(split.blocks())
            np.save(folder / f"{name}.npy", np.concatenate([block.images for block in blocks]))
            np.save(folder / f"{name}-labels.npy", np.concatenate([block.labels for block in blocks]))
        return Written([file.name for file in folder.iterdir()])

    def open(self, store: Store, split: str) -> Reader:
        return TroubleReader(self.options.kind, store.location, split)


class TroubleReader(Reader):
    """Gets into trouble at the first read."""

    def __init__(self, kind: str, folder: Path, split: str) -> None:
        self._kind, self._images = kind, np.load(folder / f"{split}.npy")
        self.labels = np.load(folder / f"{split}-labels.npy")

    def fetch(self, indices: Indices) -> Rows:
        if OVER not in os.environ:
            self._get_into_trouble()
        return Rows(self._images[indices])

    def _get_into_trouble(self) -> None:
        match self._kind:
            case "segfault":
                print("about to read address 0", flush=True)  # noqa: T201
                ctypes.string_at(0)
            case "raise":
                raise BackendError(f"the server at {Path.home() / 'socket'} was lost")
            case "hang":
                time.sleep(1000)
