"""What one figure shows: the cells of one group, command and network that differ in loader, dataset and cache alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from bench.config import RunConfig
from bench.render.language import Text, joined
from bench.report.figures.looks import Look
from bench.report.groups import NO_MODEL, Cell, Group, varying
from bench.report.metrics import METRICS
from bench.report.tables.assemble import CACHES, MODELS, setting_name
from bench.report.tables.flags import UNVERIFIED, is_unverified
from bench.stats.intervals import Interval

SCALED = ("workers", "batch_size")  # settings over which a figure of their own shows how a loader scales
Settings: TypeAlias = tuple[tuple[str, str], ...]


class Panel(NamedTuple):
    """One dataset in one wished state of the cache, which is None for rates; its cells by the label of their loader."""

    dataset: Text
    cache: str | None
    rows: dict[str, Cell]


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything that a figure is drawn from."""

    group: Group
    key: str  # for names of files: network and values of swept settings
    name: Text  # the same for a reader
    panels: list[Panel]
    looks: dict[str, Look]
    baseline: str  # label or loader that the others are compared with
    sweep: list[Cell]  # all of the same command, network and settings but for those ``SCALED``
    command: str  # "run" or "rate"

    @property
    def emulated(self) -> bool:
        """Whether accelerators are emulated, which compute nothing."""
        return any(cell.model == NO_MODEL for cell in self.cells)

    @property
    def speed(self) -> str:
        """The metric that says how fast a loader is."""
        return "feed_rate" if self.emulated else "images_per_s" if self.command == "run" else "loader_rate"

    def marks(self, cell: Cell) -> set[float]:
        """The busy shares that runs of a cell searched the feed rate for."""
        configs = (record.config for record in self.group.done(cell) if METRICS["feed_rate"].of(record) is not None)
        return {config.busy for config in configs if isinstance(config, RunConfig)}

    @property
    def cells(self) -> list[Cell]:
        """Of all panels."""
        return [cell for panel in self.panels for cell in panel.rows.values()]

    @property
    def labels(self) -> list[str]:
        """Of the loaders of all panels; the baseline comes first."""
        return self.ordered(cell.label for cell in self.cells)

    def ordered(self, labels: Iterable[str]) -> list[str]:
        """Each label once, in the report's order."""
        kept = set(labels)
        return [label for label in self.looks if label in kept]

    def row(self, label: str) -> str:
        """A loader's label, and settings in which it differs from most others of its panel."""
        names: dict[str, None] = {}
        for panel in self.panels:
            ran = {name: cell for name, cell in panel.rows.items() if self.group.done(cell)}
            for name in varying(ran.values()) if label in ran else ():
                own, usual = ran[label].setting(name), Counter(cell.setting(name) for cell in ran.values())
                if own != usual.most_common(1)[0][0]:
                    names[f"{name}={own}"] = None
        return " ".join([label, *names])

    def along(self, name: str) -> list[Cell]:
        """Cells that differ in one of ``SCALED``; of the others, they have what most cells have."""
        swept = swept_settings(self.sweep)
        return _fullest(self.sweep, [other for other in SCALED if other != name and other in swept])

    def conditions(self, free: str = "") -> list[Text]:
        """What all that is shown has in common, but for the setting along which a figure runs."""
        cells = self.along(free) if free else self.cells
        values = {name: {cell.setting(name) for cell in cells} for name in SCALED if name != free}
        return [joined((setting_name(name), v.pop()), ": ") for name, v in values.items() if len(v) == 1]

    def is_unverified(self, panel: Panel) -> bool:
        """Whether the state of the cache is not verified in every run."""
        runs = [record for cell in panel.rows.values() for record in self.group.done(cell)]
        return panel.cache is not None and any(map(is_unverified, runs))

    def about(self, panel: Panel) -> list[Text]:
        """Dataset and cache, with a mark where that is not verified."""
        if panel.cache is None:
            return [panel.dataset]
        return [panel.dataset, joined((CACHES[panel.cache], UNVERIFIED * self.is_unverified(panel)), "")]

    def values(self, cell: Cell, metric: str) -> list[float]:
        """A metric of each run of a cell that ended well, in the order of the rounds."""
        values = map(METRICS[metric].of, self.group.done(cell))
        return [value for value in values if value is not None]

    def mean(self, cell: Cell, metric: str) -> Interval | None:
        """Its mean over the runs; None where no run has it."""
        over = METRICS[metric].over(self.group.done(cell))
        return None if over is None else over[0]

    def has(self, *metrics: str) -> bool:
        """Whether any cell has all of these metrics."""
        return any(all(self.values(cell, metric) for metric in metrics) for cell in self.cells)

    def base(self, panel: Panel) -> Cell | None:
        """The panel's baseline: by its label, or else the only one of its loader."""
        if self.baseline in panel.rows:
            return panel.rows[self.baseline]
        same = [cell for cell in panel.rows.values() if cell.loader == self.baseline]
        return same[0] if len(same) == 1 else None


def scenes(group: Group, looks: dict[str, Look], baseline: str) -> list[Scene]:
    """One for each command, network and value of swept settings; a loader that knows one value alone stands in each."""
    families: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in group.cells:
        families.setdefault((cell.command, cell.model), []).append(cell)
    made = []
    for (command, model), cells in families.items():
        swept = swept_settings(cells)
        for values, sweep in _split(cells, [name for name in swept if name not in SCALED]).items():
            shown = _fullest(sweep, [name for name in SCALED if name in swept])
            named = [MODELS.get(model, model)] if model else []
            name = joined([*named, *(joined((setting_name(key), value)) for key, value in values)], ", ")
            key = " ".join([model or "", *(f"{key} {value}" for key, value in values)])
            made.append(Scene(group, key, name, panels_of(shown), looks, baseline, sweep, command))
    return made


def panels_of(cells: Iterable[Cell]) -> list[Panel]:
    """The cells by dataset and cache, in their order."""
    panels: dict[tuple[Text, str | None], Panel] = {}
    for cell in cells:
        panel = panels.setdefault((cell.dataset, cell.cache), Panel(cell.dataset, cell.cache, {}))
        panel.rows[cell.label] = cell
    return list(panels.values())


def swept_settings(cells: Iterable[Cell]) -> list[str]:
    """Settings that some loader has several values of, on the same dataset in the same state of the cache."""
    twins: dict[Cell, list[Cell]] = {}
    for cell in cells:
        twins.setdefault(_twin(cell), []).append(cell)
    return list(dict.fromkeys(name for same in twins.values() for name in varying(same)))


def _split(cells: Sequence[Cell], names: Sequence[str]) -> dict[Settings, list[Cell]]:
    """The cells by their values of some settings; one whose loader has a single combination is in all."""
    own: dict[Cell, set[Settings]] = {}
    for cell in cells:
        own.setdefault(_twin(cell), set()).add(_values(cell, names))
    several = dict.fromkeys(_values(cell, names) for cell in cells if len(own[_twin(cell)]) > 1)
    return {
        values: [cell for cell in cells if len(own[_twin(cell)]) == 1 or values == _values(cell, names)]
        for values in several or {(): None}
    }


def _fullest(cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    """The cells with that combination of the settings which most of all have; the first such."""
    count = Counter(_values(cell, names) for cell in cells)
    split = _split(cells, names)
    return split[max(split, key=lambda values: count[values])]


def _twin(cell: Cell) -> Cell:
    return cell._replace(batch_size=0, workers=0, settings=())


def _values(cell: Cell, names: Iterable[str]) -> Settings:
    return tuple((name, cell.setting(name)) for name in names)
