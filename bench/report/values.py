"""How a metric's value is computed from one run's record; ``metrics`` says what each one means."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

from bench.records import EpochPart, Record

Of: TypeAlias = Callable[[Record], float | None]


def is_on_cuda(record: Record) -> bool:
    """Whether the run trained on a CUDA device."""
    return record.config.device == "cuda" or record.environment.get("device") == "cuda"


def is_stall_clipped(record: Record) -> bool:
    """Whether the run's data stall is 0 only because its epoch took less than its ceiling."""
    over = over_ceiling_s(record)
    return record.status == "ok" and is_on_cuda(record) and over is not None and over < 0


def part(record: Record, path: str) -> Any:
    """What a record has at a path such as ``resources.gpu.power_w``; None where a part of it is missing."""
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name)
        if value is None:
            return None
    return value


def at(path: str) -> Of:
    """The number at a path into the record."""

    def of(record: Record) -> float | None:
        value = part(record, path)
        return float(value) if isinstance(value, int | float) else None

    return of


def per_epoch(field: str) -> Of:
    """Mean over the run's epochs."""
    return lambda record: _mean(getattr(epoch, field) for epoch in record.epochs)


epoch_s, images, ceiling_s = per_epoch("wall_s"), per_epoch("images"), at("ceiling.epoch_s")
"""Wall time and images of an epoch, and the ceiling, scaled to an epoch."""


def gap_pct(record: Record) -> float | None:
    """Share of the wall time in no part, of the epoch with the largest."""
    gaps = [
        abs(epoch.wall_s - epoch.fetch_s - epoch.transfer_s - epoch.compute_s - epoch.other_s) / epoch.wall_s
        for epoch in record.epochs
        if epoch.wall_s > 0
    ]
    return 100 * max(gaps) if gaps else None


def wait_ms(quantile: str) -> Of:
    """Mean over the epochs of a quantile of the waits."""
    return lambda record: _times(_mean(epoch.wait_s.get(quantile) for epoch in record.epochs), 1e3)


def over_ceiling_s(record: Record) -> float | None:
    """Epoch time less the ceiling; below 0 where noise is larger than the stall."""
    wall, ceiling = epoch_s(record), ceiling_s(record)
    return None if wall is None or ceiling is None else wall - ceiling


def stall_s(record: Record) -> float | None:
    """Data stall by the rule of the run's device."""
    if is_on_cuda(record):
        over = over_ceiling_s(record)
        return None if over is None else max(0.0, over)
    return _plus(per_epoch("fetch_s")(record), per_epoch("transfer_s")(record))


def opening(field: Literal["open_s", "first_batch_s"]) -> Of:
    """Mean over the openings before each epoch, where there were such; else that of the run's only opening."""

    def of(record: Record) -> float | None:
        again = per_epoch(field)(record)
        return at(f"setup.{field}")(record) if again is None else again

    return of


def total_s(record: Record) -> float | None:
    """Open, first batch and epoch."""
    return _plus(opening("open_s")(record), opening("first_batch_s")(record), epoch_s(record))


def read_bytes(record: Record) -> float | None:
    """Bytes read from storage per epoch."""
    return _mean(part(record, "cache.evidence.read_bytes") or [])


def last(field: str) -> Of:
    """Of the last epoch."""
    return lambda record: getattr(record.epochs[-1], field) if record.epochs else None


def median_rate(side: Literal["loader", "raw"]) -> Of:
    """Median images/s over the repetitions of the loader alone, or of the plain idiom."""

    def of(record: Record) -> float | None:
        rates = part(record, f"rates.{side}")
        return statistics.median(rates) if rates else None

    return of


def cpu_per_1000(group: str | None = None) -> Of:
    """CPU seconds per 1000 images, of one group of processes or of all. Version 1 has none by epoch."""

    def spent(epoch: EpochPart) -> float | None:
        if epoch.cpu_s is None:
            return None
        return sum(epoch.cpu_s.values()) if group is None else epoch.cpu_s.get(group, 0.0)

    def of(record: Record) -> float | None:
        mean = _mean(spent(epoch) for epoch in record.epochs)
        return _over(_times(mean, 1000), images(record))

    return of


def stopwatch_pct(record: Record) -> float | None:
    """What timing an epoch cost, over its time."""
    return _times(_over(at("resources.sampling.stopwatch_s")(record), epoch_s(record)), 100)


def energy_j_per_epoch(record: Record) -> float | None:
    """Joules of all training epochs over their number: a short one has none of its own."""
    return _over(at("resources.energy_j")(record), len(record.epochs))


def energy_source(record: Record) -> str | None:
    """What the run's energy rests on, as NVML's part of the record says."""
    source = part(record, "resources.gpu.energy_source")
    return source if isinstance(source, str) and part(record, "resources.energy_j") is not None else None


def preparation(record: Record) -> tuple[str, float] | None:
    """What names the preparation of the run's store; runs that read one store share it."""
    return None if record.store is None else (record.store.path, record.store.prepare_s)


def share_of_cores(field: str) -> Of:
    """Percent of the core-seconds of all epochs, on all the machine's cores."""

    def of(record: Record) -> float | None:
        cores, count = record.environment.get("cores"), len(record.epochs)
        spent, wall = (_times(per_epoch(name)(record), count) for name in (field, "wall_s"))
        return _times(_over(spent, _times(wall, cores if isinstance(cores, int) else 0)), 100)

    return of


def time_to(target: float) -> Of:
    """Wall time of the epochs up to the first that reaches a test accuracy."""

    def of(record: Record) -> float | None:
        spent = 0.0
        for epoch in record.epochs:
            spent += epoch.wall_s
            if epoch.test_accuracy >= target:
                return spent
        return None

    return of


def _mean(values: Iterable[float | None]) -> float | None:
    """Of all; None if there are none or one of them is unknown."""
    every = list(values)
    known = [value for value in every if value is not None]
    return sum(known) / len(known) if known and len(known) == len(every) else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _over(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def _plus(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
