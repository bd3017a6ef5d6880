"""Records as runs leave them, for tests of what reads records."""

from __future__ import annotations

from typing import Any

from bench.records import Record

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
