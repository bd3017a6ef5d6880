"""What it takes to prepare a store, and after how many epochs the time saved has paid for it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.records import Record
from bench.report import values
from bench.report.metrics import METRICS
from bench.stats.intervals import Interval, positive_interval


def preparation(records: Iterable[Record]) -> Interval | None:
    """Mean seconds over the preparations of these runs' stores; runs that read one store share its preparation."""
    prepare_s = METRICS["prepare_s"].of
    times = {values.preparation(r): seconds for r in records if (seconds := prepare_s(r)) is not None}
    return positive_interval(list(times.values())) if times else None


def epochs_until(prepare_s: float, saved_s: float | None) -> float | None:
    """Epochs until the seconds saved in each have paid for a preparation; None where nothing is saved.

    What the baseline's own store costs does not count: it is taken for the form that the images have anyway.
    """
    epochs = prepare_s / saved_s if saved_s is not None and saved_s > 0 else math.inf
    return epochs if math.isfinite(epochs) else None
