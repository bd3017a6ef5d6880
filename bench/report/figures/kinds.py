"""The kinds of figures: what each is called, what its caption says, from which data it is drawn, and by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from bench.render.language import Message, message
from bench.report.figures import breakeven, learning, rates, speed, stages, times
from bench.report.figures.canvas import Canvas, Variant
from bench.report.figures.scene import Scene


class Kind(NamedTuple):
    """A kind of figure: its name, its texts, the figures that a scene has data for, and what draws them."""

    name: str
    title: Message
    caption: Message
    variants: Callable[[Scene], list[Variant]]
    draw: Callable[[Canvas], Figure]


def _of(*metrics: str) -> Callable[[Scene], list[Variant]]:
    """One figure where some cell has all of these metrics."""
    return lambda scene: [Variant()] if scene.has(*metrics) else []


def _stages(scene: Scene) -> list[Variant]:
    more = message("The lower bar is by the device's own clock, which overlaps with the host's.")
    return [Variant(more=more if scene.has(*stages.DEVICE) else "")] if scene.has(*stages.STAGES) else []


def _breakeven(scene: Scene) -> list[Variant]:
    return [Variant()] if any(breakeven.costs_of(scene, panel) for panel in scene.panels) else []


KINDS = (
    Kind("stages", message("Stages of an epoch"), message(
        "Where the host's time goes in an epoch, by loader; means over the runs. The line is the compute ceiling: the "
        "same steps on batches that lie on the device already."), _stages, stages.stages),
    Kind("times", message("Time of an epoch"), message(
        "Time of a training epoch by loader: every run, and their mean with its 95% t interval. The dashed line is the "
        "baseline's mean."), _of("epoch_s"), times.times),
    Kind("rates", message("Loader rates"), message(
        "Images per second without training, and of the format's plain idiom; the dashed line is what training would "
        "take if its data cost nothing. At the right, loader over plain idiom. Means over the runs."),
        _of("loader_rate"), rates.rates),
    Kind("scaling", message("Scaling"), message(
        "Speed of each loader over a setting; means over the runs with their 95% intervals."),
        speed.variants, speed.scaling),
    Kind("learning", message("Learning"), message(
        "Training loss and test accuracy after each epoch, over epochs and over the seconds of training. Thin lines "
        "are runs, thick ones their means."), learning.variants, learning.learning),
    Kind("break-even", message("Break-even"), message(
        "Preparation and training of each loader over the number of epochs, beside the baseline, whose preparation "
        "does not count; at the right, the difference between the two. Circles mark where the time saved has paid for "
        "the preparation."), _breakeven, breakeven.breakeven),
    Kind("size", message("Size and speed"), message(
        "Speed of training against the size of the store, by loader; means over the runs. The dotted line is the size "
        "of the bare pixels."), _of("bytes_per_image", "images_per_s"), speed.size),
)  # fmt: skip
