"""The idiom of `lmdb`: one ``get`` per key in a read transaction of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bench.idioms import Crops, Read
from bench.idioms.pool import Pixels, stored_images
from loaders import Indices, StoreDataset


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """LMDB opens a database only once per process, so this is the loader's own environment."""
    reader: Any = dataset.reader
    env, labels = reader.env, reader.labels
    with stored_images(dataset, crops) as images:

        def read(indices: Indices) -> tuple[Pixels, Indices]:
            with env.begin() as transaction:
                values = [transaction.get(index.to_bytes(8, "big")) for index in indices.tolist()]
            return images(indices, values), labels[indices]

        yield read
