"""What one figure shows: the cells of one group, command and network that differ in loader, dataset and cache alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from bench.records import Record
from bench.render.language import Language, Text, translated
from bench.report.figures.looks import Look, Looks
from bench.report.figures.words import say
from bench.report.groups import Cell, Group, varying
from bench.report.metrics import METRICS
from bench.report.tables.assemble import MODELS, setting_name
from bench.report.tables.flags import UNVERIFIED, is_unverified
from bench.stats.intervals import Interval

SCALED = ("workers", "batch_size")
"""Settings over which a figure of their own shows how a loader scales."""
CACHES = {"warm": "warm cache", "cold": "cold cache", "as-is": "cache as it is"}
Settings: TypeAlias = tuple[tuple[str, str], ...]


class Panel(NamedTuple):
    """One dataset in one wished state of the cache.

    Attributes:
        dataset: as the group shows it.
        cache: None for rates.
        rows: by label, which is the loader with its options.
    """

    dataset: Text
    cache: str | None
    rows: dict[str, Cell]


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything that a figure is drawn from.

    Attributes:
        group: all records of its environment.
        key: for names of files: network and values of swept settings, the same in every language.
        name: for a reader: network, where there is one, and the values of swept settings; "" for neither.
        panels: in the group's order.
        looks: of the whole report.
        language: of all text.
        baseline: label or loader that the others are compared with.
        sweep: all cells of the same command, network and settings but for those ``SCALED``.
    """

    group: Group
    key: str
    name: str
    panels: list[Panel]
    looks: Looks
    language: Language
    baseline: str
    sweep: list[Cell]

    @property
    def labels(self) -> list[str]:
        """Of the loaders of all panels; the baseline comes first."""
        return in_order(self, (cell.label for cell in self.cells))

    def row(self, label: str) -> str:
        """A loader's label, and settings in which it differs from most others of its panel."""
        names: dict[str, None] = {}
        for panel in self.panels:
            ran = [cell for cell in panel.rows.values() if self.group.done(cell)]
            mine = panel.rows.get(label)
            for name in varying(ran) if mine in ran else ():
                usual, _ = Counter(cell.setting(name) for cell in ran).most_common(1)[0]
                if mine is not None and mine.setting(name) != usual:
                    names[f"{name}={mine.setting(name)}"] = None
        return " ".join([label, *names])

    @property
    def cells(self) -> list[Cell]:
        """Of all panels."""
        return [cell for panel in self.panels for cell in panel.rows.values()]

    @property
    def command(self) -> str:
        """The same for all cells: "run" or "rate"."""
        return self.sweep[0].command

    def along(self, name: str) -> list[Cell]:
        """Cells that differ in one of ``SCALED``; of the others, they have what most cells have."""
        return _fullest(
            self.sweep, [other for other in SCALED if other != name and other in swept_settings(self.sweep)]
        )

    def hidden(self) -> list[str]:
        """Values of those settings that only ``along`` gives, in words."""
        shown, every = self.cells, self.sweep
        values = {
            name: sorted({getattr(c, name) for c in every} - {getattr(c, name) for c in shown}) for name in SCALED
        }
        return [f"{self.setting_name(name)} {', '.join(map(str, found))}" for name, found in values.items() if found]

    def conditions(self, free: str = "") -> list[str]:
        """What all that is shown has in common, in words.

        Args:
            free: the setting along which a figure runs; it is left out.
        """
        cells = self.along(free) if free else self.cells
        values = {name: {getattr(cell, name) for cell in cells} for name in SCALED if name != free}
        return [f"{self.setting_name(name)}: {v.pop()}" for name, v in values.items() if len(v) == 1]

    def words_of(self, panel: Panel) -> list[str]:
        """Dataset and cache, with a mark if that is not verified in every run."""
        if panel.cache is None:
            return [translated(panel.dataset, self.language)]
        done = [record for cell in panel.rows.values() for record in self.group.done(cell)]
        return [
            *self.words_of(panel._replace(cache=None)),
            self.say(CACHES[panel.cache]) + UNVERIFIED * any(map(is_unverified, done)),
        ]

    def key_of(self, panel: Panel) -> str:
        """A panel's name for files, the same in every language."""
        records = self.group.cells[next(iter(panel.rows.values()))]
        return f"{records[0].config.dataset} {panel.cache or ''}"

    def look(self, cell: Cell) -> Look:
        """Of a cell's loader."""
        return self.looks[cell.label]

    def say(self, text: str, **values: object) -> str:
        """A text in the figure's language."""
        return say(text, self.language, **values)

    def setting_name(self, name: str) -> str:
        """What a setting is called in the figure's language."""
        return translated(setting_name(name), self.language)

    def values(self, cell: Cell, metric: str) -> list[float]:
        """A metric of each run of a cell that ended well, in the order of the rounds."""
        return known(self.group.done(cell), METRICS[metric].of)

    def mean(self, cell: Cell, metric: str) -> Interval | None:
        """Its mean over the runs; None where no run has it."""
        found = METRICS[metric].over(self.group.done(cell))
        return None if found is None else found[0]

    def base(self, panel: Panel) -> Cell | None:
        """The panel's baseline: by its label, or else the only one of its loader."""
        cells = list(panel.rows.values())
        for name in ("label", "loader"):
            found = [cell for cell in cells if getattr(cell, name) == self.baseline]
            if len(found) == 1:
                return found[0]
        return None

    def has(self, *metrics: str) -> bool:
        """Whether any cell has all of these metrics."""
        return any(all(self.values(cell, metric) for metric in metrics) for cell in self.cells)


def in_order(scene: Scene, labels: Iterable[str]) -> list[str]:
    """Each label once, in the report's order."""
    wanted = set(labels)
    return [label for label in scene.looks if label in wanted]


def known(records: Iterable[Record], of: Callable[[Record], float | None]) -> list[float]:
    """The values that there are."""
    return [value for value in map(of, records) if value is not None]


def scenes(group: Group, looks: Looks, language: Language, baseline: str) -> list[Scene]:
    """One for each command, network and value of swept settings; a loader that knows one value alone stands in each."""
    families: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in group.cells:
        families.setdefault((cell.command, cell.model), []).append(cell)
    found = []
    for (_, model), cells in families.items():
        swept = swept_settings(cells)
        other = [name for name in swept if name not in SCALED]
        for values, sweep in _split(cells, other).items():
            shown = _fullest(sweep, [name for name in SCALED if name in swept])
            named = [MODELS.get(model, model)] if model else []
            name = ", ".join([*named, *(f"{translated(setting_name(key), language)} {value}" for key, value in values)])
            key = " ".join([model or "", *(f"{name} {value}" for name, value in values)])
            found.append(Scene(group, key, name, panels_of(shown), looks, language, baseline, sweep))
    return found


def swept_settings(cells: Iterable[Cell]) -> list[str]:
    """Settings that some loader has several values of, on the same dataset in the same state of the cache."""
    twins: dict[tuple[Text, str | None, str], list[Cell]] = {}
    for cell in cells:
        twins.setdefault((cell.dataset, cell.cache, cell.label), []).append(cell)
    return list(dict.fromkeys(name for same in twins.values() for name in varying(same)))


def _split(cells: Sequence[Cell], names: Sequence[str]) -> dict[Settings, list[Cell]]:
    """The cells by their values of some settings; one whose loader has a single combination is in all."""
    own: dict[tuple[Text, str | None, str], set[Settings]] = {}
    for cell in cells:
        own.setdefault((cell.dataset, cell.cache, cell.label), set()).add(_values(cell, names))
    several = dict.fromkeys(_values(c, names) for c in cells if len(own[c.dataset, c.cache, c.label]) > 1)
    found: dict[Settings, list[Cell]] = {values: [] for values in several or {(): None}}
    for cell in cells:
        values = _values(cell, names)
        alone = len(own[cell.dataset, cell.cache, cell.label]) == 1
        for key, members in found.items():
            if alone or key == values:
                members.append(cell)
    return found


def _fullest(cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    """The cells with that combination of the settings which most of all have; the first such."""
    count = Counter(_values(cell, names) for cell in cells)
    split = _split(cells, names)
    return split[max(split, key=lambda values: count[values])]


def _values(cell: Cell, names: Iterable[str]) -> Settings:
    return tuple((name, cell.setting(name)) for name in names)


def panels_of(cells: Iterable[Cell]) -> list[Panel]:
    """The cells by dataset and cache, in their order."""
    places: dict[tuple[Text, str | None], Panel] = {}
    for cell in cells:
        panel = places.setdefault((cell.dataset, cell.cache), Panel(cell.dataset, cell.cache, {}))
        panel.rows[cell.label] = cell
    return list(places.values())
