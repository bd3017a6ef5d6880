"""Each format's fastest plain idiom: the limit that a loader's rate is held against.

A module is named as its loader and has ``idiom(dataset, crops)``: a context manager that gives a function from indices
to images (uint8, fresh memory, as they lie there: ``[B, C, H, W]`` or, decoded or cropped, ``[B, H, W, C]``) and labels
(int64), where the loader's own batches come out. It opens what it needs once, as the loader does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Read = Callable[[NDArray[np.int64]], tuple[NDArray[np.uint8], NDArray[np.int64]]]
DeviceRead = Callable[[NDArray[np.int64]], tuple[torch.Tensor, torch.Tensor]]
"""The same of a loader whose batches come out on a device. It need not wait for the device."""


class Crops(NamedTuple):
    """Which random square crops are made of images of many sizes: those of `loaders.images.crops.random_boxes`.

    Attributes:
        size: their side in pixels.
        seed: draws where they lie.
        epoch: draws it too.
    """

    size: int
    seed: int = 0
    epoch: int = 0


class NoIdiomError(Exception):
    """Why there is nothing plain to compare with, here or with these options."""
