"""Training parity: how far NumPy and PyTorch part when they train the same model from the same start."""

from __future__ import annotations

import dataclasses

import torch

from bench.gradients.trainable import Trainable

TOLERANCE = 1e-9
"""Largest ‖ours - theirs‖ / ‖theirs‖ of any parameter after any epoch."""
OPTIMUM_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Parity:
    """What came of one model's two trainings.

    Attributes:
        trainable: what was trained.
        steps: updates made by each side.
        worst: largest relative distance of any parameter tensor after any step, ‖ours - theirs‖ / ‖theirs‖.
        parameter: the parameter where it is.
        losses: mean loss of every epoch, by NumPy.
        torch_losses: the same by PyTorch.
        optimum: relative distance of the trained parameters from the closed solution, ``None`` if there is none.
        faults: sentences that say what is beyond its tolerance; empty if nothing is.
    """

    trainable: Trainable
    steps: int
    worst: float
    parameter: str
    losses: tuple[float, ...]
    torch_losses: tuple[float, ...]
    optimum: float | None
    faults: tuple[str, ...]


def train(trainable: Trainable, device: torch.device | None = None) -> Parity:
    """Train both sides and compare their parameters after every step."""
    raise NotImplementedError
