"""What one run says of itself, computed from its JSON by pandas and scipy, apart from the report's own code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

Document: TypeAlias = dict[str, Any]
Expected: TypeAlias = tuple[float | None, float | None, float | None]
"""Number and limits."""
NOTHING: Expected = (None, None, None)


def time_to(run: Document, target: float) -> float:
    epochs = epochs_of(run)
    return float(epochs.wall_s.cumsum()[epochs.test_accuracy >= target].iloc[0])


_EPOCHS: dict[str, pd.DataFrame] = {}


def epochs_of(run: Document) -> pd.DataFrame:
    if run["run_id"] not in _EPOCHS:
        _EPOCHS[run["run_id"]] = pd.DataFrame(run["epochs"])
    return _EPOCHS[run["run_id"]]


def mean_of(field: str) -> Callable[[Document], float | None]:
    return lambda run: None if epochs_of(run)[field].isna().any() else float(epochs_of(run)[field].mean())


def spent(run: Document, field: str) -> float:
    """Percent of the core-seconds."""
    epochs = epochs_of(run)
    return float(100 * epochs[field].sum() / (epochs.wall_s.sum() * run["environment"]["cores"]))


def cpu(group: str | None) -> Callable[[Document], float]:
    def of(run: Document) -> float:
        by_group = pd.DataFrame([epoch["cpu_s"] for epoch in run["epochs"]])
        seconds = by_group.to_numpy().sum() if group is None else by_group[group].sum()
        return float(1000 * seconds / epochs_of(run).images.sum())

    return of


def wait(quantile: str) -> Callable[[Document], float]:
    return lambda run: float(1000 * np.mean([epoch["wait_s"][quantile] for epoch in run["epochs"]]))


def opening(field: str) -> Callable[[Document], float]:
    def of(run: Document) -> float:
        cold = run["config"]["cache"] == "cold"
        return float(epochs_of(run)[field].mean() if cold else run["setup"][field])

    return of


def stall(run: Document) -> float:
    epochs = epochs_of(run)
    if run["environment"]["device"] == "cuda":
        return float(max(0, epochs.wall_s.mean() - run["ceiling"]["epoch_s"]))
    return float((epochs.fetch_s + epochs.transfer_s).mean())


def waiting(run: Document) -> float:
    """The data stall, not cut at 0."""
    if run["environment"]["device"] == "cuda":
        return float(epochs_of(run).wall_s.mean() - run["ceiling"]["epoch_s"])
    return stall(run)


def gap(run: Document) -> float:
    epochs = epochs_of(run)
    parts = epochs.fetch_s + epochs.transfer_s + epochs.compute_s + epochs.other_s
    return float((100 * (epochs.wall_s - parts).abs() / epochs.wall_s).max())


def total(run: Document) -> float:
    epochs, opened = epochs_of(run), run["setup"]
    if run["config"]["cache"] == "cold":
        return float((epochs.open_s + epochs.first_batch_s + epochs.wall_s).mean())
    return float(opened["open_s"] + opened["first_batch_s"] + epochs.wall_s.mean())


def median_speed(run: Document, slices: str) -> float:
    """Images/s of the median slice."""
    taken = pd.DataFrame(run["feed"][slices])
    return float((taken.images / taken.wall_s).median())


def busy(run: Document, speed: float) -> float:
    """Percent of its time, of an emulated accelerator."""
    taken = pd.DataFrame(run["feed"]["curve"])
    taken = taken[taken.images_per_s == speed]
    return float((100 * taken.images / taken.wall_s / speed).item())


RUN: dict[str, Callable[[Document], float | None]] = {
    **{key: mean_of(key) for key in ("fetch_s", "transfer_s", "compute_s", "other_s")},
    **{key: mean_of(key) for key in ("device_copy_s", "device_compute_s", "device_idle_s")},
    "epoch_s": lambda run: float(epochs_of(run).wall_s.mean()),
    "images_per_s": lambda run: float(epochs_of(run).images.sum() / epochs_of(run).wall_s.sum()),
    "fetch_pct": lambda run: float(100 * epochs_of(run).fetch_s.sum() / epochs_of(run).wall_s.sum()),
    "gap_pct": gap,
    "device_busy_pct": lambda run: (
        None
        if run["environment"]["device"] != "cuda"
        else float(100 * epochs_of(run).device_compute_s.sum() / epochs_of(run).wall_s.sum())
    ),
    **{f"wait_{name}_ms": wait(name) for name in ("p50", "p95", "p99", "max")},
    "ceiling_s": lambda run: float(run["ceiling"]["epoch_s"]),
    "over_ceiling_s": lambda run: float(epochs_of(run).wall_s.mean() - run["ceiling"]["epoch_s"]),
    "stall_s": stall,
    "stall_pct": lambda run: 100 * stall(run) / float(epochs_of(run).wall_s.mean()),
    "au_pct": lambda run: float(100 * run["ceiling"]["epoch_s"] / epochs_of(run).wall_s.mean()),
    "feed_rate": lambda run: median_speed(run, "search") / float(run["config"]["busy"]),
    "free_rate": lambda run: median_speed(run, "free"),
    "loader_rate": lambda run: float(np.median(run["rates"]["loader"])),
    "raw_rate": lambda run: float(np.median(run["rates"]["raw"])),
    "efficiency": lambda run: float(np.median(run["rates"]["loader"]) / np.median(run["rates"]["raw"])),
    "open_s": opening("open_s"),
    "first_batch_s": opening("first_batch_s"),
    "close_s": lambda run: float(run["setup"]["close_s"]),
    "total_s": total,
    "read_bytes": lambda run: float(np.mean(run["cache"]["evidence"]["read_bytes"])),
    "accuracy": lambda run: float(run["epochs"][-1]["test_accuracy"]),
    "macro_f1": lambda run: float(run["epochs"][-1]["test_macro_f1"]),
    "train_loss": lambda run: float(run["epochs"][-1]["train_loss"]),
    "store_bytes": lambda run: float(run["store"]["bytes"]),
    "store_allocated_bytes": lambda run: float(run["store"]["allocated_bytes"]),
    "bytes_per_image": lambda run: float(run["store"]["bytes_per_image"]),
    **{
        key: lambda run, key=key: run["resources"]["memory"].get(key)  # type: ignore[misc]
        for key in ("tree_peak_pss", "process_peak_pss", "workers_peak_pss", "server_peak_pss", "device_peak")
    },
    "cpu_s_per_1000": cpu(None),
    **{f"cpu_{group}_s_per_1000": cpu(group) for group in ("process", "workers", "server", "ended")},
    "energy_j_per_epoch": lambda run: (
        None if run["resources"]["energy_j"] is None else run["resources"]["energy_j"] / len(run["epochs"])
    ),
    "gpu_utilisation_pct": lambda run: (run["resources"]["gpu"] or {}).get("utilisation_pct"),
    "gpu_power_w": lambda run: (run["resources"]["gpu"] or {}).get("power_w"),
    "gpu_peak_power_w": lambda run: (run["resources"]["gpu"] or {}).get("peak_power_w"),
    "stopwatch_pct": lambda run: (
        100 * run["resources"]["sampling"]["stopwatch_s"] / float(epochs_of(run).wall_s.mean())
    ),
    "others_pct": lambda run: spent(run, "others_cpu_s"),
    "stolen_pct": lambda run: spent(run, "stolen_cpu_s"),
}


QUOTIENTS: dict[str, tuple[float, Callable[[Document], float | None], Callable[[Document], float | None]]] = {
    "images_per_s": (1, lambda run: float(epochs_of(run).images.mean()), RUN["epoch_s"]),
    "fetch_pct": (100, RUN["fetch_s"], RUN["epoch_s"]),
    "stall_pct": (100, stall, RUN["epoch_s"]),
    "au_pct": (100, RUN["ceiling_s"], RUN["epoch_s"]),
    "device_busy_pct": (100, RUN["device_compute_s"], RUN["epoch_s"]),
    "efficiency": (1, RUN["loader_rate"], RUN["raw_rate"]),
}
"""Factor, what is divided, and by what: each as its mean over runs."""
SIGNED = {"over_ceiling_s"}


_KNOWN: dict[tuple[str, str], float | None] = {}


def number(key: str, run: Document) -> float | None:
    """A metric of a run, computed once."""
    place = key, run["run_id"]
    if place not in _KNOWN:
        _KNOWN[place] = RUN[key](run)
    return _KNOWN[place]


def seconds(run: Document) -> float:
    """Its epoch time."""
    found = number("epoch_s", run)
    assert found is not None
    return found


def over(key: str, runs: Sequence[Document]) -> Expected:
    """A metric over runs, as a table has it."""
    if key not in QUOTIENTS:
        return (interval if key in SIGNED else positive)([number(key, run) for run in runs])
    factor, above, below = QUOTIENTS[key]
    pairs = [(above(run), below(run)) for run in runs]
    if any(None in pair for pair in pairs):
        return NOTHING
    found = ratio([pair[0] or 0.0 for pair in pairs], [pair[1] or 0.0 for pair in pairs])
    mean, low, high = (None if value is None else factor * value for value in found)
    return mean, low, high


def positive(values: Sequence[float | None]) -> Expected:
    """Of what cannot be negative: the limits are factors where the lower one would be below 0."""
    mean, low, high = interval(values)
    known = [value for value in values if value is not None]
    if mean is None or low is None or low >= 0:
        return mean, low, high
    if min(known) <= 0:
        return mean, 0.0, high
    less, more = np.exp(stats.t.interval(0.95, len(known) - 1, scale=stats.sem(np.log(known))))
    return mean, mean * float(less), mean * float(more)


def ratio(above: Sequence[float], below: Sequence[float], level: float = 0.95) -> Expected:
    """Of the means, with Fieller's limits as Wikipedia writes them, by the covariance matrix of both."""
    n = len(above)
    mean = float(np.mean(above) / np.mean(below))
    if n < 3 or not mean:
        return mean, *((None, None) if n < 3 else (0.0, 0.0))
    (v11, v12), (_, v22) = np.cov(above, below) / n
    t, b = stats.t.ppf((1 + level) / 2, n - 1), np.mean(below)
    g = t**2 * v22 / b**2
    if g >= 1:  # all but what is between two ends; the piece that is shown holds the ratio, if the other holds no 1
        square = v11 - 2 * mean * v12 + mean**2 * v22 - g * (v11 - v12**2 / v22)
        ends = sorted((mean - g * v12 / v22 + sign * t / b * max(0.0, square) ** 0.5) / (1 - g) for sign in (-1, 1))
        if square <= 0 or (ends[0] > 0 and not ends[0] < 1 < ends[1]):
            return mean, 0.0, None
        return (mean, max(0.0, ends[1]), None) if mean >= ends[1] else (mean, 0.0, ends[0])
    if not v22:
        return mean, max(0.0, mean - t / b * v11**0.5), mean + t / b * v11**0.5
    root = np.sqrt(max(0.0, v11 - 2 * mean * v12 + mean**2 * v22 - g * (v11 - v12**2 / v22)))
    low, high = ((mean - g * v12 / v22 + sign * t / b * root) / (1 - g) for sign in (-1, 1))
    return mean, float(max(0.0, low)), float(high)


def interval(values: Sequence[float | None]) -> Expected:
    """Mean and t interval, by scipy's own."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    if len(known) < 3:
        return float(np.mean(known)), None, None
    if np.ptp(known) == 0:
        return known[0], known[0], known[0]
    low, high = stats.t.interval(0.95, len(known) - 1, loc=np.mean(known), scale=stats.sem(known))
    return float(np.mean(known)), float(low), float(high)
