"""The kinds of figures: what each is called, what its caption says, and from which data it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from matplotlib.figure import Figure

from bench.report.figures import breakeven, learning, rates, scaling, size, stages, times
from bench.report.figures.scene import SCALED, Scene


class Variant(NamedTuple):
    """One of the figures of a kind.

    Attributes:
        make: draws it.
        ending: of its name.
        about: what tells it from the kind's other figures, for its title.
        free: the setting along which it runs; "" for none.
        more: a sentence for its caption, which the kind's other figures do without.
    """

    make: Callable[[], Figure]
    ending: str = ""
    about: Sequence[str] = ()
    free: str = ""
    more: str = ""


class Kind(NamedTuple):
    """A kind of figure.

    Attributes:
        title, caption: in English, as `words.LATVIAN` has them.
        absent: what is said where there is nothing to draw.
        variants: the figures that a scene has data for.
    """

    name: str
    title: str
    caption: str
    absent: str
    variants: Callable[[Scene], list[Variant]]


def _of_scene(draw: Callable[[Scene], Figure], has: Callable[[Scene], bool]) -> Callable[[Scene], list[Variant]]:
    """A kind with one figure for each scene that has data for it."""
    return lambda scene: [Variant(partial(draw, scene))] if has(scene) else []


def _stages(scene: Scene) -> list[Variant]:
    if not scene.has(*stages.METRICS):
        return []
    more = scene.say("The lower bar is by the device's own clock, which overlaps with the host's.")
    return [Variant(partial(stages.stages, scene), more=more if stages.has_device(scene) else "")]


def _scaling(scene: Scene) -> list[Variant]:
    return [
        Variant(partial(scaling.scaling, scene, name), name, (scene.setting_name(name),), name)
        for name in SCALED
        if scaling.is_scaled(scene, name)
    ]


def _learning(scene: Scene) -> list[Variant]:
    return [
        Variant(partial(learning.learning, scene, panel), scene.key_of(panel), scene.words_of(panel))
        for panel in scene.panels
        if learning.is_learning(scene, panel)
    ]


_RATES = Kind(
    "rates",
    "Loader rates",
    "Images per second without training, and of the format's plain idiom; the dashed line is what training would take "
    "if its data cost nothing. At the right, loader over plain idiom. Means over the runs.",
    "no run measured the loader without training",
    _of_scene(rates.rates, lambda scene: scene.has("loader_rate")),
)
_SCALING = Kind(
    "scaling",
    "Scaling",
    "Speed of each loader over a setting; means over the runs with their 95% intervals.",
    "no loader ran with several numbers of workers or several batch sizes",
    _scaling,
)
_RUN = (
    Kind(
        "stages",
        "Stages of an epoch",
        "Where the host's time goes in an epoch, by loader; means over the runs. The line is the compute ceiling: the "
        "same steps on batches that lie on the device already.",
        "no run has the stages of its epochs",
        _stages,
    ),
    Kind(
        "times",
        "Time of an epoch",
        "Time of a training epoch by loader: every run, and their mean with its 95% t interval. The dashed line is the "
        "baseline's mean.",
        "no run has the time of its epochs",
        _of_scene(times.times, lambda scene: scene.has("epoch_s")),
    ),
    _RATES,
    _SCALING,
    Kind(
        "learning",
        "Learning",
        "Training loss and test accuracy after each epoch, over epochs and over the seconds of training. Thin lines "
        "are runs, thick ones their means.",
        "no run has more than one epoch",
        _learning,
    ),
    Kind(
        "break-even",
        "Break-even",
        "Preparation and training of each loader over the number of epochs, beside the baseline, whose preparation "
        "does not count; at the right, the difference between the two. Circles mark where the time saved has paid for "
        "the preparation.",
        "there is no baseline, or no loader beside it with a time of preparation",
        _of_scene(breakeven.breakeven, lambda scene: any(breakeven.costs_of(scene, panel) for panel in scene.panels)),
    ),
    Kind(
        "size",
        "Size and speed",
        "Speed of training against the size of the store, by loader; means over the runs. The dotted line is the size "
        "of the bare pixels.",
        "no run has both the size of its store and its speed",
        _of_scene(size.size, lambda scene: scene.has("bytes_per_image", "images_per_s")),
    ),
)
KINDS = {"run": _RUN, "rate": (_RATES, _SCALING)}
"""The kinds of figures by the command whose records they show."""
