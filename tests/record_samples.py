"""Records as runs leave them, for tests of what reads records."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.records import Record
from bench.render.language import Text, translated
from bench.render.table import Table

ENVIRONMENT: dict[str, Any] = {
    "cpu": "Some CPU",
    "cores": 8,
    "affinity": list(range(8)),
    "ram_bytes": 64 * 10**9,
    "machine": "x86_64",
    "system": "Linux",
    "kernel": "6.1",
    "python": "3.12.1",
    "packages": {"torch": "2.11.0", "numpy": "2.1.0", "h5py": None},
    "device": "cpu",
    "gpu": None,
    "threads": 8,
    "load_average": [0.1, 0.2, 0.3],
    "git": {"commit": "0" * 40, "clean": True},
}
DATASET: dict[str, Any] = {
    "name": "digits",
    "official": True,
    "synthetic": False,
    "limit": None,
    "classes": 10,
    "train": 1437,
    "test": 360,
    "shape": (3, 32, 32),
    "fingerprint": "f" * 64,
}
STORE: dict[str, Any] = {
    "path": "digits/mmap",
    "bytes": 5_520_384,
    "allocated_bytes": 5_533_696,
    "bytes_per_image": 3072.0,
    "prepare_s": 0.123456789,
}
DIGEST: dict[str, Any] = {"pixels": "1" * 64, "labels": "2" * 64, "combined": "3" * 64}


def an_epoch(index: int = 0, **changes: Any) -> dict[str, Any]:
    """Measurements of one epoch."""
    return {
        "index": index,
        "wall_s": 2.0,
        "fetch_s": 0.5,
        "transfer_s": 0.0,
        "compute_s": 1.4,
        "other_s": 0.1,
        "device_copy_s": None,
        "device_compute_s": None,
        "device_idle_s": None,
        "images": 1437,
        "train_loss": 0.7,
        "test_accuracy": 0.9,
        "test_macro_f1": 0.89,
        "wait_s": {"p50": 0.01, "p95": 0.02, "p99": 0.03, "max": 0.04},
        **changes,
    }


def a_document(loader: str = "mmap", **changes: Any) -> dict[str, Any]:
    """A record's fields; ``config`` and ``environment`` in ``changes`` are merged into the usual ones."""
    config = {"loader": loader, "dataset": "digits", "device": "cpu", **changes.pop("config", {})}
    environment = {**ENVIRONMENT, **changes.pop("environment", {})}
    rate = config.get("command") == "rate"
    config.setdefault("command", "run")
    return {
        "run_id": "0123456789abcdef",
        "status": "ok",
        "error": None,
        "config": config,
        "dataset": DATASET,
        "loader": {"name": loader, "options": {}},
        "store": STORE,
        "environment": environment,
        "cache": None if rate else {"wanted": "warm", "state": "unverified", "evidence": None},
        "setup": None if rate else {"open_s": 0.01, "first_batch_s": 0.002, "close_s": 0.001},
        "ceiling": None,
        "rates": {"loader": [1000.0, 1100.0], "raw": None, "idiom": None} if rate else None,
        "epochs": [] if rate else [an_epoch()],
        "resources": {
            "cpu_s": {"process": 3.0, "children": 0.0},
            "energy_j": None,
            "gpu": None,
            "memory": {"tree_pss": 10**8},
        },
        "digest": None if rate else DIGEST,
        "flags": [],
        "started_at": "2026-01-01T00:00:00+00:00",
        "finished_at": "2026-01-01T00:01:00+00:00",
        **changes,
    }


def a_record(loader: str = "mmap", **changes: Any) -> Record:
    """A valid record."""
    return Record.model_validate(a_document(loader, **changes))


_TRAINED = ("setup", "ceiling", "resources", "digest", "cache")
"""What only a training run leaves."""
GPU: dict[str, Any] = {"name": "Some GPU", "memory_bytes": 80 * 10**9, "driver": "1.0"}


def a_whole_document(rng: np.random.Generator, loader: str = "mmap", **changes: Any) -> dict[str, Any]:
    """A record's fields as schema version 2 has them, none missing, with numbers that are drawn.

    ``config`` and ``environment`` in ``changes`` are merged; ``device="cuda"`` in ``config`` makes it a GPU's.
    """
    config = changes.pop("config", {})
    cuda = config.get("device") == "cuda"
    environment: dict[str, Any] = {"governor": None, "virtual": False, "storage": {"filesystem": "ext4"}}
    environment |= {"device": "cuda", "gpu": GPU} if cuda else {}
    count, cold = config.get("epochs", 3), config.get("cache", "warm") == "cold"
    made = [_an_epoch(rng, index, cuda, cold) for index in range(count)]
    loader_rate = rng.uniform(1e4, 2e4, 3)
    whole: dict[str, Any] = {
        "schema_version": 2,
        "run_id": rng.bytes(8).hex(),
        "epochs": made,
        "store": {**STORE, "prepare_s": float(rng.uniform(1, 9)), "bytes": int(rng.integers(10**6, 10**7))},
        "setup": dict(zip(("open_s", "first_batch_s", "close_s"), rng.uniform(0.001, 0.1, 3).tolist(), strict=True)),
        "ceiling": {"batch_size": 128, "block_steps": [25, 25], "block_s": [1.0, 1.1], "epoch_s": rng.uniform(1.5, 2)},
        "rates": {
            "loader": loader_rate.tolist(),
            "raw": (loader_rate * rng.uniform(0.5, 2, 3)).tolist(),
            "idiom": f"bench.idioms.{loader}",
        },
        "cache": {
            "wanted": "cold" if cold else "warm",
            "state": "cold" if cold else "warm",
            "reason": None,
            "evidence": {
                "method": "cachestat",
                "bytes": 10**7,
                "after_eviction": [0.0] * count if cold else [],
                "before_epoch": [1.0] * count,
                "read_bytes": rng.integers(0, 10**7, count).tolist(),
            },
        },
        "resources": {
            "cpu_s": {"process": 3.0},
            "energy_j": sum(epoch["energy_j"] for epoch in made) if cuda else None,
            "gpu": {
                "utilisation_pct": rng.uniform(50, 99),
                "power_w": rng.uniform(99, 300),
                "peak_power_w": rng.uniform(300, 400),
                "throttled": {},
                "energy_source": "counter",
                "trouble": None,
            }
            if cuda
            else None,
            "memory": {
                f"{group}_peak_pss": int(rng.integers(10**8, 10**9))
                for group in ("tree", "process", "workers", "server")
            }
            | ({"device_peak": int(rng.integers(10**8, 10**9))} if cuda else {}),
            "sampling": {"samples": 5.0, "stopwatch_s": rng.uniform(1e-4, 1e-3)},
        },
    }
    return a_document(
        loader, config=config, environment={**environment, **changes.pop("environment", {})}, **{**whole, **changes}
    )


def _an_epoch(rng: np.random.Generator, index: int, cuda: bool, cold: bool) -> dict[str, Any]:
    fetch, transfer, compute, other = rng.uniform([0.1, 0.01, 1.5, 0.001], [0.5, 0.02, 2.0, 0.002]).tolist()
    device = rng.uniform(0.1, 1, 3).tolist() if cuda else [None] * 3
    return an_epoch(
        index,
        wall_s=fetch + transfer + compute + other + rng.uniform(0, 0.01),
        fetch_s=fetch,
        transfer_s=transfer,
        compute_s=compute,
        other_s=other,
        device_copy_s=device[0],
        device_compute_s=device[1],
        device_idle_s=device[2],
        train_loss=rng.uniform(0.1, 2),
        test_accuracy=rng.uniform(0.5, 0.9),
        test_macro_f1=rng.uniform(0.5, 0.9),
        wait_s=dict(zip(("p50", "p95", "p99", "max"), np.sort(rng.uniform(0.001, 0.1, 4)).tolist(), strict=True)),
        cpu_s=dict(zip(("process", "workers", "server", "ended"), rng.uniform(0.5, 3, 4).tolist(), strict=True)),
        others_cpu_s=rng.uniform(0, 0.2),
        stolen_cpu_s=rng.uniform(0, 0.2),
        energy_j=rng.uniform(300, 400) if cuda else None,
        open_s=rng.uniform(0.01, 0.2) if cold else None,
        first_batch_s=rng.uniform(0.01, 0.2) if cold else None,
    )


def a_whole_sweep(seed: int = 0, rounds: int = 5, device: str = "cpu") -> list[dict[str, Any]]:
    """Documents of a sweep: three loaders by two datasets by two states of the cache by rounds, and their rates."""
    rng = np.random.default_rng(seed)
    made: list[dict[str, Any]] = []
    stores: dict[tuple[str, str, int], dict[str, Any]] = {}
    for number in range(rounds):
        for dataset in ("digits", "cifar10"):
            about = {**DATASET, "name": dataset, "train": 1437 if dataset == "digits" else 50_000}
            for loader in ("filesystem", "mmap", "hdf5"):
                config = {"dataset": dataset, "repeat": number, "device": device}
                for cache, count in (("warm", 3), ("cold", 1)):
                    whole = {**config, "cache": cache, "epochs": count}
                    made.append(a_whole_document(rng, loader, config=whole, dataset=about))
                without: dict[str, Any] = {"epochs": [], **dict.fromkeys(_TRAINED)}
                rate = {**config, "command": "rate"}
                made.append(a_whole_document(rng, loader, config=rate, dataset=about, **without))
                for document in made[-3:]:  # stores are prepared anew in every third round
                    document["store"] = stores.setdefault((dataset, loader, number // 3), document["store"])
    return made


def said(text: Text) -> str:
    """A text of a table in English."""
    return translated(text, "en")


def notes_of(table: Table) -> list[str]:
    """Its notes in English."""
    return [said(note) for note in table.notes]
