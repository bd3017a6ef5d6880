"""Reads any map-style PyTorch dataset of (image, label) as a source; errors name the sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from loaders.core.errors import LoaderError, OptionError
from loaders.reading.handover import begin_worker, explained
from loaders.store.samples import Block

_BLOCK = 64
_PROBES = 64
_MOST_CLASSES = 1_000_000


class Samples(Dataset[tuple[NDArray[np.uint8], int]]):
    """A dataset's samples as uint8 ``[H, W, C]`` and class number, each checked."""

    def __init__(self, split: str, dataset: Dataset[Any], classes: int) -> None:
        """Read nothing yet but the length of a dataset of (image, label).

        Raises:
            OptionError: the dataset has no length.
        """
        self.split, self._dataset, self._classes = split, dataset, classes
        kind = type(dataset).__name__
        if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
            raise OptionError(f"{kind} of the {split} split has no length; give a map-style dataset")
        try:
            self._length = len(dataset)
        except Exception as error:  # a user's dataset may raise any type
            raise OptionError(
                f"{kind} of the {split} split does not say its length ({_one_line(error)}); give a map-style dataset"
            ) from error

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """One sample.

        Raises:
            LoaderError: the dataset cannot return it, or it is not an image and the number of a class.
        """
        where = f"sample {index} of the {self.split} split"
        try:
            item = self._dataset[index]
            pair = isinstance(item, tuple | list) and len(item) == 2
            pixels, label = (_pixels(item[0]), _plain(item[1])) if pair else (None, None)
        except Exception as error:  # a user's dataset, or decoding an image only now, may raise any type
            raise LoaderError(f"{where} cannot be read ({_one_line(error)}); fix it or leave it out") from error
        if pixels is None:
            raise LoaderError(f"{where} is {_shown(item)}, not (image, label); give a dataset of such pairs")
        if pixels.dtype != np.uint8 or pixels.ndim != 3:
            raise LoaderError(
                f"the image of {where} is {pixels.dtype} {pixels.shape}, not uint8 of three dimensions; leave out "
                "transforms that make floats, and normalise batches instead"
            )
        if not pixels.size:
            raise LoaderError(f"the image of {where} has no pixels, {pixels.shape}; fix it or leave it out")
        if not isinstance(label, int):
            raise LoaderError(
                f"the label of {where} is {_shown(label)}, no integer; give the number of its class (of one-hot "
                "labels the argmax)"
            )
        if not 0 <= label < self._classes:
            raise LoaderError(
                f"the label of {where} is {label}, outside 0..{self._classes - 1}; fix it, or give all classes by "
                "classes=…"
            )
        return pixels, label

    def shapes(self) -> set[tuple[int, ...]]:
        """``(H, W, C)`` of some images spread over the dataset."""
        return {self[i][0].shape for i in sorted({i * len(self) // _PROBES for i in range(_PROBES)}) if len(self)}


class MapSplit:
    """A map-style dataset as a source's split."""

    encoding: Literal["raw", "jpeg"] = "raw"

    def __init__(self, samples: Samples, ragged: bool, workers: int) -> None:
        """Args: workers: number of processes that read it; none is started yet."""
        self._samples, self._workers = samples, workers
        self.shape: tuple[int, int, int] | None = None
        if not ragged and len(samples):
            height, width, channels = samples[0][0].shape
            self.shape = (channels, height, width)

    def __len__(self) -> int:
        return len(self._samples)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks of 64 samples; LoaderError for a sample that cannot be stored."""
        indices = range(start, len(self) if stop is None else stop)
        reader: DataLoader[Any] = DataLoader(
            Subset(self._samples, indices),
            batch_size=_BLOCK,
            num_workers=self._workers if len(indices) > _BLOCK else 0,
            collate_fn=list,
            worker_init_fn=begin_worker,
        )
        for samples in explained(reader):
            images = [pixels for pixels, _ in samples]
            labels = np.array([label for _, label in samples], np.int64)
            self._check_shapes(images, start)
            if self.shape is None:
                coloured = [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in images]
                yield Block(None, None, labels, pictures=coloured)
            else:
                yield Block(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)), None, labels)
            start += len(samples)

    def _check_shapes(self, images: Sequence[NDArray[np.uint8]], first: int) -> None:
        for index, image in enumerate(images, start=first):
            where, channels = f"sample {index} of the {self._samples.split} split", image.shape[2]
            if self.shape is None:
                if channels not in (1, 3):
                    raise LoaderError(
                        f"the image of {where} has {channels} channels, {image.shape}, and where images have many "
                        "sizes each has 1 or 3; convert it (a tensor is [C, H, W], an array [H, W, C])"
                    )
            elif image.shape != (expected := (*self.shape[1:], self.shape[0])):
                remedy = "say ragged=True" if {channels, expected[2]} <= {1, 3} else "give all images as many channels"
                raise LoaderError(f"the image of {where} is {image.shape} where the first is {expected}; {remedy}")


def class_names(datasets: Mapping[str, Dataset[Any]], classes: Sequence[str] | int | None) -> tuple[str, ...]:
    """Names of the classes, from the argument or from the datasets' attribute ``classes``.

    Raises:
        OptionError: neither exists, the splits' datasets disagree, or there is no class.
    """
    if classes is not None:
        return _names(classes)
    names = {
        split: _names(own) for split, each in datasets.items() if (own := getattr(each, "classes", None)) is not None
    }
    if not names:
        raise OptionError("the dataset does not say its classes; give classes=… as names or as a number")
    first = next(iter(names))
    for split, other in names.items():
        if other != names[first]:
            raise OptionError(
                f"the {first} and {split} splits have different classes, or in another order, so that labels differ in "
                "meaning; give both the same classes, or classes=… if the labels agree"
            )
    return names[first]


def _names(classes: Any) -> tuple[str, ...]:
    if isinstance(classes, int | np.integer) and not isinstance(classes, bool):
        if not 1 <= classes <= _MOST_CLASSES:
            raise OptionError(
                f"there must be 1 to {_MOST_CLASSES:,} classes, not {classes}; give their names or number"
            )
        return tuple(map(str, range(classes)))
    if isinstance(classes, str | bytes | bool) or not hasattr(classes, "__iter__"):
        raise OptionError(f"classes={_shown(classes)} are no classes; give a list of their names, or their number")
    names = tuple(" ".join(map(str, name)) if isinstance(name, tuple | list) else str(name) for name in classes)
    if not names:
        raise OptionError("classes names no class; give a list of their names, or their number")
    return names


def _pixels(image: Any) -> NDArray[Any]:
    """An image as ``[H, W, C]``; anything else is returned for the caller to reject."""
    if isinstance(image, Image.Image):
        pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    elif isinstance(image, torch.Tensor):
        pixels = image.detach().cpu().numpy()
        pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
    else:
        pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _plain(label: Any) -> Any:
    """A label without the tensor or array around it."""
    if isinstance(label, torch.Tensor):
        label = label.detach().cpu().numpy()
    return label.item() if isinstance(label, np.ndarray | np.generic) and label.size == 1 else label


def _shown(value: Any) -> str:
    """A short description of a value, on one line."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return repr(value)[:40]
    length = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"a {type(value).__name__}{length}"


def _one_line(error: Exception) -> str:
    return ": ".join(part for part in (type(error).__name__, " ".join(str(error).split())[:200]) if part)
