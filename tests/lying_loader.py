"""A format that delivers what it should not, or breaks, as plug-ins do; otherwise it reads as `mmap` does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from loaders import Format, Indices, Intake, LoaderOptions, Reader, Rows, Store, Written, read_option

Lie = Literal[
    "none", "float32", "nhwc", "short", "tuple", "int32 labels", "order", "labels", "pixels", "neighbour", "one",
    "shared position", "late", "raise", "open", "close", "write", "unavailable", "nothing written", "foreign file",
]  # fmt: skip


class LyingOptions(LoaderOptions):
    """What is to be wrong."""

    lie: Lie = read_option("none")


_open_files: dict[Path, int] = {}


class LyingFormat(Format[LyingOptions]):
    """Two ``.npy`` files a split."""

    name = "lying"
    Options = LyingOptions
    while_writing: ClassVar[Lie] = "none"

    def unavailable(self) -> str | None:
        if self.options.lie == "unavailable":
            raise ZeroDivisionError("in unavailable")
        return None

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Any:
        for name, split in splits.items():
            blocks = list(split.blocks())
            np.save(folder / f"{name}.npy", np.concatenate([block.images for block in blocks]))
            np.save(folder / f"{name}-labels.npy", np.concatenate([block.labels for block in blocks]))
        if self.while_writing == "write":
            raise KeyError(89)
        if self.while_writing == "nothing written":
            return None
        return Written(["../elsewhere" if self.while_writing == "foreign file" else "train.npy"])

    def open(self, store: Store, split: str) -> Reader:
        if self.options.lie == "open":
            raise ZeroDivisionError("in open")
        return LyingReader(self.options.lie, store.location, split)


class LyingReader(Reader):
    """The mistake of "shared position" is one descriptor for all processes, which have its position in common."""

    def __init__(self, lie: Lie, folder: Path, split: str) -> None:
        path = folder / f"{split}.npy"
        self._lie = lie
        if path not in _open_files:
            _open_files[path] = os.open(path, os.O_RDONLY)
        self._file = _open_files[path]
        self._images, self._labels = np.load(path, mmap_mode="r"), np.load(folder / f"{split}-labels.npy")

    def fetch(self, indices: Indices) -> Any:
        images, labels = self._images[indices], self._labels[indices]
        match self._lie:
            case "float32":
                return Rows(images.astype(np.float32), labels)
            case "nhwc":
                return Rows(images.transpose(0, 2, 3, 1), labels)
            case "short":
                return Rows(images[1:], labels[1:])
            case "late":
                return Rows(images[1:], labels[1:]) if 0 in indices else Rows(images, labels)
            case "tuple":
                return images, labels
            case "int32 labels":
                return Rows(images, labels.astype(np.int32))
            case "order":
                return Rows(images[::-1].copy(), labels[::-1].copy())
            case "labels":
                return Rows(images, (labels + 1) % 7)
            case "neighbour":
                return Rows(self._images[(indices + 1) % len(self._images)], labels)
            case "pixels":
                return Rows(images // 2, labels)
            case "one":
                images[indices == 5] += 1
            case "raise":
                raise KeyError(89)
            case "shared position":
                size = images[0].nbytes
                for i, index in enumerate(indices.tolist()):
                    os.lseek(self._file, os.fstat(self._file).st_size - size * (len(self._images) - index), 0)
                    os.sched_yield()
                    data = os.read(self._file, size)
                    images[i] = np.frombuffer(data.ljust(size), np.uint8).reshape(images[i].shape)
        return Rows(images, labels)

    def close(self) -> None:
        if self._lie == "close":
            raise ZeroDivisionError("in close")
