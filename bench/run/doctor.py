"""What this machine can run, what is missing and why; and whether stores still hold what was written."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from bench.measure.environment import cpu_model
from bench.measure.gpu.devices import facts
from bench.run.stores import Progress, silent
from bench.sources.registry import SOURCES, why_missing
from loaders import (
    MANIFEST,
    Comparison,
    LoaderError,
    StoreDataset,
    UnavailableError,
    UnknownLoaderError,
    is_other_folder,
    load,
    loader_names,
    read_manifest,
    read_store,
)
from loaders.images.digests import image_digest, shortened

State = Literal["ok", "missing", "damaged"]


class Finding(NamedTuple):
    """One line of the doctor's table."""

    what: str
    state: State
    detail: str


def examine(data_dir: Path) -> Iterator[Finding]:
    """Machine, loaders and datasets."""
    yield Finding("machine", "ok", f"{cpu_model()}; {platform.system()} {platform.release()}")
    yield Finding("python", "ok", f"{platform.python_version()}, torch {torch.__version__}")
    for fact in facts():
        yield Finding(fact.what, "ok" if fact.there else "missing", fact.detail)
    reasons = {f"loader {name}": why_unavailable(name) for name in loader_names()}
    reasons |= {f"dataset {name}": why_missing(name, data_dir) for name in SOURCES}
    for what, reason in reasons.items():
        yield Finding(what, "missing" if reason else "ok", reason or "")


def why_unavailable(name: str) -> str | None:
    """Why a loader cannot run here with its default options, or None."""
    try:
        loader = load(name)
    except UnavailableError as error:
        return str(error)
    return loader(loader.Options()).reason_unavailable()


def verify(store_dir: Path, progress: Progress = silent) -> Iterator[Finding]:
    """Read every store below the folder in full and compare its hashes with its manifest."""
    stores = {manifest.parent for manifest in store_dir.rglob(MANIFEST)}
    others = {folder for folder in store_dir.glob("*/*/") if folder.parent not in stores and is_other_folder(folder)}
    for location in sorted(stores | others):
        relative = location.relative_to(store_dir)
        if not any(part.startswith(".") for part in relative.parts):  # half-written: the next prepare removes it
            yield Finding(f"store {relative.as_posix()}", *_state_of(location, progress))


def _state_of(location: Path, progress: Progress) -> tuple[State, str]:
    try:
        info = read_manifest(location)
        loader = load(info.loader)
        options = loader.Options.model_validate(info.options)
        if reason := loader(options).reason_unavailable():
            return "missing", f"cannot be read here: {reason}"
        read_store(location, info.loader)
        for split in info.splits:
            with StoreDataset(loader(options), location, split) as dataset:
                _compare(dataset, progress)
    except (UnavailableError, UnknownLoaderError) as error:
        return "missing", f"cannot be read here: {error}"
    except (LoaderError, ValueError, OSError) as error:
        return "damaged", str(error)
    return "ok", f"{info.samples:,} samples as prepared"


def _compare(dataset: StoreDataset, progress: Progress) -> None:
    pixels, labels = hashlib.sha256(), hashlib.sha256()
    comparison = Comparison(dataset.location, dataset.split, len(dataset))
    split = dataset.split_info
    ragged = split.shape is None
    step = 64 if ragged else 1024
    with progress(f"verify {dataset.location.name} {dataset.split}", len(dataset)) as advance:
        for start in range(0, len(dataset), step):
            indices = np.arange(start, min(start + step, len(dataset)))
            if ragged:
                images, numbers = dataset.whole(indices)
            else:
                batch = dataset.batch(indices)
                images, numbers = list(batch.images.cpu().contiguous().numpy()), batch.labels.cpu().numpy()
            digests = b"".join(image_digest(image, ragged=ragged) for image in images)
            pixels.update(digests)
            labels.update(numbers.astype("<i8", copy=False).data)
            comparison.add(indices, shortened(np.frombuffer(digests, np.uint8).reshape(-1, 32)), numbers)
            advance(len(numbers))
    wrong = comparison.verdict()
    if wrong or (pixels.hexdigest(), labels.hexdigest()) != (split.pixels_sha256, split.labels_sha256):
        raise LoaderError(
            f"the {dataset.split} split no longer holds what was written"
            f"{': ' + wrong if wrong else ''}; prepare it again with --force"
        )
