"""The metrics that one run yields: name, unit, definition, direction, and how each is read from a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from bench.records import Record
from bench.render.language import message
from bench.render.table import Better, Column
from bench.report import values
from bench.report.values import Raw, at, per_epoch
from bench.stats.intervals import Interval, mean_interval, positive_interval
from bench.stats.ratio import paired_means, ratio_of

Of: TypeAlias = Callable[[Record], float | None]
LARGEST = 1e100
"""What is larger was not measured, and its square would be infinite."""
_UNITS = {"images/s": message("images/s"), "s/1000 images": message("s/1000 images")}
"""Units that are words; all others read the same in every language."""
_FORMATS = {
    "s": ",.3f", "s/1000 images": ",.3f", "ms": ",.2f", "%": ".1f", "": ".4f", "MB": ",.1f", "images/s": ",.0f",
    "B": ",.0f", "J": ",.0f", "W": ".0f",
}  # fmt: skip
"""How numbers of a unit are shown where a metric does not say otherwise."""


class Metric(NamedTuple):
    """One quantity of a run.

    Attributes:
        column: how it is shown: name, unit, definition, direction. ``scale`` is 1e-6 for bytes shown in MB.
        of: the run's value. None where the run did not end well, where its record lacks what is needed (an older
            version, a part that was switched off), and where the value is NaN or beyond ``LARGEST``.
        parts: of a rate or a share what is divided by what, and the factor of its unit; else None. Over runs it is the
            one's mean over the other's, as a reader divides them, and not the mean of the runs' own ratios.
        signed: whether it may be negative.
    """

    column: Column
    of: Of
    parts: tuple[Of, Of, float] | None = None
    signed: bool = False

    def over(self, records: Iterable[Record]) -> tuple[Interval, Sequence[Record]] | None:
        """Mean over runs with its 95% interval, or the ratio of two means, and the runs with it; None for none."""
        records = list(records)
        used = [(record, value) for record in records if (value := self.of(record)) is not None]
        if not used:
            return None
        if self.parts is None:
            mean = (mean_interval if self.signed else positive_interval)([value for _, value in used])
            return mean, [record for record, _ in used]
        *sides, factor = self.parts
        above, below = ({i: v for i, r in enumerate(records) if (v := side(r)) is not None} for side in sides)
        ratio = ratio_of(paired_means(above, below))
        if ratio is None:
            return None
        low, high = (None if limit is None else factor * limit for limit in (ratio.low, ratio.high))
        return Interval(factor * ratio.mean, low, high, ratio.n), [records[i] for i in sorted(above | below)]


def _metric(key: str, name: str, unit: str, better: Better, of: Raw, definition: str, **shown: Any) -> Metric:
    """A metric; ``shown`` is what its column has beside the usual."""
    said, scale = (message(name), _UNITS.get(unit, unit), message(definition)), 1e-6 if unit == "MB" else 1.0
    column = Column(key, *said, scale=scale, better=better, **{"format": _FORMATS[unit], **shown})
    return Metric(column, _guarded(of))


def _ratio(
    key: str, name: str, unit: str, better: Better, above: Raw, below: Raw, definition: str, factor: float = 1.0,
    **shown: Any,
) -> Metric:  # fmt: skip
    """A metric that is divided anew over runs."""
    sides = _guarded(above), _guarded(below)

    def of(record: Record) -> float:
        mine, base = (side(record) for side in sides)
        return math.nan if mine is None or not base else factor * mine / base

    return _metric(key, name, unit, better, of, definition, **shown)._replace(parts=(*sides, factor))


def _guarded(of: Raw) -> Of:
    def guarded(record: Record) -> float | None:
        value = of(record) if record.status == "ok" else math.nan
        return float(value) if abs(value) < LARGEST else None

    return guarded


def time_to_accuracy(target: float) -> Metric:
    """The training time until a test accuracy, between 0 and 1, is reached; None for a run that never reaches it."""
    definition = (
        "training time, evaluation left out, until the test accuracy first reaches the target that the notes name: the "
        "highest whole percent that every run reached"
    )
    of = values.time_to(target)
    return _metric("time_to_accuracy_s", "time to accuracy", "s", "lower", of, definition, optional=True)


_WAIT = "of the seconds that each batch was waited for; mean over epochs"
_PSS = "peak of the summed proportional set sizes (PSS: a page shared by n processes counts 1/n in each)"
_PROCESSES = {
    "process": "the training process", "workers": "the worker processes", "server": "an embedded server"
}  # fmt: skip
_CPU = "CPU seconds of the training epochs per 1000 images"
_MEANS = ", as the ratio of their means over runs"

_ALL = (
    _metric("epoch_s", "epoch", "s", "lower", values.epoch_s,
            "wall time of one training epoch, from the first request of a batch to the final device synchronise; "
            "evaluation outside; mean over the run's epochs", spread="half"),
    _ratio("images_per_s", "images/s", "images/s", "higher", values.images, values.epoch_s,
           f"training images of an epoch over the epoch{_MEANS}"),
    _metric("fetch_s", "fetch", "s", "lower", per_epoch("fetch_s"),
            "host blocked on the next batch, per epoch"),
    _metric("transfer_s", "transfer", "s", "lower", per_epoch("transfer_s"),
            "host issuing the copy to the device or waiting for it, per epoch"),
    _metric("compute_s", "compute", "s", "lower", per_epoch("compute_s"),
            "host issuing forward, backward and step or waiting for them, per epoch"),
    _metric("other_s", "other", "s", "lower", per_epoch("other_s"),
            "the rest of the training loop, timed too, per epoch"),
    _metric("gap_pct", "gap", "%", "lower", values.gap_pct,
            "share of the wall time that is in none of the four parts; the epoch where it is largest", format=".2f"),
    _ratio("fetch_pct", "fetch", "%", "lower", per_epoch("fetch_s"), values.epoch_s,
           f"fetch over epoch{_MEANS}", factor=100),
    _metric("device_copy_s", "device copy", "s", None, per_epoch("device_copy_s"),
            "copying on the device's own clock (CUDA events), per epoch; overlaps with computing and the host's parts",
            optional=True),
    _metric("device_compute_s", "device compute", "s", None, per_epoch("device_compute_s"),
            "computing on the device's own clock (CUDA events), per epoch, each step from beginning to end: gaps "
            "between its launches count, and are few where CUDA graphs replay it; overlaps with the host's parts",
            optional=True),
    _metric("device_idle_s", "device idle", "s", "lower", per_epoch("device_idle_s"),
            "time in which the device's computing queue was at no step and no batch (CUDA events), per epoch",
            optional=True),
    _ratio("device_busy_pct", "device busy", "%", "higher", per_epoch("device_compute_s"), values.epoch_s,
           f"device compute over epoch{_MEANS}", factor=100, optional=True),
    _metric("wait_p50_ms", "wait p50", "ms", "lower", values.wait_ms("p50"), f"median {_WAIT}"),
    _metric("wait_p95_ms", "wait p95", "ms", "lower", values.wait_ms("p95"), f"95% quantile {_WAIT}"),
    _metric("wait_p99_ms", "wait p99", "ms", "lower", values.wait_ms("p99"), f"99% quantile {_WAIT}"),
    _metric("wait_max_ms", "wait max", "ms", "lower", values.wait_ms("max"), f"largest {_WAIT}"),
    _metric("ceiling_s", "ceiling", "s", None, values.ceiling_s,
            "the same steps on batches that lie on the device already, in the same process, scaled to the epoch"),
    _metric("over_ceiling_s", "epoch - ceiling", "s", "lower", values.over_ceiling_s,
            "epoch less ceiling, not clipped; \"< resolution (half its 95% interval's width)\" where that holds 0",
            spread="half")._replace(signed=True),
    _metric("stall_s", "data stall", "s", "lower", values.stall_s,
            "on CUDA and emulated devices epoch less ceiling, clipped at 0; on the CPU, where data and compute share "
            "the cores, fetch + transfer", spread="half"),
    _ratio("stall_pct", "data stall", "%", "lower", values.stall_s, values.epoch_s,
           f"data stall over epoch{_MEANS}", factor=100),
    _ratio("au_pct", "AU", "%", "higher", values.ceiling_s, values.epoch_s,
           f"accelerator utilisation: ceiling over epoch{_MEANS}", factor=100),
    _metric("feed_rate", "feed rate", "images/s", "higher", values.feed_rate,
            "the fastest emulated accelerator that is kept busy for the share that the notes name, by each run's "
            "median slice of a search", spread="half"),
    _metric("free_rate", "fed at most", "images/s", "higher", values.free_rate,
            "images/s that reach an emulated accelerator that takes no time; each run's median slice", spread="half"),
    _metric("loader_rate", "loader rate", "images/s", "higher", values.median_rate("loader"),
            "batches drawn and consumed byte for byte, no training; the median of each run's repetitions",
            spread="half"),
    _metric("raw_rate", "plain idiom", "images/s", None, values.median_rate("raw"),
            "the format's fastest plain idiom on the same batches in the same process; median of the repetitions",
            spread="half"),
    _ratio("efficiency", "efficiency", "", "higher", values.median_rate("loader"), values.median_rate("raw"),
           f"loader rate over plain idiom{_MEANS}; with its 95% interval by Fieller's method", format=",.2f",
           spread="limits"),
    _metric("open_s", "open", "s", "lower", values.opening("open_s"),
            "opening the store, apart from the epoch; mean over the openings of a cold run"),
    _metric("first_batch_s", "first batch", "s", "lower", values.opening("first_batch_s"),
            "the first batch after opening, apart from the epoch; mean over the openings of a cold run", format=",.4f"),
    _metric("close_s", "close", "s", "lower", at("setup.close_s"), "closing the store after the last epoch"),
    _metric("total_s", "total", "s", "lower", values.total_s, "open + first batch + epoch", spread="half"),
    _metric("read_bytes", "read", "MB", "lower", values.read_bytes,
            "bytes that all processes of the run had read from storage, per epoch; page cache hits not counted"),
    _metric("accuracy", "accuracy", "", "higher", values.last("test_accuracy"), "test accuracy after the last epoch"),
    _metric("macro_f1", "macro-F1", "", "higher", values.last("test_macro_f1"),
            "unweighted mean over the classes of the test F1 after the last epoch"),
    _metric("train_loss", "train loss", "", "lower", values.last("train_loss"),
            "mean cross-entropy of the last epoch's training images"),
    _metric("prepare_s", "prepare", "s", "lower", at("store.prepare_s"),
            "writing the store from the dataset's official files, durably", format=",.2f", spread="half"),
    _metric("store_bytes", "store", "MB", "lower", at("store.bytes"), "sum of the store's file sizes"),
    _metric("store_allocated_bytes", "on disk", "MB", "lower", at("store.allocated_bytes"),
            "what the file system sets aside for the store"),
    _metric("bytes_per_image", "per image", "B", "lower", at("store.bytes_per_image"),
            "store size over the images of both splits"),
    _metric("tree_peak_pss", "memory", "MB", "lower", at("resources.memory.tree_peak_pss"),
            f"{_PSS} of the process, its workers and an embedded server", spread="half", format=",.0f"),
    *(
        _metric(f"{group}_peak_pss", group, "MB", "lower", at(f"resources.memory.{group}_peak_pss"), f"{_PSS} of {who}",
                format=",.0f", optional=group != "process")
        for group, who in _PROCESSES.items()
    ),
    _metric("device_peak", "device memory", "MB", "lower", at("resources.memory.device_peak"),
            "most bytes that PyTorch had allocated on the device", format=",.0f", optional=True),
    _metric("cpu_s_per_1000", "CPU", "s/1000 images", "lower", values.cpu_per_1000(), f"{_CPU}, of all processes",
            spread="half"),
    *(
        _metric(f"cpu_{group}_s_per_1000", f"CPU {group}", "s/1000 images", "lower", values.cpu_per_1000(group),
                f"{_CPU}, of {who}", optional=group != "process")
        for group, who in {**_PROCESSES, "ended": "processes that ended meanwhile"}.items()
    ),
    _metric("energy_j_per_epoch", "energy", "J", "lower", values.energy_j_per_epoch,
            "what the device used in all training epochs (NVML) over their number, by its counter or from sampled "
            "power, as the notes say", spread="half", optional=True),
    _metric("gpu_utilisation_pct", "GPU use", "%", "higher", at("resources.gpu.utilisation_pct"),
            "the device's utilisation as NVML tells it, evaluation included", format=".0f", optional=True),
    _metric("gpu_power_w", "GPU power", "W", "lower", at("resources.gpu.power_w"),
            "the device's mean power over time as NVML tells it, evaluation included", optional=True),
    _metric("gpu_peak_power_w", "GPU peak power", "W", "lower", at("resources.gpu.peak_power_w"),
            "the highest power that NVML told of the device, evaluation included", optional=True),
    _metric("stopwatch_pct", "stopwatch", "%", "lower", values.stopwatch_pct,
            "what timing an epoch costs, measured on empty steps in the same process, over the epoch", format=".2f"),
    _metric("others_pct", "others' load", "%", "lower", values.share_of_cores("others_cpu_s"),
            "share of the epochs' core-seconds that the machine spent on anything but this run"),
    _metric("stolen_pct", "stolen", "%", "lower", values.share_of_cores("stolen_cpu_s"),
            "share of the epochs' core-seconds that a hypervisor kept from the machine"),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.column.key: metric for metric in _ALL}
"""All metrics that need no parameter, by key."""


def columns(*keys: str) -> list[Column]:
    """The columns of these metrics."""
    return [METRICS[key].column for key in keys]
