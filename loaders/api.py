"""The public API: prepare any PyTorch dataset, open a store, loop over its batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch.utils.data import Dataset

from loaders.core.batch import Batch
from loaders.core.errors import OptionError
from loaders.reading.dataset import StoreDataset
from loaders.reading.map_style import MapSplit, Samples, class_names
from loaders.reading.stream import BatchStream, StartMethod, cut, epoch_order
from loaders.registry import load
from loaders.store.manifest import StoreInfo, read_manifest
from loaders.store.prepare import prepare_store
from loaders.store.samples import DatasetInfo, Progress, check_split_names


def prepare(
    data: Dataset[Any] | Mapping[str, Dataset[Any]],
    loader: str,
    path: Path | str,
    *,
    name: str = "custom",
    classes: Sequence[str] | int | None = None,
    ragged: bool | None = None,
    workers: int = 0,
    progress: Progress = lambda _: None,
    fingerprint: str = "",
    **options: Any,
) -> StoreInfo:
    """Write a store of any map-style dataset of (image, label), such as torchvision's own.

    An image is a PIL image, a uint8 tensor ``[C, H, W]`` or a uint8 array ``[H, W, C]``; a label is the number of
    a class. Store pixels, not transformed floats, and normalise on the device.

    Args:
        data: one dataset, whose split is called "train", or datasets by split name: at most 40 letters, digits, ``_``
            and ``-``.
        loader: name of the format; see ``loader_names``.
        path: folder of the store; replaced when the new store is complete.
        name: name of the data in the manifest.
        classes: their names or number; None: the datasets' attribute ``classes``, as in torchvision.
        ragged: whether the images have many sizes; None: decided by a sample of them.
        workers: number of processes that read the dataset.
        progress: called with the number of samples done since the last call.
        fingerprint: identifies the data, such as a path with a date or a checksum; with it, an interrupted preparation
            resumes from its last checkpoint, and without it starts from the beginning.
        options: of the loader.

    Raises:
        OptionError: unusable names, classes or dataset.
        LoaderError: a sample, named by its index, that cannot be read or stored; a full disk.

    Example:
        >>> from torchvision.datasets import ImageFolder  # doctest: +SKIP
        >>> prepare(ImageFolder("photos/train"), "mmap", "stores/photos")  # doctest: +SKIP
    """
    datasets = dict(data) if isinstance(data, Mapping) else {"train": data}
    if not datasets:
        raise OptionError("there is no split to prepare; give a dataset, or datasets by name")
    check_split_names(datasets)
    if not isinstance(workers, int) or workers < 0:
        raise OptionError(f"workers must be at least 0, not {workers!r}")
    names = class_names(datasets, classes)
    samples = [Samples(split, dataset, len(names)) for split, dataset in datasets.items()]
    if ragged is None:
        ragged = len({shape for each in samples for shape in each.shapes()}) > 1
    splits = {each.split: MapSplit(each, ragged, workers) for each in samples}
    info = DatasetInfo(name=name, official=False, synthetic=False, classes=names, fingerprint=fingerprint)
    return prepare_store(load(loader).configured(options), splits, path, dataset=info, progress=progress)


def open_dataset(path: Path | str, split: str = "train", *, size: int | None = None, **options: Any) -> StoreDataset:
    """Open a split of a store of any loader: a ``Dataset`` for any ``DataLoader``, sampler or trainer.

    Args:
        path: folder of the store.
        split: name of the split.
        size: side of the square crops in pixels, of images of many sizes.
        options: read options of the loader.

    Raises:
        LoaderError: there is no store, or it is damaged.
    """
    info = read_manifest(Path(path))
    return StoreDataset(load(info.loader).configured({**info.options, **options}), path, split, size=size)


@dataclass
class Batches:
    """Batches of a dataset, from `make_loader`. Each iteration gives one epoch, then the next.

    Attributes:
        epoch: number of the next epoch; order and crops depend on it. May be set.
    """

    dataset: StoreDataset
    stream: BatchStream
    batch_size: int
    train: bool
    seed: int
    drop_last: bool
    epoch: int = 0

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch, count = self.epoch, len(self.dataset)
        self.epoch += 1
        order = epoch_order(count, self.seed, epoch) if self.train else np.arange(count)
        batches = cut(order, self.batch_size)[: len(self)]
        return self.stream.epoch(batches, seed=self.seed, epoch=epoch, train=self.train)

    def close(self) -> None:
        """End worker processes and threads."""
        self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stream.__exit__(*error)


def make_loader(
    dataset: StoreDataset,
    batch_size: int = 128,
    *,
    train: bool = True,
    seed: int = 0,
    size: int | None = None,
    workers: int = 0,
    prefetch: int = 0,
    start_method: StartMethod = "fork",
    pin_memory: bool = False,
    drop_last: bool = False,
) -> Batches:
    """The fast path: whole batches without Python code per sample, in this process unless there are workers.

    Args:
        dataset: from `open_dataset`.
        batch_size: samples per batch.
        train: a new random order each epoch and random crops; else in order, with central crops.
        seed: of order and crops.
        size: side of the square crops in pixels; None: the dataset's.
        workers: number of worker processes; 0 reads in this process.
        prefetch: batches read ahead, by a thread or by each worker.
        start_method: how workers are started.
        pin_memory: copy the workers' batches into page-locked memory.
        drop_last: skip a last batch that is not full.

    Raises:
        OptionError: more workers than the loader takes, or an empty batch.
    """
    if batch_size < 1:
        raise OptionError(f"batch_size must be at least 1, not {batch_size}")
    how: Any = {"workers": workers, "prefetch": prefetch, "start_method": start_method, "pin_memory": pin_memory}
    stream = BatchStream(dataset, size=size or dataset.size, **how)
    return Batches(dataset, stream, batch_size, train, seed, drop_last)
