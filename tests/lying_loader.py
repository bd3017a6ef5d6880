"""A loader that delivers what it should not, or breaks, as plug-ins do; otherwise it reads as `mmap` does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from loaders import Batch, LoaderOptions, StoreDataset, StreamedSplit, Written, read_option

Lie = Literal[
    "none", "float32", "nhwc", "short", "tuple", "int32 labels", "order", "labels", "pixels", "neighbour", "one",
    "shared position", "late", "raise", "open", "close", "write", "unavailable", "nothing written", "foreign file",
]  # fmt: skip


class LyingOptions(LoaderOptions):
    """What is to be wrong."""

    lie: Lie = read_option("none")


class Arrays(NamedTuple):
    """The open handle; `file` has a position that processes share which inherited it."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    file: int


_open_files: dict[Path, int] = {}


@final
class LyingDataset(StoreDataset[Arrays]):
    """Two ``.npy`` files a split."""

    name = "lying"
    device = "cpu"
    max_workers = None
    Options = LyingOptions
    while_writing: ClassVar[Lie] = "none"

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:
        if isinstance(options, LyingOptions) and options.lie == "unavailable":
            raise ZeroDivisionError("in unavailable")
        return None

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: LoaderOptions) -> Any:  # noqa: ARG003
        for name, split in splits.items():
            blocks = list(split.blocks())
            np.save(folder / f"{name}.npy", np.concatenate([block.images for block in blocks]))
            np.save(folder / f"{name}-labels.npy", np.concatenate([block.labels for block in blocks]))
        if cls.while_writing == "write":
            raise KeyError(89)
        if cls.while_writing == "nothing written":
            return None
        return Written(["../elsewhere" if cls.while_writing == "foreign file" else "train.npy"])

    def _open(self) -> Arrays:
        if self._lie == "open":
            raise ZeroDivisionError("in open")
        path = self.location / f"{self.split}.npy"
        if path not in _open_files:  # the mistake: one descriptor for all processes
            _open_files[path] = os.open(path, os.O_RDONLY)
        labels = np.load(self.location / f"{self.split}-labels.npy")
        return Arrays(np.load(path, mmap_mode="r"), labels, _open_files[path])

    @property
    def _lie(self) -> Lie:
        assert isinstance(self.options, LyingOptions)
        return self.options.lie

    def _read(self, handle: Arrays, indices: NDArray[np.int64]) -> Any:
        images, labels = torch.from_numpy(handle.images[indices]), torch.from_numpy(handle.labels[indices])
        match self._lie:
            case "float32":
                return Batch(images.float(), labels)
            case "nhwc":
                return Batch(images.permute(0, 2, 3, 1), labels)
            case "short":
                return Batch(images[1:], labels[1:])
            case "late":
                return Batch(images[1:], labels[1:]) if 0 in indices else Batch(images, labels)
            case "tuple":
                return images, labels
            case "int32 labels":
                return Batch(images, labels.int())
            case "order":
                return Batch(images.flip(0), labels.flip(0))
            case "labels":
                return Batch(images, (labels + 1) % 7)
            case "neighbour":
                return Batch(torch.from_numpy(handle.images[(indices + 1) % len(handle.images)]), labels)
            case "pixels":
                return Batch(images // 2, labels)
            case "one":
                images[torch.from_numpy(indices == 5)] += 1
            case "raise":
                raise KeyError(89)
            case "shared position":
                size = images[0].nbytes
                for i, index in enumerate(indices.tolist()):
                    os.lseek(handle.file, os.fstat(handle.file).st_size - size * (len(handle.images) - index), 0)
                    os.sched_yield()
                    data = os.read(handle.file, size)
                    images[i] = torch.frombuffer(bytearray(data.ljust(size)), dtype=torch.uint8).view(images[i].shape)
        return Batch(images, labels)

    def _close(self, handle: Arrays) -> None:
        if self._lie == "close":
            raise ZeroDivisionError("in close")
