"""The activations and their derivatives."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.gradients.catalogue.activations import ENTRIES
from bench.gradients.entry import Arrays
from bench.gradients.figures.functions import Curve, functions

SLOPE = 0.1
"""Of the leaky ReLU's negative side."""


def _alone(x: float) -> Arrays:
    return {"x": np.array([[x]])}


def _leaky(x: float) -> Arrays:
    return {"x": np.array([[x]]), "slope": np.array(SLOPE)}


_ENTRIES = {entry.id: entry for entry in ENTRIES}

CURVES = (
    Curve(_ENTRIES["sigmoid"], "sigmoid", _alone, -6.0, 6.0),
    Curve(_ENTRIES["tanh"], "tanh", _alone, -3.0, 3.0),
    Curve(_ENTRIES["relu"], "ReLU", _alone, -3.0, 3.0, kinks=(0.0,)),
    Curve(_ENTRIES["leaky-relu"], rf"leaky ReLU, $\alpha={SLOPE}$", _leaky, -3.0, 3.0, kinks=(0.0,)),
)


def activations() -> Figure:
    """Sigmoid, tanh, ReLU and leaky ReLU."""
    return functions(CURVES, "$x$", ("$f(x)$", r"$\mathrm{d}f/\mathrm{d}x$"))
