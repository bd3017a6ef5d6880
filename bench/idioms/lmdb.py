"""The idiom of `lmdb`: one ``get`` per key in a read transaction of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.idioms import Crops, Indices, Read
from bench.idioms.pool import Pool
from loaders import StoreDataset


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """LMDB opens a database only once per process, so this is the loader's own environment."""
    options, reader = dataset.options, dataset.reader
    env, labels = reader.env, np.array(reader.labels)  # type: ignore[attr-defined]
    with contextlib.ExitStack() as stack:
        one_by_one = crops is not None or getattr(options, "encoding", "raw") == "jpeg"
        pool = stack.enter_context(Pool(dataset, crops)) if one_by_one else None

        def read(indices: Indices) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            with env.begin() as transaction:
                values: list[Any] = [transaction.get(index.to_bytes(8, "big")) for index in indices.tolist()]
            if pool is not None:
                return pool(indices, values.__getitem__), labels[indices]
            pixels = np.frombuffer(bytearray().join(values), np.uint8)
            return pixels.reshape(len(values), *dataset.split_info.fixed_shape), labels[indices]

        yield read
