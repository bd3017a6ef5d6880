"""An untimed pass over what a loader delivers: hashes it, and holds it against what was prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bench.records import DigestPart
from loaders import Batch, BatchStream, Comparison, Indices, LoaderFaultError, StoreDataset
from loaders.images.digests import checksums_of


def check_samples(dataset: StoreDataset, stream: BatchStream, batches: list[Indices]) -> DigestPart:
    """Read samples in the way in which a run reads them, see that each is as it was prepared, and give their digest.

    Raises:
        LoaderFaultError: a sample is not as it was prepared.
    """
    one_size = dataset.split_info.shape is not None
    comparison = Comparison(dataset.location, dataset.split, len(dataset))
    pixels, labels = hashlib.sha256(), hashlib.sha256()
    for images, numbers, indices in _on_host(dataset, stream.epoch(batches), batches):
        pixels.update(images.data)
        labels.update(numbers.astype("<i8", copy=False).data)
        if one_size:
            comparison.add(indices, checksums_of(images), numbers)
    if not one_size:  # what came were crops: the whole images are hashed where they are read
        for sums, numbers, indices in _on_host(dataset, stream.checksums(batches), batches):
            comparison.add(indices, sums.view("<u8")[:, 0], numbers)
    if wrong := comparison.verdict():
        raise LoaderFaultError(
            f"loader {dataset.name} gave wrong data: {wrong}; prepare the store again with --force, and if that does "
            "not help, mend the loader"
        )
    both = hashlib.sha256(pixels.digest() + labels.digest())
    return DigestPart(pixels=pixels.hexdigest(), labels=labels.hexdigest(), combined=both.hexdigest())


def _on_host(
    dataset: StoreDataset, delivered: Iterator[Batch], batches: list[Indices]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], Indices]]:
    """Images and labels on the host, with the indices that were asked for."""
    for batch, indices in zip(delivered, batches, strict=True):
        if not len(batch.images) == len(batch.labels) == len(indices):
            raise LoaderFaultError(
                f"loader {dataset.name} gave {len(batch.images)} images and {len(batch.labels)} labels for "
                f"{len(indices)} samples; this is a fault of the loader"
            )
        # NumPy's copy, not PyTorch's: its threads would go on spinning on the cores that decode the next batch.
        yield np.ascontiguousarray(batch.images.cpu().numpy()), batch.labels.cpu().numpy(), indices
