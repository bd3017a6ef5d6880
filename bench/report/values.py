"""How a metric's value is computed from one run's record; ``metrics`` says what each one means."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

from bench.records import EpochPart, Record

Of: TypeAlias = Callable[[Record], float | None]

_SOURCE = "energy_source"


def is_on_cuda(record: Record) -> bool:
    """Whether the run trained on a CUDA device."""
    return record.config.device == "cuda" or record.environment.get("device") == "cuda"


def is_stall_clipped(record: Record) -> bool:
    """Whether the run's data stall is 0 only because its epoch took less than its ceiling."""
    over = over_ceiling_s(record)
    return record.status == "ok" and is_on_cuda(record) and over is not None and over < 0


def per_epoch(field: str) -> Of:
    """Mean over the run's epochs."""
    return lambda record: _mean(getattr(epoch, field) for epoch in record.epochs)


def epoch_s(record: Record) -> float | None:
    """Mean wall time of the run's epochs."""
    return _mean(epoch.wall_s for epoch in record.epochs)


def images(record: Record) -> float | None:
    """Images of an epoch, mean over the run's epochs."""
    return _mean(epoch.images for epoch in record.epochs)


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


def ceiling_s(record: Record) -> float | None:
    """The ceiling, scaled to an epoch."""
    return None if record.ceiling is None else record.ceiling.epoch_s


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
        return again if again is not None or record.setup is None else float(getattr(record.setup, field))

    return of


def close_s(record: Record) -> float | None:
    """Seconds of closing."""
    return None if record.setup is None else record.setup.close_s


def total_s(record: Record) -> float | None:
    """Open, first batch and epoch."""
    return _plus(opening("open_s")(record), opening("first_batch_s")(record), epoch_s(record))


def read_bytes(record: Record) -> float | None:
    """Bytes read from storage per epoch."""
    evidence = None if record.cache is None else record.cache.evidence
    return None if evidence is None else _mean(evidence.read_bytes)


def last(field: str) -> Of:
    """Of the last epoch."""
    return lambda record: getattr(record.epochs[-1], field) if record.epochs else None


def loader_rate(record: Record) -> float | None:
    """Median images/s of the loader alone."""
    return None if record.rates is None else _median(record.rates.loader)


def raw_rate(record: Record) -> float | None:
    """Median images/s of the plain idiom."""
    return None if record.rates is None else _median(record.rates.raw)


def store(field: str) -> Of:
    """What the store costs."""
    return lambda record: None if record.store is None else float(getattr(record.store, field))


def memory(key: str) -> Of:
    """Peak bytes."""
    return lambda record: None if record.resources is None else record.resources.memory.get(key)


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
    sampling = None if record.resources is None else record.resources.sampling
    return _percent(None if sampling is None else sampling.get("stopwatch_s"), epoch_s(record))


def gpu(key: str) -> Of:
    """What NVML told."""

    def of(record: Record) -> float | None:
        seen = None if record.resources is None else record.resources.gpu
        value = None if seen is None else seen.get(key)
        return float(value) if isinstance(value, int | float) else None

    return of


def energy_j_per_epoch(record: Record) -> float | None:
    """Joules of all training epochs over their number: a short one has none of its own."""
    return None if record.resources is None else _over(record.resources.energy_j, len(record.epochs))


def energy_source(record: Record) -> str | None:
    """What the run's energy rests on, as NVML's part of the record says."""
    seen = None if record.resources is None else record.resources.gpu
    source = (
        None if seen is None or record.resources is None or record.resources.energy_j is None else seen.get(_SOURCE)
    )
    return source if isinstance(source, str) else None


def share_of_cores(field: str) -> Of:
    """Percent of the core-seconds of all epochs, on all the machine's cores."""

    def of(record: Record) -> float | None:
        cores = record.environment.get("cores")
        return _percent(_sum(record, field), _times(_sum(record, "wall_s"), cores if isinstance(cores, int) else 0))

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
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def _sum(record: Record, field: str) -> float | None:
    return _times(per_epoch(field)(record), len(record.epochs))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _over(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def _percent(above: float | None, below: float | None) -> float | None:
    return _times(_over(above, below), 100)


def _plus(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _median(values: list[float] | None) -> float | None:
    return statistics.median(values) if values else None
