"""Which figures there are to draw, and what each is called."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from bench.records import Record
from bench.render.figurestyle import drawn, save, thesis
from bench.render.language import Language, Text, joined, message
from bench.report.figures.canvas import Canvas, Variant
from bench.report.figures.kinds import KINDS, Kind
from bench.report.figures.looks import looks
from bench.report.figures.numbers import localise
from bench.report.figures.scene import Scene, scenes
from bench.report.groups import groups
from bench.report.tables.flags import UNVERIFIED


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure that can be drawn; its key is fit for a file: ``stages-convnet``, ``2-stages-convnet`` in group 2."""

    key: str
    kind: Kind
    scene: Scene
    variant: Variant

    @property
    def title(self) -> Text:
        """A heading."""
        return joined((self.kind.title, self.scene.name, *self.variant.about), ", ")

    @property
    def caption(self) -> Text:
        """What is shown and of what, in whole sentences, with what all figures of a scene must say."""
        scene, variant = self.scene, self.variant
        about = [scene.name, *variant.about, *scene.conditions(variant.setting), scene.group.title]
        warnings: list[Text] = [] if scene.group.mixed is None else [scene.group.mixed]
        if any(map(scene.is_unverified, scene.panels)):
            unverified = message("the state of the cache is not verified in every run")
            warnings.append(joined((UNVERIFIED, unverified)))
        ended = [joined((sentence, "."), "") for sentence in (joined(about, "; "), *warnings)]
        return joined([self.kind.caption, variant.more, *ended])

    @property
    def alt(self) -> Text:
        """What is to be seen, for who cannot see it."""
        panels = self.scene.panels if self.variant.panel is None else [self.variant.panel]
        return message(
            "{title}. Panels: {panels}. Loaders: {loaders}. The tables have the numbers.",
            title=self.kind.title,
            panels=joined((joined(self.scene.about(panel), ", ") for panel in panels), "; "),
            loaders=", ".join(self.scene.labels),
        )

    def figure(self, language: Language = "en") -> Figure:
        """The figure itself; under ``figurestyle.thesis()`` it looks as it should."""
        figure = self.kind.draw(Canvas(self.scene, self.variant, language))
        localise(figure, language)
        return figure

    def png(self, language: Language) -> bytes:
        """It as a PNG file."""
        with thesis():
            return drawn(self.figure(language), "png")

    def save(self, folder: Path, language: Language = "en") -> list[Path]:
        """Write it as PDF and PNG into a folder that exists."""
        with thesis():
            return save(self.figure(language), folder, self.key)


def plan(records: Iterable[Record], baseline: str = "filesystem", mix: bool = False) -> list[Picture]:
    """Find what can be drawn, with arguments as those of `tables`; nothing is drawn yet."""
    made = groups(records, mix)
    look = looks((cell for group in made for cell in group.cells), baseline)
    pictures: dict[str, Picture] = {}
    for scene in (scene for group in made for scene in scenes(group, look, baseline)):
        for kind in KINDS if any(map(scene.group.done, scene.sweep)) else ():
            for variant in kind.variants(scene):
                name = _slug(f"{scene.group.prefix} {kind.name} {scene.key} {variant.ending}")
                names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
                key = next(key for key in names if key not in pictures)
                pictures[key] = Picture(key, kind, scene, variant)
    return list(pictures.values())


def _slug(text: str) -> str:
    """Letters, digits and hyphens: a name that LaTeX and every file system take."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace(",", "")).strip("-")
