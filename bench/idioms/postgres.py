"""The idiom of `postgres`: the fastest way known to read batches with psycopg alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from bench.idioms import Crops, Read
from bench.idioms.pool import Pixels, stored_images
from loaders import Indices, StoreDataset
from loaders.formats.postgres.reader import SETTINGS


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """``id = ANY(%s)`` in binary, prepared, the order restored by a dict, in a session planned as the loader's."""
    reader: Any = dataset.reader
    info = reader.connection_info
    query = sql.SQL("SELECT id, label, image FROM {} WHERE id = ANY(%s)").format(
        sql.Identifier(info.schema, info.table)
    )
    with (
        psycopg.connect(info.conninfo, autocommit=True) as connection,
        connection.cursor(binary=True) as cursor,
        stored_images(dataset, crops) as images,
    ):
        connection.execute(SETTINGS)

        def read(indices: Indices) -> tuple[Pixels, Indices]:
            ids = indices.tolist()
            by_id = {row[0]: row for row in cursor.execute(query, [ids], prepare=True)}
            rows = [by_id[index] for index in ids]
            return images(indices, [row[2] for row in rows]), np.array([row[1] for row in rows], np.int64)

        yield read
