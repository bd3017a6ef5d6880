"""The idiom of `sqlite`: one query by rowid for each batch, on a read-only mapped file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.idioms import Crops, Read
from bench.idioms.pool import Pixels, stored_images
from loaders import Indices, StoreDataset
from loaders.formats.sqlite import FILE, quoted


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """``WHERE id IN`` the batch's ids, the order restored by a dict."""
    options: Any = dataset.options
    query = f"SELECT id, label, image FROM {quoted(dataset.split)} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
    uri = f"{(dataset.location / FILE).as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection, stored_images(dataset, crops) as images:
        connection.execute(f"PRAGMA mmap_size = {options.mmap_mb << 20}")

        def read(indices: Indices) -> tuple[Pixels, Indices]:
            ids = indices.tolist()
            by_id = {row[0]: row for row in connection.execute(query, (json.dumps(ids),))}
            rows = [by_id[index] for index in ids]
            return images(indices, [row[2] for row in rows]), np.array([row[1] for row in rows], np.int64)

        yield read
