"""The short way for one's own programs: prepare any PyTorch dataset, open a store, loop over its batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

from loaders.base import ImageDataset
from loaders.batch import Batch
from loaders.errors import LoaderError, OptionError
from loaders.handover import begin_worker, explained
from loaders.options import parse_options
from loaders.registry import load
from loaders.split import Block, DatasetInfo, Progress
from loaders.store import StoreInfo, read_manifest
from loaders.stream import BatchStream, StartMethod, cut, epoch_order

_BLOCK = 64
_PROBES = 64


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

    An image is a PIL image, a uint8 tensor ``[C, H, W]`` or a uint8 array ``[H, W, C]``; a label an integer. A
    transform to floats would be undone: store the pixels, and normalise on the device.

    Args:
        data: the dataset, whose split is then called "train", or datasets by the names of their splits.
        loader: the format's name; see ``loader_names``.
        path: folder of the store; replaced when the new store is complete.
        name: what the manifest calls the data.
        classes: their names or number; None: the dataset's attribute ``classes``, as torchvision's have it.
        ragged: whether the images have many sizes; None: as a sample of them has.
        workers: processes that read the dataset.
        progress: called with the number of samples done since the last call.
        fingerprint: identifies the data, such as a path with a date or a checksum; with it, a preparation that was
            killed goes on where it was, and without it begins anew.
        options: of the loader.

    Raises:
        LoaderError: images or labels that cannot be stored, a full disk.

    Example:
        >>> from torchvision.datasets import ImageFolder  # doctest: +SKIP
        >>> prepare(ImageFolder("photos/train"), "mmap", "stores/photos")  # doctest: +SKIP
    """
    given = dict(data) if isinstance(data, Mapping) else {"train": data}
    if not given:
        raise OptionError("there is no split to prepare; give a dataset, or datasets by name")
    names = _class_names(given, classes)
    if ragged is None:
        ragged = len({_pixels(dataset[i][0]).shape for dataset in given.values() for i in _probes(dataset)}) > 1
    splits = {split: _MapSplit(dataset, ragged, workers) for split, dataset in given.items()}
    found = load(loader)
    info = DatasetInfo(name=name, official=False, synthetic=False, classes=names, fingerprint=fingerprint)
    return found.prepare(splits, path, parse_options(found.Options, options, loader), dataset=info, progress=progress)


def open_dataset(
    path: Path | str, split: str = "train", *, size: int | None = None, **options: Any
) -> ImageDataset[Any]:
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
    return load(info.loader)(path, split, {**info.options, **options}, size=size)


class Batches:
    """Batches of a dataset, made by `make_loader`. Iterating gives one epoch and goes on to the next.

    Attributes:
        epoch: number of the next epoch; order and crops depend on it. May be set.
    """

    def __init__(
        self, dataset: ImageDataset[Any], stream: BatchStream, batch_size: int, train: bool, seed: int, drop_last: bool
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
    dataset: ImageDataset[Any],
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


class _MapSplit:
    """A map-style dataset as a source of a store."""

    encoding: Literal["raw", "jpeg"] = "raw"

    def __init__(self, dataset: Dataset[Any], ragged: bool, workers: int) -> None:
        self._dataset, self._workers = dataset, workers
        self._ragged = ragged
        self.shape: tuple[int, int, int] | None = None
        if not ragged and len(self):
            height, width, channels = _pixels(dataset[0][0]).shape
            self.shape = (channels, height, width)

    def __len__(self) -> int:
        return _length(self._dataset)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of 64 samples, read by worker processes if there are any."""
        chosen = range(start, len(self) if stop is None else stop)
        reader: DataLoader[Any] = DataLoader(
            Subset(self._dataset, chosen),
            batch_size=_BLOCK,
            num_workers=self._workers if len(chosen) > _BLOCK else 0,
            collate_fn=_uncollated,
            worker_init_fn=begin_worker,
        )
        done = start
        for samples in explained(reader):
            images = [_pixels(image) for image, _ in samples]
            labels = np.array([_label(label, done + i) for i, (_, label) in enumerate(samples)], np.int64)
            if self.shape is None:
                yield Block(None, None, labels, pictures=[_coloured(image) for image in images])
            else:
                wanted = (*self.shape[1:], self.shape[0])
                for i, image in enumerate(images):
                    if image.shape != wanted:
                        raise LoaderError(
                            f"sample {done + i} is {image.shape} where the first is {wanted}; say ragged=True"
                        )
                yield Block(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)), None, labels)
            done += len(samples)


def _uncollated(samples: list[Any]) -> list[Any]:
    return samples


def _length(dataset: Dataset[Any]) -> int:
    if not isinstance(dataset, Sized):
        raise OptionError(f"{type(dataset).__name__} has no length; give a map-style dataset")
    return len(dataset)


def _probes(dataset: Dataset[Any]) -> list[int]:
    count = _length(dataset)
    return sorted({i * count // _PROBES for i in range(_PROBES)}) if count else []


def _class_names(given: Mapping[str, Dataset[Any]], classes: Sequence[str] | int | None) -> tuple[str, ...]:
    if classes is None:
        classes = next((found for dataset in given.values() if (found := getattr(dataset, "classes", None))), None)
    if classes is None:
        raise OptionError("the dataset does not say its classes; give classes=… as names or as their number")
    if isinstance(classes, int):
        return tuple(str(label) for label in range(classes))
    return tuple(name if isinstance(name, str) else " ".join(map(str, name)) for name in classes)


def _label(label: Any, index: int) -> int:
    if isinstance(label, torch.Tensor | np.ndarray | np.generic):
        label = label.item()
    if not isinstance(label, int):
        raise LoaderError(f"the label of sample {index} is {label!r}, no integer; give a dataset of (image, label)")
    return label


def _pixels(image: Any) -> NDArray[np.uint8]:
    """An image as uint8 ``[H, W, C]``."""
    if isinstance(image, Image.Image):
        pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    elif isinstance(image, torch.Tensor) and image.ndim == 3:
        pixels = image.permute(1, 2, 0).numpy()
    else:
        pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise LoaderError(
            f"an image is {pixels.dtype} {pixels.shape}, not uint8 of three dimensions; leave out transforms that make "
            "floats, and normalise batches instead"
        )
    return pixels


def _coloured(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of a ragged split all images have three channels."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
