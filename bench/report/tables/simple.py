"""Tables of metrics: stages of the epoch; memory, CPU and energy; opening, waiting and learning."""

from __future__ import annotations

import dataclasses
import math

from bench.render.language import Joined, Number, Text, joined, message
from bench.render.table import Table, Value
from bench.report.groups import Cell
from bench.report.metrics import METRICS, columns, time_to_accuracy
from bench.report.tables.assemble import part_table
from bench.report.tables.cells import CLIPPED, above_resolution, over_runs
from bench.report.tables.part import Part
from bench.report.values import energy_source, is_on_cuda

STAGES = columns(
    *("epoch_s", "fetch_s", "transfer_s", "compute_s", "other_s", "fetch_pct", "ceiling_s", "stall_s", "stall_pct"),
    *("au_pct", "over_ceiling_s", "device_copy_s", "device_compute_s", "device_idle_s", "device_busy_pct"),
)
RESOURCES = columns(
    *("tree_peak_pss", "process_peak_pss", "workers_peak_pss", "server_peak_pss", "device_peak", "cpu_s_per_1000"),
    *("cpu_process_s_per_1000", "cpu_workers_s_per_1000", "cpu_server_s_per_1000", "cpu_ended_s_per_1000"),
    *("energy_j_per_epoch", "gpu_utilisation_pct", "gpu_power_w", "gpu_peak_power_w"),
)
TIME_TO = time_to_accuracy(0.0).column
SETUP = [
    *columns("open_s", "first_batch_s", "close_s", "wait_p50_ms", "wait_p95_ms", "wait_p99_ms", "wait_max_ms"),
    *columns("train_loss"),
    TIME_TO,
]
ENERGY_SOURCES = {
    "counter": message("energy is by the device's own counter"),
    "sampled power": message("energy is the power that NVML sampled, over time"),
    "counter and sampled power": message(
        "energy is by the device's own counter, and where that failed the power that NVML sampled, over time"
    ),
}


def stages(part: Part) -> Table | None:
    """Where the time of an epoch goes, and how far it is above the best that any loader could do."""
    over = METRICS["over_ceiling_s"]
    clipped = {}  # stalls that are 0 only because the epoch took less than the ceiling
    for cell in part.cells:
        clipped[cell] = sum(is_on_cuda(record) and (over.of(record) or 0) < 0 for record in part.done(cell))

    def own(cell: Cell) -> dict[str, Value]:
        done = part.done(cell)
        values = {key: over_runs(done, METRICS[key]) for key in ("stall_s", "stall_pct") if clipped[cell]}
        marked = {key: dataclasses.replace(value, mark=CLIPPED) for key, value in values.items()}
        return {"over_ceiling_s": above_resolution(over_runs(done, over), over.column.format), **marked}

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
    title, caption = (
        message("Memory and CPU"),
        message("Peak memory and CPU time by group of processes, means over runs."),
    )
    if any(METRICS["energy_j_per_epoch"].of(record) is not None for cell in part.cells for record in part.done(cell)):
        title = message("Memory, CPU and energy")
        caption = message("Peak memory, CPU time and energy by group of processes, means over runs.")
    return part_table(part, "resources", title, caption, RESOURCES, notes=notes)


def setup(part: Part) -> Table | None:
    """Opening, waiting, learning."""
    targets = _targets(part)

    def time_to(cell: Cell) -> dict[str, Value]:
        target = targets.get(cell.task)
        return {} if target is None else {TIME_TO.key: over_runs(part.done(cell), time_to_accuracy(target))}

    told = dict.fromkeys(Joined((task.dataset, Number(target, ".2f"))) for task, target in targets.items())
    notes = [message("time to accuracy: {targets}", targets=joined(told, "; "))] if targets else []
    caption = message("Opening, waiting for batches, and learning, means over runs.")
    return part_table(part, "setup", message("Opening, waiting and learning"), caption, SETUP, time_to, notes)


def _targets(part: Part) -> dict[Cell, float]:
    """For each task the highest accuracy, rounded down to a whole percent, that every run reached at some epoch."""
    best: dict[Cell, list[float]] = {}
    for cell in part.cells:
        for record in part.done(cell):
            accuracies = [epoch.test_accuracy for epoch in record.epochs if epoch.test_accuracy is not None]
            reached = [accuracy for accuracy in accuracies if 0 <= accuracy <= 1]
            best.setdefault(cell.task, []).append(max(reached, default=0.0))
    floors = {task: math.floor(100 * min(own) + 1e-9) / 100 for task, own in best.items()}
    return {task: target for task, target in floors.items() if target > 0}
