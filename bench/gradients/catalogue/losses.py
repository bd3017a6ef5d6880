"""The losses: on distances (squared, halved, absolute, Huber's) and on probabilities (cross-entropies).

Where the notes multiply by the derivative of the prediction by a model's parameter, the prediction itself is the
variable here, whose derivative is 1; the models check the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from torch.nn import functional

from bench.gradients.catalogue import draw
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradient, Gradients, Verdict, Written
from bench.gradients.layers import BCE, CCE, MAE, MSE, BCEWithLogits, HalvedSquaredError, Huber
from bench.gradients.through import of_loss


def _smooth_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, prediction in draw.arrays(rng):
        yield Case(name, {"prediction": prediction, "target": rng.standard_normal(prediction.shape)})
    yield Case("large", {"prediction": draw.LARGE, "target": rng.standard_normal((3, 3))}, kind="extreme")


def _absolute_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _smooth_cases(rng)
    yield Case("at and beside the target", {"prediction": draw.BESIDE, "target": np.zeros((3, 3))}, kind="kink")
    same = rng.standard_normal((5, 2))
    yield Case("all on target", {"prediction": same, "target": same}, kind="kink")


def _huber_cases(rng: np.random.Generator) -> Iterator[Case]:
    for (name, prediction), delta in zip(draw.arrays(rng), (1.0, 0.5, 1.5, 1.0, 0.1, 2.0), strict=True):
        target = prediction + 2 * rng.standard_normal(prediction.shape)
        yield Case(name, {"prediction": prediction, "target": target, "delta": np.array(delta)})
    zeros = np.zeros((3, 3))
    at = np.array([[0.5, -0.5, 0.0], [0.5 + 1e-7, 0.5 - 1e-7, 0.25], [-0.5 - 1e-7, -0.5 + 1e-7, 2.0]])
    yield Case("at and beside delta", {"prediction": at, "target": zeros, "delta": np.array(0.5)}, kind="kink")
    yield Case("on target", {"prediction": draw.BESIDE, "target": zeros, "delta": np.array(1.0)})
    yield Case("large", {"prediction": draw.LARGE, "target": zeros, "delta": np.array(1.0)}, kind="extreme")
    yield Case("large delta", {"prediction": draw.LARGE, "target": zeros, "delta": np.array(1e3)}, kind="extreme")


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
    sizes = {"batch of 1, 1 class": (1, 1), "batch of 1": (1, 5), "square": (4, 4), "odd": (7, 3)}
    for name, (samples, classes) in sizes.items():
        logits = 2 * rng.standard_normal((samples, classes))
        yield Case(name, {"prediction": logits, "target": rng.integers(0, classes, samples)})
    large = np.array([[1e4, -1e4, 0.0], [1e4, 1e4 + 1, 1e4 - 1], [-1e4, -1e4, -1e4], [0.0, 1e4, 1.0]])
    yield Case("large", {"prediction": large, "target": np.array([1, 2, 0, 1])}, kind="extreme")


def _times(derivative: Callable[[Arrays], Array]) -> Gradient:
    return lambda inputs, g: {"prediction": np.asarray(derivative(inputs) * g)}


def _huber_written(inputs: Arrays) -> Array:
    distance, delta = inputs["target"] - inputs["prediction"], inputs["delta"]
    return np.where(np.abs(distance) <= delta, -distance, -delta * distance / np.abs(distance))


def _sum_of_distances_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"prediction": g * np.sign(inputs["prediction"] - inputs["target"])}


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="mse",
        title="mean squared error",
        formula=r"\frac{1}{N} \sum_{i=1}^{N} (\hat{y}_i - y_i)^2",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \frac{2}{N} (\hat{y}_i - y_i)",
        torch=lambda t: functional.mse_loss(t["prediction"], t["target"]),
        cases=_smooth_cases,
        written=(
            Written(
                "derivation",
                r"\frac{2}{N} \sum_{i=0}^{N} (\hat{y}_i - y_i) \cdot \frac{\partial g}{\partial w}",
                _times(lambda i: 2 / i["prediction"].size * (i["prediction"] - i["target"])),
                remark="the sum is typed from i = 0 to N, which would be N + 1 terms; read as N",
            ),
            Written(
                "class",
                r"2 (\hat{y} - y)",
                _times(lambda i: 2 * (i["prediction"] - i["target"])),
                Verdict.WRONG,
                "1/N is missing, so the gradient is N times too large; right for one sample only",
            ),
        ),
        **of_loss(MSE),
    ),
    Entry(
        id="halved-squared-error",
        title="squared error, halved",
        formula=r"\frac{1}{2} \sum_i (y_i - \hat{y}_i)^2",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \hat{y}_i - y_i",
        torch=lambda t: functional.mse_loss(t["prediction"], t["target"], reduction="sum") / 2,
        cases=_smooth_cases,
        written=(
            Written(
                "derivation",
                r"\sum_i (\hat{y}_i - y_i) \cdot \frac{\partial g}{\partial w}",
                _times(lambda i: i["prediction"] - i["target"]),
            ),
        ),
        **of_loss(HalvedSquaredError),
    ),
    Entry(
        id="mae",
        title="mean absolute error",
        formula=r"\frac{1}{N} \sum_{i=1}^{N} |\hat{y}_i - y_i|",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \frac{1}{N} \operatorname{sgn}(\hat{y}_i - y_i)",
        torch=lambda t: functional.l1_loss(t["prediction"], t["target"]),
        cases=_absolute_cases,
        written=(
            Written(
                "chain",
                r"a = y - M(x),\quad \frac{\partial |a|}{\partial a} \cdot \frac{\partial M}{\partial w}"
                r" = \frac{a}{|a|} \cdot \frac{\partial M}{\partial w}",
                _times(lambda i: (i["target"] - i["prediction"]) / np.abs(i["target"] - i["prediction"])),
                Verdict.WRONG,
                "the inner derivative of a, -1, is lost, so that a step climbs; 1/N is lost too",
                applies=lambda case: case.kind != "kink",  # a/|a| has no value at a = 0
            ),
            Written(
                "without the bars",
                r"\frac{1}{N} \sum_i (y_i - \hat{y}_i)",
                _times(lambda i: np.full_like(i["prediction"], -1 / i["prediction"].size)),
                Verdict.WRONG,
                "another function: without the bars errors of opposite signs cancel, and it has no minimum",
                forward=lambda i: np.asarray((i["target"] - i["prediction"]).mean()),
            ),
        ),
        kink="where a prediction meets its target: both take 0",
        **of_loss(MAE),
    ),
    Entry(
        id="absolute-error-sum",
        group="loss",
        title="sum of absolute errors, the second source's",
        formula=r"\sum_i |y_i - \hat{y}_i|",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \operatorname{sgn}(\hat{y}_i - y_i)",
        forward=lambda i: np.asarray(np.abs(i["target"] - i["prediction"]).sum()),
        corrected=_sum_of_distances_gradient,
        torch=lambda t: functional.l1_loss(t["prediction"], t["target"], reduction="sum"),
        wrt=("prediction",),
        cases=_absolute_cases,
        targets=(_sum_of_distances_gradient,),
        written=(
            Written(
                "second source",
                r"\sum_i \operatorname{sgn}(\hat{y}_i - y_i) \cdot \frac{\partial g}{\partial w}",
                _times(lambda i: np.sign(i["prediction"] - i["target"])),
            ),
        ),
        kink="where a prediction meets its target: both take 0",
    ),
    Entry(
        id="huber",
        title="Huber loss",
        formula=r"\sum_i \begin{cases} \frac{1}{2} (y_i - \hat{y}_i)^2 & |y_i - \hat{y}_i| \le \delta \\"
        r" \delta |y_i - \hat{y}_i| - \frac{1}{2} \delta^2 & \text{else} \end{cases}",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \max(-\delta, \min(\delta, \hat{y}_i - y_i))",
        torch=lambda t: functional.huber_loss(t["prediction"], t["target"], reduction="sum", delta=t["delta"].item()),
        cases=_huber_cases,
        written=(
            Written(
                "derivation",
                r"\begin{cases} -(y - \hat{y}) \cdot \frac{\partial g}{\partial w} & |y - \hat{y}| \le \delta \\"
                r" -\delta \frac{y - \hat{y}}{|y - \hat{y}|} \cdot \frac{\partial g}{\partial w} & \text{else}"
                r" \end{cases}",
                _times(_huber_written),
                remark="the signs are partly illegible in the source and were read so",
            ),
        ),
        kink="the gradient's own slope jumps at a distance of delta: both branches give delta there",
        **of_loss(Huber, "delta"),
    ),
    Entry(
        id="binary-cross-entropy",
        title="binary cross-entropy of probabilities",
        formula=r"-\sum_i \left[ y_i \ln \hat{y}_i + (1 - y_i) \ln (1 - \hat{y}_i) \right]",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \frac{\hat{y}_i - y_i}{\hat{y}_i (1 - \hat{y}_i)}",
        torch=lambda t: functional.binary_cross_entropy(t["prediction"], t["target"], reduction="sum"),
        cases=_bce_cases,
        written=(
            Written(
                "derivation",
                r"-\sum_i \left( \frac{y_i}{\hat{y}_i} - \frac{1 - y_i}{1 - \hat{y}_i} \right) \cdot"
                r" \frac{\partial g}{\partial w}",
                _times(lambda i: -(i["target"] / i["prediction"] - (1 - i["target"]) / (1 - i["prediction"]))),
                remark="divides by zero where a probability is exactly 0 or 1, and gives NaN where it is right there",
                overflows=True,
            ),
        ),
        **of_loss(BCE),
    ),
    Entry(
        id="binary-cross-entropy-logits",
        title="binary cross-entropy of logits",
        formula=r"\sum_i \left[ \ln(1 + e^{z_i}) - y_i z_i \right]",
        corrected_latex=r"\frac{\partial L}{\partial z_i} = \sigma(z_i) - y_i",
        torch=lambda t: functional.binary_cross_entropy_with_logits(t["prediction"], t["target"], reduction="sum"),
        cases=_logits_cases,
        **of_loss(BCEWithLogits),
    ),
    Entry(
        id="categorical-cross-entropy",
        title="categorical cross-entropy with softmax",
        formula=r"-\frac{1}{N} \sum_{n=1}^{N} \ln \operatorname{softmax}(z_n)_{y_n}",
        corrected_latex=r"\frac{\partial L}{\partial z_{nk}} = \frac{1}{N}"
        r" \left( \operatorname{softmax}(z_n)_k - [k = y_n] \right)",
        torch=lambda t: functional.cross_entropy(t["prediction"], t["target"]),
        cases=_cce_cases,
        **of_loss(CCE),
    ),
)
