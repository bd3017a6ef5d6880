"""Which figures there are to draw, what each is called, and which are left out and why."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from bench.records import Record
from bench.render.figurestyle import drawn, save, thesis
from bench.render.language import Language, Text, translated
from bench.report.figures.kinds import KINDS, Kind, Variant
from bench.report.figures.looks import looks
from bench.report.figures.numbers import localise
from bench.report.figures.scene import Scene, scenes
from bench.report.groups import groups
from bench.report.tables.flags import UNVERIFIED


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure that can be drawn.

    Attributes:
        key: its name, fit for a file: ``stages-convnet``, ``2-stages-convnet`` in the second group.
        kind: ``stages``, ``times``, ``rates``, ``scaling``, ``learning``, ``break-even`` or ``size``.
        title: a heading.
        caption: what is shown, in whole sentences.
        alt: what is to be seen, for who cannot see it.
        label: LaTeX's, ``fig:stages-convnet``.
        environment: the machine's title, the same for all figures of a group.
        group: number of the group.
        language: of all its text.
        make: draws it; under ``figurestyle.thesis()`` it looks as it should.
    """

    key: str
    kind: str
    title: str
    caption: str
    alt: str
    label: str
    environment: Text
    group: int
    language: Language
    make: Callable[[], Figure]

    def figure(self) -> Figure:
        """The figure itself, its numbers in its language."""
        made = self.make()
        localise(made, self.language)
        return made

    def png(self) -> bytes:
        """It as a PNG file."""
        with thesis():
            return drawn(self.figure(), "png")

    def save(self, folder: Path) -> list[Path]:
        """Write it as PDF and PNG into a folder that exists."""
        with thesis():
            return save(self.figure(), folder, self.key)


class Plan(NamedTuple):
    """All figures of a report, and one line for each that is left out."""

    pictures: list[Picture]
    left_out: list[str]


def plan(records: Iterable[Record], baseline: str = "filesystem", language: Language = "en", mix: bool = False) -> Plan:
    """Find what can be drawn; nothing is drawn yet.

    Args:
        records: in any order; those of one environment share figures.
        baseline: loader, with or without its options, that the others are compared with.
        language: of all text.
        mix: records of all environments share figures.
    """
    found = groups(records, mix)
    look = looks((cell for group in found for cell in group.cells), baseline)
    made = Plan([], [])
    for group in found:
        machine = translated(group.title, language)
        for scene in scenes(group, look, language, baseline):
            if not any(group.done(cell) for cell in scene.sweep):
                made.left_out.append(f"{scene.name or scene.command} ({machine}): {scene.say('no run ended well')}")
                continue
            for kind in KINDS[scene.command]:
                _add(made, kind, scene)
            if hidden := scene.hidden():
                name = ", ".join(filter(None, [scene.name, *hidden]))
                made.left_out.append(f"{name} ({machine}): {scene.say('shown in the figures of scaling alone')}")
    return made


def _add(made: Plan, kind: Kind, scene: Scene) -> None:
    """Add the kind's figures of a scene, or the reason why there are none."""
    title = ", ".join(filter(None, [scene.say(kind.title), scene.name]))
    variants = kind.variants(scene)
    if not variants:
        made.left_out.append(f"{title} ({translated(scene.group.title, scene.language)}): {scene.say(kind.absent)}")
    for variant in variants:
        key = _slug(" ".join([kind.name, scene.key, variant.ending]))
        key = _unused(key if scene.group.number == 1 else f"{scene.group.number}-{key}", made.pictures)
        shown = [scene.say(kind.caption), *([variant.more] if variant.more else [])]
        about = [
            scene.name,
            *variant.about,
            *scene.conditions(variant.free),
            translated(scene.group.title, scene.language),
        ]
        made.pictures.append(
            Picture(
                key=key,
                kind=kind.name,
                title=", ".join([title, *variant.about]),
                caption=" ".join([*shown, f"{'; '.join(filter(None, about))}.", *_warnings(scene)]),
                alt=_alt(scene, kind, variant),
                label=f"fig:{key}",
                environment=scene.group.title,
                group=scene.group.number,
                language=scene.language,
                make=variant.make,
            )
        )


def _warnings(scene: Scene) -> list[str]:
    """What all figures of a scene must say."""
    found = [] if scene.group.mixed is None else [translated(scene.group.mixed, scene.language)]
    if any(UNVERIFIED in word for panel in scene.panels for word in scene.words_of(panel)[1:]):
        found.append(f"{UNVERIFIED} {scene.say('the state of the cache is not verified in every run')}")
    return [f"{warning}." for warning in found]


def _alt(scene: Scene, kind: Kind, variant: Variant) -> str:
    alone = variant.about and not variant.free
    panels = [variant.about] if alone else [scene.words_of(panel) for panel in scene.panels]
    return scene.say(
        "{title}. Panels: {panels}. Loaders: {loaders}. The tables have the numbers.",
        title=scene.say(kind.title),
        panels="; ".join(", ".join(words) for words in panels),
        loaders=", ".join(scene.labels),
    )


def _slug(text: str) -> str:
    """Letters, digits and hyphens: a name that LaTeX and every file system take."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace(",", "")).strip("-")


def _unused(key: str, pictures: list[Picture]) -> str:
    """The key, or with a number if another picture has it."""
    taken = {picture.key for picture in pictures}
    return next(name for n in itertools.count(1) if (name := key if n == 1 else f"{key}-{n}") not in taken)
