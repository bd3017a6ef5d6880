"""A model that is trained twice, by NumPy and by PyTorch, from the same start on the same batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from bench.gradients.entry import Array, Arrays, Entry, Gradients


@dataclasses.dataclass(frozen=True)
class Trainable:
    """How one entry of the catalogue, whose ``forward`` is a loss, is trained.

    Attributes:
        entry: its ``forward`` is the loss, ``corrected`` its gradient, ``torch`` the same loss for autograd.
        parameters: the inputs of the entry that are trained; all others are data or numbers.
        start: draws the parameters' first values, float64.
        data: the other inputs, float64 or integer. Those of ``batched`` have one row a sample.
        batched: names of the data that are cut into batches.
        batch_size: samples in a batch; ``None`` for all at once.
        epochs: passes over the data.
        rate: step size of SGD.
        momentum: of SGD.
        about_data: what the data are and where they come from, in one line.
        kink: why a kink does not part the two sides, or after how many epochs it does and why; empty if it is smooth.
        margin: how far the inputs of a step are from the nearest kink: the smallest magnitude of what is compared with
            zero. ``None`` if the model is smooth, or the distance is not measured.
        optimum: the parameters that training must end near, from a closed solution; ``None`` if there is none.
    """

    entry: Entry
    parameters: tuple[str, ...]
    start: Callable[[np.random.Generator], Gradients]
    data: Callable[[], dict[str, Array]]
    batched: tuple[str, ...]
    batch_size: int | None
    epochs: int
    rate: float
    about_data: str
    momentum: float = 0.0
    kink: str = ""
    margin: Callable[[Arrays], float] | None = None
    optimum: Callable[[], Gradients] | None = None
