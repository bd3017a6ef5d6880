"""The losses on probabilities: cross-entropy of two classes, from probabilities and logits, and of many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.nn import functional

from bench.gradients.catalogue import draw
from bench.gradients.catalogue.through import loss_gradient_of, loss_of
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict, Written
from bench.gradients.layers import BCE, CCE, BCEWithLogits


def _bce_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, shape in draw.SHAPES.items():
        labels = rng.integers(0, 2, shape).astype(np.float64)
        yield Case(name, {"prediction": rng.uniform(0.02, 0.98, shape), "target": labels})
    shape = (5, 3)
    yield Case("soft targets", {"prediction": rng.uniform(0.02, 0.98, shape), "target": rng.uniform(0, 1, shape)})
    sure, other = np.array([[0.0, 1.0, 0.5]]), np.array([[1.0, 0.0, 1.0]])
    yield Case("sure and right", {"prediction": sure, "target": np.array([[0.0, 1.0, 1.0]])}, kind="extreme")
    yield Case("sure and wrong", {"prediction": sure, "target": other}, kind="extreme")
    yield Case("nearly sure", {"prediction": np.array([[1e-5, 1 - 1e-5, 1e-9]]), "target": other}, kind="extreme")


def _logits_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, z in draw.arrays(rng):
        labels = rng.integers(0, 2, z.shape).astype(np.float64)
        yield Case(name, {"prediction": 2 * z, "target": labels})
    yield Case("soft targets", {"prediction": rng.standard_normal((5, 3)), "target": rng.uniform(0, 1, (5, 3))})
    yield Case("at 0", {"prediction": np.array([[0.0, -0.0]]), "target": np.array([[1.0, 0.0]])})
    for name, label in (("large, class 0", 0.0), ("large, class 1", 1.0)):
        yield Case(name, {"prediction": draw.LARGE, "target": np.full((3, 3), label)}, kind="extreme")


def _cce_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, (samples, classes) in {
        "batch of 1, 1 class": (1, 1),
        "batch of 1": (1, 5),
        "square": (4, 4),
        "odd": (7, 3),
    }.items():
        logits = 2 * rng.standard_normal((samples, classes))
        yield Case(name, {"prediction": logits, "target": rng.integers(0, classes, samples)})
    large = np.array([[1e4, -1e4, 0.0], [1e4, 1e4 + 1, 1e4 - 1], [-1e4, -1e4, -1e4], [0.0, 1e4, 1.0]])
    yield Case("large", {"prediction": large, "target": np.array([1, 2, 0, 1])}, kind="extreme")


def _bce_written(inputs: Arrays, g: Array) -> Gradients:
    p, y = inputs["prediction"], inputs["target"]
    return {"prediction": np.asarray(-(y / p - (1 - y) / (1 - p)) * g)}


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="binary-cross-entropy",
        title="binary cross-entropy of probabilities",
        group="loss",
        formula=r"-\sum_i \left[ y_i \ln \hat{y}_i + (1 - y_i) \ln (1 - \hat{y}_i) \right]",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \frac{\hat{y}_i - y_i}{\hat{y}_i (1 - \hat{y}_i)}",
        forward=loss_of(lambda _: BCE()),
        corrected=loss_gradient_of(lambda _: BCE()),
        torch=lambda t: functional.binary_cross_entropy(t["prediction"], t["target"], reduction="sum"),
        wrt=("prediction",),
        cases=_bce_cases,
        written=(
            Written(
                name="derivation",
                latex=r"-\sum_i \left( \frac{y_i}{\hat{y}_i} - \frac{1 - y_i}{1 - \hat{y}_i} \right) \cdot"
                r" \frac{\partial g}{\partial w}",
                gradient=_bce_written,
                expected=Verdict.AGREES,
                remark="divides by zero where a probability is exactly 0 or 1, and gives NaN where it is right there",
                overflows=True,
            ),
        ),
        targets=(BCE._backward,),
    ),
    Entry(
        id="binary-cross-entropy-logits",
        title="binary cross-entropy of logits",
        group="loss",
        formula=r"\sum_i \left[ \ln(1 + e^{z_i}) - y_i z_i \right]",
        corrected_latex=r"\frac{\partial L}{\partial z_i} = \sigma(z_i) - y_i",
        forward=loss_of(lambda _: BCEWithLogits()),
        corrected=loss_gradient_of(lambda _: BCEWithLogits()),
        torch=lambda t: functional.binary_cross_entropy_with_logits(t["prediction"], t["target"], reduction="sum"),
        wrt=("prediction",),
        cases=_logits_cases,
        targets=(BCEWithLogits._backward,),
    ),
    Entry(
        id="categorical-cross-entropy",
        title="categorical cross-entropy with softmax",
        group="loss",
        formula=r"-\frac{1}{N} \sum_{n=1}^{N} \ln \operatorname{softmax}(z_n)_{y_n}",
        corrected_latex=r"\frac{\partial L}{\partial z_{nk}} = \frac{1}{N}"
        r" \left( \operatorname{softmax}(z_n)_k - [k = y_n] \right)",
        forward=loss_of(lambda _: CCE()),
        corrected=loss_gradient_of(lambda _: CCE()),
        torch=lambda t: functional.cross_entropy(t["prediction"], t["target"]),
        wrt=("prediction",),
        cases=_cce_cases,
        targets=(CCE._backward,),
    ),
)
