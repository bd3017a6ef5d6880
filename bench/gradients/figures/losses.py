"""The losses and their derivatives by the prediction."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.gradients.catalogue import likelihoods
from bench.gradients.catalogue import losses as distances
from bench.gradients.entry import Arrays
from bench.gradients.figures.functions import Curve, functions

TARGET = 1.0
DELTA = 1.0
"""Where Huber's loss becomes linear."""


def _alone(prediction: float) -> Arrays:
    return {"prediction": np.array([prediction]), "target": np.array([TARGET])}


def _of_two(prediction: float) -> Arrays:
    """Two samples, the second on its target: a 1/N that is missing shows."""
    return {"prediction": np.array([prediction, TARGET]), "target": np.array([TARGET, TARGET])}


def _huber(prediction: float) -> Arrays:
    return {**_alone(prediction), "delta": np.array(DELTA)}


_ENTRIES = {entry.id: entry for entry in (*distances.ENTRIES, *likelihoods.ENTRIES)}

CURVES = (
    Curve(_ENTRIES["mse"], "squared error, $N=2$", _of_two, -2.0, 4.0),
    Curve(_ENTRIES["mae"], "absolute error, $N=2$", _of_two, -2.0, 4.0, kinks=(TARGET,)),
    Curve(_ENTRIES["huber"], rf"Huber, $\delta={DELTA:g}$", _huber, -2.0, 4.0),
    Curve(_ENTRIES["binary-cross-entropy"], "binary cross-entropy", _alone, 0.05, 0.95),
)


def losses() -> Figure:
    """Mean squared and absolute error, Huber's loss and binary cross-entropy."""
    x = rf"$\hat{{y}}$, for $y={TARGET:g}$"
    return functions(CURVES, x, ("$L$", r"$\partial L/\partial\hat{y}$"))
