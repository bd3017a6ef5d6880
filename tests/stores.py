"""Stores and folders made of samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loaders import DatasetInfo, Format, StoreDataset, StoreInfo, prepare_store
from loaders.testing import INFO, RaggedSamples


def write_folder(samples: RaggedSamples, root: Path) -> None:
    """The files in a folder for each class."""
    for i, (file, label) in enumerate(zip(samples.files, samples.labels.tolist(), strict=True)):
        folder = root / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.jpg").write_bytes(file)


def store_samples(
    format_: type[Format[Any]],
    splits: Mapping[str, Any],
    location: Path,
    options: Any = None,
    *,
    dataset: DatasetInfo = INFO,
    **more: Any,
) -> StoreInfo:
    """Prepare a store with options as ``Format.configured`` takes them."""
    return prepare_store(format_.configured(options), splits, location, dataset=dataset, **more)


def open_store(
    format_: type[Format[Any]],
    location: Path | str,
    split: str = "train",
    options: Any = None,
    *,
    size: int | None = None,
) -> StoreDataset:
    """A dataset over a store, not opened yet, with options as ``Format.configured`` takes them."""
    return StoreDataset(format_.configured(options), location, split, size=size)
