"""Each format's fastest plain idiom, which a loader's rate is compared with.

An idiom is a context manager ``idiom(dataset, crops)`` that gives a function from indices to images (uint8, fresh
memory, as they lie there: ``[B, C, H, W]`` or, decoded or cropped, ``[B, H, W, C]``) and labels (int64), where the
loader's own batches come out. Its attribute ``into``, if it has one, is the same into memory that the next batch
overwrites. Like the loader it opens its files once, at the start. It raises a `NoIdiomError` where
there is no room for the pixels once more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from loaders import Indices, StoreDataset

Read = Callable[[Indices], tuple[NDArray[np.uint8], NDArray[np.int64]]]
DeviceRead = Callable[[Indices], tuple[torch.Tensor, torch.Tensor]]
"""A ``Read`` of a loader whose batches come out on a device. It need not wait for the device."""
AnyRead = Read | DeviceRead

BUILT_IN = {
    **{name: name for name in ("filesystem", "gpu_mmap", "hdf5", "lmdb", "postgres", "sqlite")},
    "memory": "flat",
    "mmap": "flat",
}
"""Loader's name to the module of this package with its ``idiom``."""


class Crops(NamedTuple):
    """Random square crops of images of many sizes, as `loaders.images.crops.random_boxes` draws them."""

    size: int  # of their side, in pixels
    seed: int = 0
    epoch: int = 0


Idiom = Callable[[StoreDataset, Crops | None], AbstractContextManager[AnyRead]]


class NoIdiomError(Exception):
    """Why there is nothing plain to compare with, on this machine or with these options."""


def check_room(needed: int, where: torch.device) -> None:
    """Refuse, by a `NoIdiomError`, to hold again so many bytes that they are more than half of the free memory.

    The loader holds them, too: the comparison could end a run that goes well without it.
    """
    if where.type == "cuda":
        free, what = torch.cuda.mem_get_info(where)[0], "the device"
    else:
        free, what = psutil.virtual_memory().available, "this machine's memory"
    if needed > free // 2:
        raise NoIdiomError(
            f"it would hold the split once more, {needed / 1e9:.2f} GB of the {free / 1e9:.2f} GB that {what} has free"
        )
