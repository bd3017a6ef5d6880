"""Accuracy and macro-F1 of a test split."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score


class Scores(NamedTuple):
    """Shares in [0, 1]."""

    accuracy: float
    macro_f1: float


def score(predicted: torch.Tensor, labels: torch.Tensor, classes: int) -> Scores:
    """Compare predicted with true classes, both int64 ``[N]``.

    Accuracy is the share of samples that are right (micro average); macro-F1 is the unweighted mean of the classes'
    F1. A class that is neither present nor predicted does not enter the mean (torchmetrics).
    """
    predicted, labels = predicted.cpu(), labels.cpu()
    classes = max(classes, 2)  # torchmetrics takes no single class; one that never occurs beside it changes nothing
    # Counting is exact in any order. In deterministic mode torchmetrics would count by a table of samples x classes
    # squared: 3 GB for Tiny ImageNet.
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        return Scores(
            float(multiclass_accuracy(predicted, labels, classes, average="micro")),
            float(multiclass_f1_score(predicted, labels, classes, average="macro")),
        )
    finally:
        torch.use_deterministic_algorithms(deterministic)
