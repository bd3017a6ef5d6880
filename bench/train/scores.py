"""Accuracy and macro-F1 of a test split."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Scores(NamedTuple):
    """Shares in [0, 1]."""

    accuracy: float
    macro_f1: float


def score(predicted: torch.Tensor, labels: torch.Tensor, classes: int) -> Scores:
    """Compare predicted with true classes, both int64 ``[N]``.

    Accuracy is the share of samples that are right (micro average); macro-F1 is the unweighted mean of the classes'
    F1 = 2 TP / (2 TP + FP + FN). A class that is neither present nor predicted does not enter the mean.
    """
    predicted, labels = predicted.cpu(), labels.cpu()
    right = predicted == labels
    # Of each class how often it was rightly predicted, and how often it was predicted or present.
    hits = torch.bincount(labels[right], minlength=classes).double()
    both = (torch.bincount(predicted, minlength=classes) + torch.bincount(labels, minlength=classes)).double()
    occurs = both > 0
    return Scores(float(right.double().mean()), float((2 * hits[occurs] / both[occurs]).mean()))
