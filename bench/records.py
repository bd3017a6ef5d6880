"""The record that a run leaves: one JSON file, versioned, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.config import AnyConfig
from bench.errors import BenchError

SCHEMA_VERSION = 1


class _Part(BaseModel):
    # A diverged run has a loss of NaN, which JSON lacks; as null it could not be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class DatasetPart(_Part):
    """Which images were used."""

    name: str
    official: bool
    synthetic: bool
    limit: int | None
    classes: int
    train: int
    test: int
    shape: tuple[int, int, int]
    fingerprint: str


class LoaderPart(_Part):
    """Which format, with all its options."""

    name: str
    options: dict[str, Any]


class StorePart(_Part):
    """What the store costs; paths are relative to the store folder."""

    path: str
    bytes: int
    allocated_bytes: int
    bytes_per_image: float
    prepare_s: float


class CachePart(_Part):
    """What the page cache was wished to hold, and what can be shown of it."""

    wanted: str
    state: Literal["cold", "warm", "unverified"]
    evidence: dict[str, Any] | None


class SetupPart(_Part):
    """Seconds apart from the epochs."""

    open_s: float
    first_batch_s: float
    close_s: float


class EpochPart(_Part):
    """One training epoch; seconds."""

    index: int
    wall_s: float
    fetch_s: float
    transfer_s: float
    compute_s: float
    other_s: float
    device_copy_s: float | None
    device_compute_s: float | None
    device_idle_s: float | None
    images: int
    train_loss: float
    test_accuracy: float
    test_macro_f1: float
    wait_s: dict[str, float]


class RatesPart(_Part):
    """Images/s of each repetition; ``raw`` is the format's fastest plain idiom, where there is one."""

    loader: list[float]
    raw: list[float] | None
    idiom: str | None


class ResourcesPart(_Part):
    """What the run used. Energy and GPU use are null where nothing measures them."""

    cpu_s: dict[str, float]
    energy_j: float | None
    gpu: dict[str, Any] | None
    memory: dict[str, int]


class DigestPart(_Part):
    """sha256 of all training samples in epoch 0's order: pixels, labels, and the two together."""

    pixels: str
    labels: str
    combined: str


class Record(_Part):
    """Everything a run leaves."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    status: Literal["ok", "failed", "unavailable"]
    error: str | None
    config: AnyConfig
    dataset: DatasetPart | None
    loader: LoaderPart
    store: StorePart | None
    environment: dict[str, Any]
    cache: CachePart | None
    setup: SetupPart | None
    ceiling: dict[str, Any] | None  # filled once the harness measures ceilings
    rates: RatesPart | None
    epochs: list[EpochPart]
    resources: ResourcesPart | None
    digest: DigestPart | None
    flags: list[str]
    started_at: str
    finished_at: str


class Foreign(NamedTuple):
    """A JSON file that is not a record of a known version, and why."""

    path: Path
    reason: str


def write_record(record: Record, out: Path) -> Path:
    """Write ``<out>/<run_id>.json``, replacing an earlier record of the same run at once.

    Raises:
        BenchError: the folder cannot be written.
    """
    path = out / f"{record.run_id}.json"
    partial = out / f".{record.run_id}.{os.getpid()}.partial"
    try:
        out.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(record.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise BenchError(f"cannot write the record {path}: {error.strerror}; choose another --out") from error
    return path


def read_records(folder: Path) -> Iterator[tuple[Path, Record] | Foreign]:
    """All records below a folder, in the order of their paths; what is torn or foreign is named, never fatal.

    Raises:
        BenchError: no such folder.
    """
    if not folder.is_dir():
        raise BenchError(f"there is no folder {folder}; give the --out folder of earlier runs")
    for path in sorted(folder.rglob("*.json")):
        try:
            document = json.loads(path.read_bytes())
        except (ValueError, OSError, RecursionError) as error:
            yield Foreign(path, f"not readable as JSON ({error})")
            continue
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            yield Foreign(path, f"not a record of schema version {SCHEMA_VERSION}")
            continue
        try:
            yield path, Record.model_validate(document)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            yield Foreign(path, f"not a whole record ({where}: {error.errors()[0]['msg'].lower()})")
