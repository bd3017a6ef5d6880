"""Tables of metrics: stages of the epoch; memory, CPU and energy; opening, waiting and learning."""

from __future__ import annotations

import dataclasses
import math

from bench.render.language import Joined, Number, Text, joined, message
from bench.render.table import Column, Table, Value
from bench.report.groups import Cell
from bench.report.metrics import METRICS, time_to_accuracy
from bench.report.tables.assemble import part_table
from bench.report.tables.cells import CLIPPED, above_resolution, column, over_runs
from bench.report.tables.part import Part
from bench.report.values import energy_source, is_stall_clipped

STAGES = (
    column("epoch_s", ",.3f", spread="half"),
    column("fetch_s", ",.3f"),
    column("transfer_s", ",.3f"),
    column("compute_s", ",.3f"),
    column("other_s", ",.3f"),
    column("fetch_pct", ".1f"),
    column("ceiling_s", ",.3f"),
    column("stall_s", ",.3f", spread="half"),
    column("stall_pct", ".1f"),
    column("au_pct", ".1f"),
    column("over_ceiling_s", ",.3f", spread="half"),
    column("device_copy_s", ",.3f", optional=True),
    column("device_compute_s", ",.3f", optional=True),
    column("device_idle_s", ",.3f", optional=True),
    column("device_busy_pct", ".1f", optional=True),
)
RESOURCES = (
    column("tree_peak_pss", ",.0f", "MB", 1e-6, spread="half"),
    column("process_peak_pss", ",.0f", "MB", 1e-6),
    column("workers_peak_pss", ",.0f", "MB", 1e-6, optional=True),
    column("server_peak_pss", ",.0f", "MB", 1e-6, optional=True),
    column("device_peak", ",.0f", "MB", 1e-6, optional=True),
    column("cpu_s_per_1000", ",.3f", spread="half"),
    column("cpu_process_s_per_1000", ",.3f"),
    column("cpu_workers_s_per_1000", ",.3f", optional=True),
    column("cpu_server_s_per_1000", ",.3f", optional=True),
    column("cpu_ended_s_per_1000", ",.3f", optional=True),
    column("energy_j_per_epoch", ",.0f", spread="half", optional=True),
    column("gpu_utilisation_pct", ".0f", optional=True),
    column("gpu_power_w", ".0f", optional=True),
    column("gpu_peak_power_w", ".0f", optional=True),
)
ENERGY_SOURCES = {
    "counter": message("energy is by the device's own counter"),
    "sampled power": message("energy is the power that NVML sampled, over time"),
    "counter and sampled power": message(
        "energy is by the device's own counter, and where that failed the power that NVML sampled, over time"
    ),
}
_TIME_TO = time_to_accuracy(0.0)
SETUP = (
    column("open_s", ",.3f"),
    column("first_batch_s", ",.4f"),
    column("close_s", ",.3f"),
    column("wait_p50_ms", ",.2f"),
    column("wait_p95_ms", ",.2f"),
    column("wait_p99_ms", ",.2f"),
    column("wait_max_ms", ",.2f"),
    column("train_loss", ".4f"),
    Column(_TIME_TO.key, _TIME_TO.name, _TIME_TO.unit, _TIME_TO.definition, better=_TIME_TO.better, optional=True),
)


def stages(part: Part) -> Table | None:
    """Where the time of an epoch goes, and how far it is above the best that any loader could do."""
    clipped = {cell: sum(map(is_stall_clipped, part.done(cell))) for cell in part.cells}

    def own(cell: Cell) -> dict[str, Value]:
        done = part.done(cell)
        values = {key: over_runs(done, METRICS[key]) for key in ("stall_s", "stall_pct") if clipped[cell]}
        marked = {key: dataclasses.replace(value, mark=CLIPPED) for key, value in values.items()}
        return {"over_ceiling_s": above_resolution(over_runs(done, METRICS["over_ceiling_s"]), ",.3f"), **marked}

    notes = [
        Joined((CLIPPED, message("clipped at 0 in {count} of {total} runs: {name}", count=count,
                                 total=len(part.done(cell)), name=cell.name)))
        for cell, count in clipped.items()
        if count
    ]  # fmt: skip
    caption = message("Parts of the epoch on the host's clock, means over runs; they add up to the epoch.")
    return part_table(part, "stages", message("Stages of the epoch"), caption, STAGES, own, notes)


def resources(part: Part) -> Table | None:
    """Memory, CPU time and energy, and what the energies rest on; with the rows, where those differ."""
    names: dict[Text, list[Text]] = {}
    for cell in part.cells:
        for source in dict.fromkeys(map(energy_source, part.done(cell))):
            if source in ENERGY_SOURCES:
                names.setdefault(ENERGY_SOURCES[source], []).append(cell.name)
    notes = list(names) if len(names) < 2 else [Joined((s, joined(own, "; ")), ": ") for s, own in names.items()]
    caption = message("Peak memory, CPU time and energy by group of processes, means over runs.")
    return part_table(part, "resources", message("Memory, CPU and energy"), caption, RESOURCES, notes=notes)


def setup(part: Part) -> Table | None:
    """Opening, waiting, learning."""
    targets = _targets(part)

    def time_to(cell: Cell) -> dict[str, Value]:
        target = targets.get(cell.task)
        return {} if target is None else {_TIME_TO.key: over_runs(part.done(cell), time_to_accuracy(target))}

    told = dict.fromkeys(Joined((task.dataset, Number(target, ".2f"))) for task, target in targets.items())
    notes = [message("time to accuracy: {targets}", targets=joined(told, "; "))] if targets else []
    caption = message("Opening, waiting for batches, and learning, means over runs.")
    return part_table(part, "setup", message("Opening, waiting and learning"), caption, SETUP, time_to, notes)


def _targets(part: Part) -> dict[Cell, float]:
    """For each task the highest accuracy, rounded down to a whole percent, that every run reached at some epoch."""
    best: dict[Cell, list[float]] = {}
    for cell in part.cells:
        for record in part.done(cell):
            reached = [epoch.test_accuracy for epoch in record.epochs if 0 <= epoch.test_accuracy <= 1]
            best.setdefault(cell.task, []).append(max(reached, default=0.0))
    floors = {task: math.floor(100 * min(own) + 1e-9) / 100 for task, own in best.items()}
    return {task: target for task, target in floors.items() if target > 0}
