"""The idiom of `sqlite`: one query by rowid for each batch, on a read-only mapped file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.idioms import Crops, Indices, Read
from bench.idioms.pool import Pool
from loaders import StoreDataset
from loaders.formats.sqlite import FILE, quoted


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """``WHERE id IN`` the batch's ids, the order restored by a dict."""
    options: Any = dataset.options
    query = f"SELECT id, label, image FROM {quoted(dataset.split)} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
    uri = f"{(dataset.location / FILE).as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection, contextlib.ExitStack() as stack:
        connection.execute(f"PRAGMA mmap_size = {options.mmap_mb << 20}")
        one_by_one = crops is not None or options.encoding == "jpeg"
        pool = stack.enter_context(Pool(dataset, crops)) if one_by_one else None

        def read(indices: Indices) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            ids = indices.tolist()
            by_id = {row[0]: row for row in connection.execute(query, (json.dumps(ids),))}
            labels = np.array([by_id[index][1] for index in ids], np.int64)
            images = [by_id[index][2] for index in ids]
            if pool is not None:
                return pool(indices, images.__getitem__), labels
            pixels = np.frombuffer(bytearray().join(images), np.uint8)
            return pixels.reshape(len(ids), *dataset.split_info.fixed_shape), labels

        yield read
