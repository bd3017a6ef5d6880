"""Activations and losses of the catalogue as figures."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.gradients.catalogue import ENTRIES
from bench.gradients.entry import Arrays
from bench.gradients.figures.functions import Curve, functions

SLOPE = 0.1
"""Of the leaky ReLU's negative side."""
TARGET = 1.0
DELTA = 1.0
"""Where Huber's loss becomes linear."""


def _x(x: float) -> Arrays:
    return {"x": np.array([[x]]), "slope": np.array(SLOPE)}


def _prediction(prediction: float) -> Arrays:
    return {"prediction": np.array([prediction]), "target": np.array([TARGET]), "delta": np.array(DELTA)}


def _of_two(prediction: float) -> Arrays:
    """Two samples, the second on its target: a 1/N that is missing shows."""
    return {"prediction": np.array([prediction, TARGET]), "target": np.array([TARGET, TARGET])}


_BY_ID = {entry.id: entry for entry in ENTRIES}

ACTIVATIONS = (
    Curve(_BY_ID["sigmoid"], "sigmoid", _x, -6.0, 6.0),
    Curve(_BY_ID["tanh"], "tanh", _x, -3.0, 3.0),
    Curve(_BY_ID["relu"], "ReLU", _x, -3.0, 3.0, kinks=(0.0,)),
    Curve(_BY_ID["leaky-relu"], rf"leaky ReLU, $\alpha={SLOPE}$", _x, -3.0, 3.0, kinks=(0.0,)),
)
LOSSES = (
    Curve(_BY_ID["mse"], "squared error, $N=2$", _of_two, -2.0, 4.0),
    Curve(_BY_ID["mae"], "absolute error, $N=2$", _of_two, -2.0, 4.0, kinks=(TARGET,)),
    Curve(_BY_ID["huber"], rf"Huber, $\delta={DELTA:g}$", _prediction, -2.0, 4.0),
    Curve(_BY_ID["binary-cross-entropy"], "binary cross-entropy", _prediction, 0.05, 0.95),
)


def activations() -> Figure:
    """Sigmoid, tanh, ReLU and leaky ReLU with their derivatives."""
    return functions(ACTIVATIONS, "$x$", ("$f(x)$", r"$\mathrm{d}f/\mathrm{d}x$"))


def losses() -> Figure:
    """Mean squared and absolute error, Huber's loss and binary cross-entropy with their derivatives."""
    x = rf"$\hat{{y}}$, for $y={TARGET:g}$"
    return functions(LOSSES, x, ("$L$", r"$\partial L/\partial\hat{y}$"))
