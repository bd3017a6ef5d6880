"""The unit of work: a batch, the request for one, and how PyTorch's collation passes it through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from loaders.core.errors import LoaderFaultError, StoreError

if TYPE_CHECKING:  # torch takes seconds to import: only what needs it pays
    import torch

Indices = NDArray[np.int64]


class Batch(NamedTuple):
    """Images and labels that the receiver owns."""

    images: torch.Tensor  # uint8 [B, C, H, W], in contiguous or channels-last memory
    labels: torch.Tensor  # int64 [B]


class Sample(NamedTuple):
    """One image, uint8 ``[C, H, W]``, and its label."""

    image: torch.Tensor
    label: int


class BatchRequest(NamedTuple):
    """A batch sampler may yield it instead of a list of indices.

    It needs no Python code per sample, and carries what a random crop at read time needs into worker processes.
    """

    indices: Indices  # int64 [B]
    seed: int = 0  # of the run
    epoch: int = 0  # its number, from 0
    size: int | None = None  # side of the square crops in pixels; None: the dataset's
    train: bool = False  # random crops rather than central ones
    checksums: bool = False  # return uint8 [B, 8] instead of images: see loaders.store.checksums


def _join_batches(items: Sequence[Batch], **_: Any) -> Batch:
    if len(items) == 1:  # the usual case: no copy
        return items[0]
    import torch

    return Batch(torch.cat([b.images for b in items]), torch.cat([b.labels for b in items]))


def _stack_samples(items: Sequence[Sample], **_: Any) -> Batch:
    import torch

    labels = torch.tensor([s.label for s in items], dtype=torch.int64)
    return Batch(torch.stack([s.image for s in items]), labels)


_COLLATE: dict[Any, Callable[..., Any]] = {Batch: _join_batches, Sample: _stack_samples}


def collate(items: Sequence[Any]) -> Any:
    """Join what a dataset returned into one batch; other types go to PyTorch's ``default_collate``."""
    from torch.utils.data import default_collate

    join: Callable[..., Any] = _COLLATE.get(type(items[0]), default_collate)
    return join(list(items))


def register_collation() -> bool:
    """Add our types to PyTorch's ``default_collate``, so that no ``collate_fn`` is needed.

    Returns:
        False if this PyTorch has no such hook; then pass ``collate_fn=loaders.collate``.
    """
    try:
        from torch.utils.data._utils.collate import default_collate_fn_map
    except ImportError:
        return False
    default_collate_fn_map.update(_COLLATE)
    return True


def _is_plain(indices: Any) -> TypeGuard[Indices]:
    """Whether these are flat, contiguous int64 indices, as formats take them."""
    kind = type(indices) is np.ndarray and indices.dtype == np.int64 and indices.ndim == 1
    return kind and indices.flags.c_contiguous


def all_plain(batches: Sequence[Any], length: int) -> bool:
    """Whether `as_indices` would give all of these as they are, checked at once."""
    return all(map(_is_plain, batches)) and _within(np.concatenate(batches), length)


def _within(indices: Indices, length: int) -> bool:
    """Whether all indices lie within ``[0, length)``.

    Whatever uses wide vector instructions, as ``max`` does, slows down the copies that follow by more than it takes.
    """
    try:
        np.ravel_multi_index((indices,), (length,))
    except ValueError:
        return False
    return True


def as_indices(indices: Any, length: int) -> Indices:
    """A list, array, tensor or ``BatchRequest`` as int64 indices within ``[0, length)``.

    Negative indices count from the end, as in a list.

    Raises:
        IndexError: an index is outside ``[-length, length)``.
        TypeError: not a flat sequence of integers.
    """
    if isinstance(indices, BatchRequest):
        indices = indices.indices
    if _is_plain(indices) and len(indices) and _within(indices, length):
        return indices
    array = np.asarray(indices)
    if array.dtype.kind not in "iu":
        if array.size:
            raise TypeError(f"indices must be integers, not {array.dtype}")
        array = array.astype(np.int64)
    if array.ndim != 1:
        raise TypeError(f"indices must be a flat sequence, not of shape {array.shape}")
    if array.dtype.kind == "u" and array.size and int(array.max()) >= length:
        raise IndexError(f"index {int(array.max())} is out of range for {length} samples")
    array = np.ascontiguousarray(array, dtype=np.int64)
    wrong = (array < -length) | (array >= length)
    if wrong.any():
        raise IndexError(f"index {int(array[wrong][0])} is out of range for {length} samples")
    return np.where(array < 0, array + length, array)


def check_batch(batch: Batch, count: int, shape: tuple[int, int, int], device: str, loader: str) -> None:
    """Check type, shape and device of a loader's batch of ``count`` images of ``shape``, ``(C, H, W)``.

    Raises:
        LoaderFaultError: one of them is wrong.
    """
    import torch

    images, labels = batch
    right = (torch.uint8, (count, *shape), torch.int64, (count,), device, device)
    if (images.dtype, images.shape, labels.dtype, labels.shape, images.device.type, labels.device.type) != right:
        raise LoaderFaultError(
            f"loader {loader} gave images {_described(images)} and labels {_described(labels)} where {count} "
            f"images uint8 {list(shape)} and their int64 labels on {device} were due"
        )


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} on {tensor.device.type}"


def check_labels(
    labels: NDArray[np.int64], classes: int, split: str, store: Path, indices: NDArray[np.int64] | None = None
) -> None:
    """Check labels read from a store, int64 ``[B]`` with any strides: a wrong one may crash training or the device.

    ``indices`` are those of the samples, ``[B]``; None: all samples of the split.

    Raises:
        StoreError: a label is outside the classes.
    """
    # Read as unsigned, a negative label is a huge one.
    if len(labels) and int(labels.view(np.uint64).max()) >= classes:
        i = int(np.argmax(labels.view(np.uint64)))
        raise StoreError(
            f"the label of sample {i if indices is None else indices[i]} of the {split} split in {store} is "
            f"{labels[i]}, outside 0..{classes - 1}: the store is damaged; remove it and prepare it again"
        )
