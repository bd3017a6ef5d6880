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

SCHEMA_VERSION = 3
READABLE = (1, 2, 3)
"""Versions that can be read. What an older one lacks is ``None`` in the parts below."""


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
    shape: tuple[int, int, int] | None  # ``(C, H, W)``; None where the images have many sizes
    fingerprint: str
    resize: int | None = None  # short side in pixels that larger images were stored with
    skipped: int = 0  # files that could not be decoded and were left out on demand


class LoaderPart(_Part):
    """Which format, with all its options."""

    name: str
    options: dict[str, Any]
    way: str | None = None  # how ``mode=mapped`` of ``gpu_mmap`` read: "pageable", "registered", "tmpfs"; else None


class StorePart(_Part):
    """What the store costs."""

    path: str  # relative to the store folder
    bytes: int
    allocated_bytes: int
    bytes_per_image: float
    prepare_s: float
    attempts: int = 1  # more than 1 where prepare was killed and resumed; ``prepare_s`` is then the sum of its parts


class CacheEvidence(_Part):
    """What was seen of the page cache."""

    method: str  # how the kernel was asked: "cachestat" or "mincore"; "none" where neither works
    bytes: int  # size of the files that hold the samples, in whole pages
    after_eviction: list[float | None]  # their share in memory after each eviction; one an epoch of a cold run
    before_epoch: list[float | None]  # their share in memory right before each epoch
    read_bytes: list[int | None]  # read from storage in each epoch, by all processes of the run
    elsewhere_read_bytes: list[int | None] = []
    """Bytes that a server outside the store read in each epoch, ``None`` uncounted; empty if nothing lies outside."""


class CachePart(_Part):
    """Which state of the page cache was asked for, what can be shown of it, and if it cannot be shown, why."""

    wanted: str
    state: Literal["cold", "warm", "unverified"]
    evidence: CacheEvidence | None
    reason: str | None = None


class SetupPart(_Part):
    """Seconds apart from the epochs."""

    open_s: float
    first_batch_s: float
    close_s: float


class EpochPart(_Part):
    """One training epoch; seconds. ``None`` where the system or the device does not tell."""

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
    train_loss: float | None  # this and the next two: None on an emulated accelerator, which learns nothing
    test_accuracy: float | None
    test_macro_f1: float | None
    wait_s: dict[str, float]  # quantiles of the wait for a batch
    cpu_s: dict[str, float] | None = None  # CPU seconds by group of processes: process, workers, server, ended
    others_cpu_s: float | None = None  # CPU seconds that the machine spent on anything but this run
    stolen_cpu_s: float | None = None  # CPU seconds that a hypervisor kept from the machine
    energy_j: float | None = None  # of the device; None also below two seconds, for which its meters are too slow
    open_s: float | None = None  # this and the next: where the store was opened anew for this epoch (cold runs)
    first_batch_s: float | None = None


class CeilingPart(_Part):
    """The same steps on batches that lie on the device already: the best that any loader could do."""

    batch_size: int
    block_steps: list[int]
    block_s: list[float]  # steps and seconds of each timed block; half of them ran before the epochs, half after
    epoch_s: float  # the blocks' mean time per sample, times the samples of an epoch


class WaitsPart(_Part):
    """How well the host kept the times of an emulated accelerator: how late it went on after each of its waits."""

    count: int
    mean_s: float
    max_s: float


class FeedSlice(_Part):
    """Some batches taken to an emulated accelerator, from the end of its first step to that of its last."""

    images_per_s: float  # the accelerator's speed
    images: int  # computed with between the two
    wall_s: float
    epoch: int  # the order is that of this epoch's beginning


class FeedPart(_Part):
    """Slices at the speeds asked for, with an accelerator that takes no time, and of the search for the feed rate.

    The latter two come in turns. Each slice of the search is at the speed at which the median of those before it would
    keep the accelerator busy for the share that is asked for; the first goes by the first free one.
    """

    curve: list[FeedSlice]
    free: list[FeedSlice]
    search: list[FeedSlice]


class RatesPart(_Part):
    """Images/s of each repetition; ``raw`` is the format's fastest plain idiom, where there is one.

    ``reused`` is the same idiom into memory that is used again for each batch, where it can do so.
    """

    loader: list[float]
    raw: list[float] | None
    reused: list[float] | None = None
    idiom: str | None


class ResourcesPart(_Part):
    """What the run used. Energy and GPU use are null where nothing measures them."""

    cpu_s: dict[str, float]  # of all training epochs by group of processes; evaluation is in it in version 1 only
    energy_j: float | None  # of the device over all training epochs; None below two seconds in all
    gpu: dict[str, Any] | None  # the keys of ``GpuSampler.result``; evaluation is included
    memory: dict[str, int]
    """Bytes. ``tree_peak_pss`` is the largest sum over the process tree, ``process_peak_pss``, ``workers_peak_pss`` and
    ``server_peak_pss`` the largest of each group, ``device_peak`` the most that PyTorch had allocated on the device."""
    sampling: dict[str, float] | None = None
    """Of memory: ``samples``, ``interval_s`` between them, ``cost_s`` of all; ``unreadable`` processes, and those whose
    ``resident`` size stands for a proportional one that the kernel does not tell. ``stopwatch_s`` is what an epoch's
    timelines cost, measured on empty steps."""


class DigestPart(_Part):
    """sha256 of all training samples in epoch 0's order, central crops of many sizes: pixels, labels, and both."""

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
    ceiling: CeilingPart | None
    rates: RatesPart | None
    waits: WaitsPart | None = None
    feed: FeedPart | None = None
    epochs: list[EpochPart]
    resources: ResourcesPart | None
    digest: DigestPart | None
    flags: list[str]
    log: str | None = None  # the end of what the run printed, where it failed in a sweep
    started_at: str
    finished_at: str


class TakenError(BenchError):
    """The run has a record already."""


class Foreign(NamedTuple):
    """A JSON file that is not a record of a known version, and why."""

    path: Path
    reason: str


def write_record(record: Record, out: Path, *, replace: bool = True) -> Path:
    """Write ``<out>/<run_id>.json``, whole or not at all; an earlier record of the run is replaced if ``replace``.

    Raises:
        TakenError: there is an earlier one, and it is not to be replaced.
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
            if not replace:
                try:
                    path.touch(exist_ok=False)
                except FileExistsError:
                    raise TakenError(f"there is a record {path} already") from None
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
            if not path.is_file():  # opening a pipe would wait for somebody who writes
                yield Foreign(path, "not a regular file")
                continue
            document = json.loads(path.read_bytes())
        except (ValueError, OSError, RecursionError) as error:
            yield Foreign(path, f"not readable as JSON ({error})")
            continue
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version not in READABLE:
            yield Foreign(path, f"not a record of schema version {' or '.join(map(str, READABLE))}")
            continue
        try:
            yield path, Record.model_validate(document)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            yield Foreign(path, f"not a whole record ({where}: {error.errors()[0]['msg'].lower()})")
