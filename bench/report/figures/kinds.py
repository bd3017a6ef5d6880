"""The kinds of figures: what each is called, what its caption says, from which data it is drawn, and by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from bench.render.language import Message, message
from bench.report.figures import breakeven, fed, learning, rates, speed, stages, times
from bench.report.figures.canvas import Canvas, Variant
from bench.report.figures.scene import Scene
from bench.report.tables.feed import speeds_of


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


def _busy(scene: Scene) -> list[Variant]:
    return [Variant()] if speeds_of(record for cell in scene.cells for record in scene.group.done(cell)) else []


def _trained(metric: str) -> Callable[[Scene], list[Variant]]:
    """The same for training alone: an emulated accelerator's epoch says more by how busy it was."""
    return lambda scene: [] if scene.emulated else _of(metric)(scene)


def _against(metric: str) -> Callable[[Scene], list[Variant]]:
    return lambda scene: [Variant()] if scene.has(metric, scene.speed) else []


def _breakeven(scene: Scene) -> list[Variant]:
    return [Variant()] if not scene.emulated and any(breakeven.costs_of(scene, panel) for panel in scene.panels) else []


KINDS = (
    Kind("busy", message("Busy accelerators"), message(
        "For how much of the time each loader keeps emulated accelerators of several speeds busy, which take their "
        "time for each batch and compute nothing; means over the runs with their 95% intervals. The dashed line is "
        "the share from which on one counts as fed."), _busy, fed.busy_shares),
    Kind("size", message("Size and speed"), message(
        "Speed of each loader against the size of its store: images/s of training or, where accelerators are "
        "emulated, of the fastest one that is fed; means over the runs with their 95% intervals. The dotted line is "
        "the size of the bare pixels. Left and above is better."), _against("bytes_per_image"), speed.size),
    Kind("preparation", message("Preparation and speed"), message(
        "The same speed against the time that preparing the store takes. Left and above is better."),
        _against("prepare_s"), speed.preparation),
    Kind("stages", message("Stages of an epoch"), message(
        "Where the host's time goes in an epoch, by loader; means over the runs. The line is the compute ceiling: the "
        "same steps on batches that lie on the device already."), _stages, stages.stages),
    Kind("times", message("Time of an epoch"), message(
        "Time of a training epoch by loader: every run, and their mean with its 95% t interval. The dashed line is the "
        "baseline's mean."), _trained("epoch_s"), times.times),
    Kind("rates", message("Loader rates"), message(
        "Images per second without training, and of the format's plain idiom; the dashed line is what training would "
        "take if its data cost nothing. At the right, loader over plain idiom. Means over the runs with their 95% "
        "intervals."),
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
)  # fmt: skip
