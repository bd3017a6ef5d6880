"""An untimed pass over what a loader delivers: hashes it, and holds it against what was prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bench.records import DigestPart
from bench.train.batching import BatchStream
from loaders import Batch, Comparison, Indices, LoaderFaultError, StoreDataset
from loaders.images.digests import checksums_of


def check_samples(dataset: StoreDataset, stream: BatchStream, batches: list[Indices]) -> DigestPart:
    """Read samples in the way in which a run reads them, and see that each is as it was prepared.

    Args:
        dataset: a split.
        stream: delivers it.
        batches: what to read.

    Returns:
        The digest of the samples as the loader gave them; of images of many sizes, of their central crops.

    Raises:
        LoaderFaultError: a sample is not as it was prepared.
    """
    whole = dataset.split_info.shape is not None
    comparison = Comparison(dataset.location, dataset.split, len(dataset))
    pixels, labels = hashlib.sha256(), hashlib.sha256()
    for images, given, indices in _delivered(stream.epoch(batches), batches, dataset):
        pixels.update(images.data)
        labels.update(given.astype("<i8", copy=False).data)
        if whole:
            comparison.add(indices, checksums_of(images), given)
    if not whole:  # what came were crops: the whole images are hashed where they are read
        for sums, given, indices in _delivered(stream.checksums(batches), batches, dataset):
            comparison.add(indices, sums.view("<u8")[:, 0], given)
    if wrong := comparison.verdict():
        raise LoaderFaultError(
            f"loader {dataset.name} gave wrong data: {wrong}; prepare the store again with --force, and if that does "
            "not help, mend the loader"
        )
    both = hashlib.sha256(pixels.digest() + labels.digest())
    return DigestPart(pixels=pixels.hexdigest(), labels=labels.hexdigest(), combined=both.hexdigest())


def _delivered(
    given: Iterator[Batch], wanted: list[Indices], dataset: StoreDataset
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], Indices]]:
    """Images and labels on the host, with the indices that were asked for."""
    for batch, indices in zip(given, wanted, strict=True):
        if not len(batch.images) == len(batch.labels) == len(indices):
            raise LoaderFaultError(
                f"loader {dataset.name} gave {len(batch.images)} images and {len(batch.labels)} labels for "
                f"{len(indices)} samples; this is a fault of the loader"
            )
        yield batch.images.cpu().contiguous().numpy(), batch.labels.cpu().numpy(), indices
