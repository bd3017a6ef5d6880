"""The short way for one's own programs: prepare any PyTorch dataset, open a store, loop over its batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
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

    An image is a PIL image, a uint8 tensor ``[C, H, W]`` or a uint8 array ``[H, W, C]``; a label the number of
    a class. A transform to floats would be undone: store the pixels, and normalise on the device.

    Args:
        data: the dataset, whose split is then called "train", or datasets by the names of their splits: letters,
            digits, ``_`` and ``-``, 40 at most.
        loader: the format's name; see ``loader_names``.
        path: folder of the store; replaced when the new store is complete.
        name: what the manifest calls the data.
        classes: their names or number; None: the datasets' attribute ``classes``, as torchvision's have it.
        ragged: whether the images have many sizes; None: as a sample of them has.
        workers: processes that read the dataset.
        progress: called with the number of samples done since the last call.
        fingerprint: identifies the data, such as a path with a date or a checksum; with it, a preparation that was
            killed goes on where it was, and without it begins anew.
        options: of the loader.

    Raises:
        OptionError: names, classes or a dataset that cannot be used.
        LoaderError: a sample that cannot be read or stored, by its index; a full disk.

    Example:
        >>> from torchvision.datasets import ImageFolder  # doctest: +SKIP
        >>> prepare(ImageFolder("photos/train"), "mmap", "stores/photos")  # doctest: +SKIP
    """
    given = dict(data) if isinstance(data, Mapping) else {"train": data}
    if not given:
        raise OptionError("there is no split to prepare; give a dataset, or datasets by name")
    check_split_names(given)
    if not isinstance(workers, int) or workers < 0:
        raise OptionError(f"workers must be at least 0, not {workers!r}")
    names = class_names(given, classes)
    samples = [Samples(split, dataset, len(names)) for split, dataset in given.items()]
    if ragged is None:
        ragged = len({shape for each in samples for shape in each.shapes()}) > 1
    splits = {each.split: MapSplit(each, ragged, workers) for each in samples}
    info = DatasetInfo(name=name, official=False, synthetic=False, classes=names, fingerprint=fingerprint)
    return prepare_store(load(loader).configured(options), splits, path, dataset=info, progress=progress)


def open_dataset(path: Path | str, split: str = "train", *, size: int | None = None, **options: Any) -> StoreDataset:
    """Open a split of a store, whatever loader wrote it: a ``Dataset`` for any ``DataLoader``, sampler or trainer.

    Args:
        path: folder of the store.
        split: its name.
        size: side of the square crops, of images of many sizes.
        options: of the loader, as far as they are for reading.

    Raises:
        LoaderError: no store, or one that is damaged.
    """
    info = read_manifest(Path(path))
    return StoreDataset(load(info.loader).configured({**info.options, **options}), path, split, size=size)


class Batches:
    """Batches of a dataset, made by `make_loader`. Iterating gives one epoch and goes on to the next.

    Attributes:
        epoch: number of the next epoch; order and crops depend on it. May be set.
    """

    def __init__(
        self, dataset: StoreDataset, stream: BatchStream, batch_size: int, train: bool, seed: int, drop_last: bool
    ) -> None:
        """Use `make_loader`."""
        self.dataset = dataset
        self.epoch = 0
        self._stream, self._batch_size, self._train, self._seed = stream, batch_size, train, seed
        self._drop_last = drop_last

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self._batch_size)
        return whole + bool(rest and not self._drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch
        self.epoch += 1
        count = len(self.dataset)
        order = epoch_order(count, self._seed, epoch) if self._train else np.arange(count)
        batches = cut(order, self._batch_size)[: len(self)]
        return self._stream.epoch(batches, seed=self._seed, epoch=epoch, train=self._train)

    def close(self) -> None:
        """End worker processes and threads."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.__exit__(kind, error, trace)


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
    """The fast path: whole batches, in this process unless there are workers, with no Python per sample.

    Args:
        dataset: from `open_dataset`.
        batch_size: samples per batch.
        train: in a new random order each epoch and, of images of many sizes, with random crops; else in order.
        seed: of order and crops.
        size: side of the square crops; None: the dataset's own.
        workers: worker processes; 0 reads in this process.
        prefetch: batches read ahead, by a thread or by each worker.
        start_method: how workers start.
        pin_memory: let the workers' batches lie in page-locked memory.
        drop_last: leave out a last batch that is not full.

    Raises:
        OptionError: more workers than the loader takes, or no batch.
    """
    if batch_size < 1:
        raise OptionError(f"batch_size must be at least 1, not {batch_size}")
    stream = BatchStream(
        dataset,
        workers=workers,
        start_method=start_method,
        prefetch=prefetch,
        pin_memory=pin_memory,
        size=size or dataset.size,
    )
    return Batches(dataset, stream, batch_size, train, seed, drop_last)
