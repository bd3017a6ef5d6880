"""Records of runs that never were, with costs and noise of one's own choice."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.records import Record
from tests.record_samples import DATASET, STORE, a_record, an_epoch

START = datetime.datetime(2026, 1, 5, 8, tzinfo=datetime.UTC)


def a_run(loader: str, number: int, seconds: float, **changes: Any) -> Record:
    """A run of one round whose epochs take so many seconds; ``changes`` as in ``a_record``."""
    config = {"repeat": number, **changes.pop("config", {})}
    opening = changes.pop("open_s", 0.01)
    prepare = changes.pop("prepare_s", 3.0)
    name = f"{loader} {number} {config} {changes.get('dataset')}"
    fetch = changes.pop("fetch_s", max(0.0, seconds - 1.5))
    parts = {"fetch_s": fetch, "compute_s": seconds - fetch, "other_s": 0.0}
    cold = {"open_s": opening, "first_batch_s": 0.002} if config.get("cache") == "cold" else {}
    started = START + datetime.timedelta(minutes=number)
    usual: dict[str, Any] = {
        "run_id": hashlib.sha256(name.encode()).hexdigest()[:16],
        "epochs": [an_epoch(i, wall_s=seconds, train_loss=1 / (i + 1), **parts, **cold) for i in range(2)],
        "setup": {"open_s": opening, "first_batch_s": 0.002, "close_s": 0.001},
        "store": {**STORE, "prepare_s": prepare, "path": f"digits/{loader}"},
        "started_at": started.isoformat(),
        "finished_at": (started + datetime.timedelta(seconds=30)).isoformat(),
    }
    return a_record(loader, config=config, **{**usual, **changes})


def a_sweep(
    costs: Mapping[str, float], rounds: int = 5, sd: float = 0.01, seed: int = 0, **changes: Any
) -> list[Record]:
    """Every loader in every round.

    Args:
        costs: true seconds of an epoch by loader.
        rounds: how many.
        sd: of the logarithm of one run's time. Another such disturbs each round as a whole.
        seed: of the noise.
        changes: for every run, as in ``a_run``; a function of the loader is called with it.
    """
    rng = np.random.default_rng(seed)
    made = []
    for number in range(rounds):
        drift = rng.normal(0, 3 * sd)
        for loader, cost in costs.items():
            own = {key: value(loader) if callable(value) else value for key, value in changes.items()}
            made.append(a_run(loader, number, cost * float(np.exp(drift + rng.normal(0, sd))), **own))
    return made


def a_dataset(name: str, train: int = 50_000) -> dict[str, Any]:
    """The part of a record that names a synthetic twin."""
    return {**DATASET, "name": name, "synthetic": True, "official": False, "train": train, "test": train // 5}
