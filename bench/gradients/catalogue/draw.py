"""Cases that many entries share: arrays of the shapes that show most faults, and values of any magnitude."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.gradients.entry import Array, Case

SHAPES: dict[str, tuple[int, ...]] = {
    "batch of 1, 1 feature": (1, 1),
    "batch of 1": (1, 5),
    "1 feature": (6, 1),
    "square": (4, 4),
    "odd": (7, 3),
    "images": (2, 3, 5, 4),
}
"""What the shapes are called, and the shapes, batch dimension first."""

SIZES: dict[str, tuple[int, int, int]] = {
    "batch of 1, 1 feature, 1 output": (1, 1, 1),
    "batch of 1": (1, 3, 2),
    "batch of 1, square": (1, 3, 3),
    "1 feature": (6, 1, 3),
    "1 output": (5, 4, 1),
    "square": (4, 4, 4),
    "odd": (7, 5, 3),
}
"""Samples, features and outputs of linear models, by name."""

BESIDE = np.array([[0.0, 1e-9, -1e-9], [-0.0, 1e-7, -1e-7], [0.5, -0.5, 2.0]])
"""Points at 0 and beside it, and some that are not."""

LARGE = np.array([[-1e4, -1e3, -100.0], [-20.0, 0.5, 20.0], [100.0, 1e3, 1e4]])
"""Points where exponentials overflow, and some where they do not; 0 is not among them."""


def arrays(rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """A standard normal array of each of ``SHAPES``."""
    for name, shape in SHAPES.items():
        yield name, rng.standard_normal(shape)


def linear(rng: np.random.Generator) -> Iterator[Case]:
    """Cases of standard normal ``x`` [samples, in], ``W`` [out, in] and ``b`` [out] of each of ``SIZES``."""
    for name, (samples, features, outputs) in SIZES.items():
        yield Case(name, rows(rng, samples, features, outputs))


def rows(rng: np.random.Generator, samples: int, features: int, outputs: int) -> dict[str, Array]:
    """Standard normal ``x`` [samples, features], ``W`` [outputs, features] and ``b`` [outputs]."""
    return {
        "x": rng.standard_normal((samples, features)),
        "W": rng.standard_normal((outputs, features)),
        "b": rng.standard_normal(outputs),
    }
