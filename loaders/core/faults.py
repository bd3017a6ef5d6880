"""Faults of a loader itself: what it raises that is no error of ours, and batches that are not what was agreed."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from loaders.core.batch import Batch
from loaders.core.errors import LoaderError, LoaderFaultError, StoreError

_PASSING = (LoaderError, MemoryError, torch.OutOfMemoryError)
"""Errors that say themselves what is wrong."""
_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""The process ran out of something; the store is not to blame."""


@contextlib.contextmanager
def blamed(loader: str, doing: str, store: Path) -> Iterator[None]:
    """Name the loader and what it was doing in whatever it raises; errors of ours pass.

    Raises:
        StoreError: the system refused a file.
        LoaderFaultError: anything else.
    """
    try:
        yield
    except Exception as error:
        raise_blamed(error, loader, doing, store)


def raise_blamed(error: Exception, loader: str, doing: str, store: Path) -> NoReturn:
    """The same for an error that was caught: a context manager would cost a batch a microsecond."""
    # PyTorch notices a dead worker by a signal, and a failed kernel late: both in whatever is just being done.
    if isinstance(error, _PASSING) or "DataLoader worker" in str(error) or "CUDA error" in str(error):
        raise error
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in _RESOURCES:
            raise error
        place = error.filename or store
        if isinstance(place, bytes):
            place = place.decode(errors="replace")
        raise StoreError(
            f"loader {loader} failed {doing}: {place}: {error.strerror}; "
            f"mend that or remove {store} and prepare it again"
        ) from error
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    raise LoaderFaultError(
        f"loader {loader} failed {doing}: {type(error).__name__}: {lines[0].strip()}; this is a fault of the loader, "
        "--debug shows where"
    ) from error


def check_batch(batch: object, count: int, shape: tuple[int, int, int], device: str, loader: str) -> None:
    """See that a batch has the type and shape that everybody relies on.

    Args:
        batch: what the loader gave.
        count: samples asked for.
        shape: ``(C, H, W)`` of each image.
        device: type of the loader's device.
        loader: its name.

    Raises:
        LoaderFaultError: it has not.
    """
    wanted = f"{count} images uint8 {list(shape)} and their int64 labels on {device}"
    if not (
        isinstance(batch, Batch) and isinstance(batch.images, torch.Tensor) and isinstance(batch.labels, torch.Tensor)
    ):
        raise LoaderFaultError(f"loader {loader} gave a {type(batch).__name__} where a Batch of {wanted} was due")
    images, labels = batch
    right = (torch.uint8, (count, *shape), torch.int64, (count,), device, device)
    if (images.dtype, images.shape, labels.dtype, labels.shape, images.device.type, labels.device.type) != right:
        raise LoaderFaultError(
            f"loader {loader} gave images {_described(images)} and labels {_described(labels)} where {wanted} were due"
        )


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} on {tensor.device.type}"


def check_labels(
    labels: NDArray[np.int64], classes: int, split: str, store: Path, indices: NDArray[np.int64] | None = None
) -> None:
    """See that labels read from a store are of its classes: another one would end the training or the device.

    Args:
        labels: int64 ``[B]``, in any strides.
        classes: number of classes.
        split: name of the split.
        store: its folder.
        indices: of the samples, ``[B]``; None: these are all of them.

    Raises:
        StoreError: one is not.
    """
    # Read as unsigned, a negative label is a huge one.
    if len(labels) and int(labels.view(np.uint64).max()) >= classes:
        place = int(np.argmax(labels.view(np.uint64)))
        raise StoreError(
            f"the label of sample {place if indices is None else indices[place]} of the {split} split in {store} is "
            f"{labels[place]}, outside "
            f"0..{classes - 1}: the store is damaged; remove it and prepare it again"
        )
