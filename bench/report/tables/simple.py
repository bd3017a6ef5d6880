"""Tables that are metrics and nothing else: memory, CPU and energy; opening, waiting and learning."""

from __future__ import annotations

import math

from bench.render.language import number, say
from bench.render.table import Column, Language, Table, Value
from bench.report.groups import Cell
from bench.report.metrics import time_to_accuracy
from bench.report.tables.assemble import Shown, metric_table, name_of
from bench.report.tables.cells import over_runs
from bench.report.tables.part import Part
from bench.report.values import energy_source

_RESOURCES = (
    Shown("tree_peak_pss", ",.0f", "MB", 1e-6, spread="half"),
    Shown("process_peak_pss", ",.0f", "MB", 1e-6),
    Shown("workers_peak_pss", ",.0f", "MB", 1e-6, optional=True),
    Shown("server_peak_pss", ",.0f", "MB", 1e-6, optional=True),
    Shown("device_peak", ",.0f", "MB", 1e-6, optional=True),
    Shown("cpu_s_per_1000", ",.3f", spread="half"),
    Shown("cpu_process_s_per_1000", ",.3f"),
    Shown("cpu_workers_s_per_1000", ",.3f", optional=True),
    Shown("cpu_server_s_per_1000", ",.3f", optional=True),
    Shown("cpu_ended_s_per_1000", ",.3f", optional=True),
    Shown("energy_j_per_epoch", ",.0f", spread="half", optional=True),
    Shown("gpu_utilisation_pct", ".0f", optional=True),
    Shown("gpu_power_w", ".0f", optional=True),
    Shown("gpu_peak_power_w", ".0f", optional=True),
)
ENERGY_SOURCES = {
    "counter": "energy is by the device's own counter",
    "sampled power": "energy is the power that NVML sampled, over time",
    "counter and sampled power": (
        "energy is by the device's own counter, and where that failed the power that NVML sampled, over time"
    ),
}
_SETUP = (
    Shown("open_s", ",.3f"),
    Shown("first_batch_s", ",.4f"),
    Shown("close_s", ",.3f"),
    Shown("wait_p50_ms", ",.2f"),
    Shown("wait_p95_ms", ",.2f"),
    Shown("wait_p99_ms", ",.2f"),
    Shown("wait_max_ms", ",.2f"),
    Shown("train_loss", ".4f"),
)


def resources(part: Part) -> Table | None:
    """Memory, CPU time and energy; None if no run tells any."""
    caption = say("Peak memory, CPU time and energy by group of processes, means over runs.", part.language)
    title, notes = say("Memory, CPU and energy", part.language), _energy_sources(part)
    return metric_table(part, "resources", title, caption, _RESOURCES, notes=notes)


def _energy_sources(part: Part) -> list[str]:
    """What the energies rest on; with the rows, where those differ."""
    found: dict[str, list[str]] = {}
    for cell in part.cells:
        for source in dict.fromkeys(map(energy_source, part.done(cell))):
            if source in ENERGY_SOURCES:
                found.setdefault(ENERGY_SOURCES[source], []).append(name_of(cell))
    told = {say(text, part.language): "; ".join(names) for text, names in found.items()}
    if len(told) < 2:
        return list(told)
    return [f"{what}: {names}" for what, names in told.items()]


def setup(part: Part) -> Table | None:
    """Opening, waiting, learning; None if no run tells any."""
    language = part.language
    targets = _targets(part)
    metric = time_to_accuracy(0.0)
    told = say("time to accuracy: {targets}", language, targets="; ".join(_told(targets, language)))
    timed = Column(
        metric.key,
        say(metric.name, language),
        say(metric.unit, language),
        say(metric.definition, language),
        better=metric.better,
        optional=True,
    )

    def time_to(cell: Cell) -> dict[str, Value]:
        target = targets.get(_task(cell))
        return {} if target is None else {metric.key: over_runs(part.done(cell), time_to_accuracy(target))}

    caption = say("Opening, waiting for batches, and learning, means over runs.", language)
    title = say("Opening, waiting and learning", language)
    return metric_table(part, "setup", title, caption, _SETUP, [timed], time_to, [told] if targets else [])


def _task(cell: Cell) -> Cell:
    """What all loaders train on alike."""
    return cell._replace(loader="", options="")


def _targets(part: Part) -> dict[Cell, float]:
    """For each task the highest accuracy, rounded down to a whole percent, that every run reached at some epoch."""
    best: dict[Cell, list[float]] = {}
    for cell in part.cells:
        for record in part.done(cell):
            reached = [epoch.test_accuracy for epoch in record.epochs if 0 <= epoch.test_accuracy <= 1]
            best.setdefault(_task(cell), []).append(max(reached, default=0.0))
    floors = {task: math.floor(100 * min(found) + 1e-9) / 100 for task, found in best.items()}
    return {task: target for task, target in floors.items() if target > 0}


def _told(targets: dict[Cell, float], language: Language) -> list[str]:
    """``digits 0.63``, once for each dataset and target."""
    return list(dict.fromkeys(f"{task.dataset} {number(target, '.2f', language)}" for task, target in targets.items()))
