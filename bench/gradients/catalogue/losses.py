"""The losses on distances: squared, halved, absolute, and Huber's.

Where the notes multiply by the derivative of the prediction by a model's parameter, the prediction itself is the
variable here, whose derivative is 1; the models check the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from torch.nn import functional

from bench.gradients.catalogue import draw
from bench.gradients.catalogue.through import loss_gradient_of, loss_of
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict, Written
from bench.gradients.layers import MAE, MSE, HalvedSquaredError, Huber


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


def _huber(inputs: Arrays) -> Huber:
    return Huber(inputs["delta"])


def _times(derivative: Callable[[Arrays], Array]) -> Callable[[Arrays, Array], Gradients]:
    """The written derivative by each prediction, times the upstream gradient of the loss."""
    return lambda inputs, g: {"prediction": np.asarray(derivative(inputs) * g)}


def _mae_chain(inputs: Arrays) -> Array:
    distance = inputs["target"] - inputs["prediction"]
    return np.asarray(distance / np.abs(distance))


def _huber_written(inputs: Arrays) -> Array:
    distance, delta = inputs["target"] - inputs["prediction"], inputs["delta"]
    return np.where(np.abs(distance) <= delta, -distance, -delta * distance / np.abs(distance))


def _sum_of_distances(inputs: Arrays) -> Array:
    return np.asarray(np.abs(inputs["target"] - inputs["prediction"]).sum())


def _sum_of_distances_gradient(inputs: Arrays, g: Array) -> Gradients:
    return {"prediction": g * np.sign(inputs["prediction"] - inputs["target"])}


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="mse",
        title="mean squared error",
        group="loss",
        formula=r"\frac{1}{N} \sum_{i=1}^{N} (\hat{y}_i - y_i)^2",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \frac{2}{N} (\hat{y}_i - y_i)",
        forward=loss_of(lambda _: MSE()),
        corrected=loss_gradient_of(lambda _: MSE()),
        torch=lambda t: functional.mse_loss(t["prediction"], t["target"]),
        wrt=("prediction",),
        cases=_smooth_cases,
        written=(
            Written(
                name="derivation",
                latex=r"\frac{2}{N} \sum_{i=0}^{N} (\hat{y}_i - y_i) \cdot \frac{\partial g}{\partial w}",
                gradient=_times(lambda i: 2 / i["prediction"].size * (i["prediction"] - i["target"])),
                expected=Verdict.AGREES,
                remark="the sum is typed from i = 0 to N, which would be N + 1 terms; read as N",
            ),
            Written(
                name="class",
                latex=r"2 (\hat{y} - y)",
                gradient=_times(lambda i: 2 * (i["prediction"] - i["target"])),
                expected=Verdict.WRONG,
                cause="1/N is missing, so the gradient is N times too large; right for one sample only",
            ),
        ),
        targets=(MSE._backward,),
    ),
    Entry(
        id="halved-squared-error",
        title="squared error, halved",
        group="loss",
        formula=r"\frac{1}{2} \sum_i (y_i - \hat{y}_i)^2",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \hat{y}_i - y_i",
        forward=loss_of(lambda _: HalvedSquaredError()),
        corrected=loss_gradient_of(lambda _: HalvedSquaredError()),
        torch=lambda t: functional.mse_loss(t["prediction"], t["target"], reduction="sum") / 2,
        wrt=("prediction",),
        cases=_smooth_cases,
        written=(
            Written(
                name="derivation",
                latex=r"\sum_i (\hat{y}_i - y_i) \cdot \frac{\partial g}{\partial w}",
                gradient=_times(lambda i: i["prediction"] - i["target"]),
                expected=Verdict.AGREES,
            ),
        ),
        targets=(HalvedSquaredError._backward,),
    ),
    Entry(
        id="mae",
        title="mean absolute error",
        group="loss",
        formula=r"\frac{1}{N} \sum_{i=1}^{N} |\hat{y}_i - y_i|",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \frac{1}{N} \operatorname{sgn}(\hat{y}_i - y_i)",
        forward=loss_of(lambda _: MAE()),
        corrected=loss_gradient_of(lambda _: MAE()),
        torch=lambda t: functional.l1_loss(t["prediction"], t["target"]),
        wrt=("prediction",),
        cases=_absolute_cases,
        written=(
            Written(
                name="chain",
                latex=r"a = y - M(x),\quad \frac{\partial |a|}{\partial a} \cdot \frac{\partial M}{\partial w}"
                r" = \frac{a}{|a|} \cdot \frac{\partial M}{\partial w}",
                gradient=_times(_mae_chain),
                expected=Verdict.WRONG,
                cause="the inner derivative of a, -1, is lost, so that a step climbs; 1/N is lost too",
                applies=lambda case: case.kind != "kink",  # a/|a| has no value at a = 0
            ),
            Written(
                name="without the bars",
                latex=r"\frac{1}{N} \sum_i (y_i - \hat{y}_i)",
                gradient=_times(lambda i: np.full_like(i["prediction"], -1 / i["prediction"].size)),
                expected=Verdict.WRONG,
                cause="another function: without the bars errors of opposite signs cancel, and it has no minimum",
                forward=lambda i: np.asarray((i["target"] - i["prediction"]).mean()),
            ),
        ),
        targets=(MAE._backward,),
        kink="where a prediction meets its target: both take 0",
    ),
    Entry(
        id="absolute-error-sum",
        title="sum of absolute errors, the second source's",
        group="loss",
        formula=r"\sum_i |y_i - \hat{y}_i|",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \operatorname{sgn}(\hat{y}_i - y_i)",
        forward=_sum_of_distances,
        corrected=_sum_of_distances_gradient,
        torch=lambda t: functional.l1_loss(t["prediction"], t["target"], reduction="sum"),
        wrt=("prediction",),
        cases=_absolute_cases,
        written=(
            Written(
                name="second source",
                latex=r"\sum_i \operatorname{sgn}(\hat{y}_i - y_i) \cdot \frac{\partial g}{\partial w}",
                gradient=_times(lambda i: np.sign(i["prediction"] - i["target"])),
                expected=Verdict.AGREES,
            ),
        ),
        targets=(_sum_of_distances_gradient,),
        kink="where a prediction meets its target: both take 0",
    ),
    Entry(
        id="huber",
        title="Huber loss",
        group="loss",
        formula=r"\sum_i \begin{cases} \frac{1}{2} (y_i - \hat{y}_i)^2 & |y_i - \hat{y}_i| \le \delta \\"
        r" \delta |y_i - \hat{y}_i| - \frac{1}{2} \delta^2 & \text{else} \end{cases}",
        corrected_latex=r"\frac{\partial L}{\partial \hat{y}_i} = \max(-\delta, \min(\delta, \hat{y}_i - y_i))",
        forward=loss_of(_huber),
        corrected=loss_gradient_of(_huber),
        torch=lambda t: functional.huber_loss(t["prediction"], t["target"], reduction="sum", delta=t["delta"].item()),
        wrt=("prediction",),
        cases=_huber_cases,
        written=(
            Written(
                name="derivation",
                latex=r"\begin{cases} -(y - \hat{y}) \cdot \frac{\partial g}{\partial w} & |y - \hat{y}| \le \delta \\"
                r" -\delta \frac{y - \hat{y}}{|y - \hat{y}|} \cdot \frac{\partial g}{\partial w} & \text{else}"
                r" \end{cases}",
                gradient=_times(_huber_written),
                expected=Verdict.AGREES,
                remark="the signs are partly illegible in the source and were read so",
            ),
        ),
        targets=(Huber._backward,),
        kink="the gradient's own slope jumps at a distance of delta: both branches give delta there",
    ),
)
