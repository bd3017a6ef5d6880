"""The fastest way known to read batches from PostgreSQL with psycopg alone: what the loader is measured against."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from bench.measure.idioms import Read
from bench.measure.pool import Pool
from loaders.pgreader import SETTINGS
from loaders.postgres import PostgresDataset


@contextlib.contextmanager
def idiom(dataset: PostgresDataset) -> Iterator[Read]:
    """``id = ANY(%s)`` in binary, prepared, the order restored by a dict, in a session planned as the loader's."""
    info = dataset.connection_info()
    shape = dataset.split_info.fixed_shape
    query = sql.SQL("SELECT id, label, image FROM {} WHERE id = ANY(%s)").format(
        sql.Identifier(info.schema, info.table)
    )
    options: Any = dataset.options
    with (
        psycopg.connect(info.conninfo, autocommit=True) as connection,
        connection.cursor(binary=True) as cursor,
        Pool(options.threads, shape) as pool,
    ):
        connection.execute(SETTINGS)

        def batch(indices: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            wanted = indices.tolist()
            found = {row[0]: row for row in cursor.execute(query, [wanted], prepare=True)}
            rows = [found[index] for index in wanted]
            labels = np.array([row[1] for row in rows], np.int64)
            images = [row[2] for row in rows]
            if options.encoding == "jpeg":
                return pool.decode(len(images), images.__getitem__), labels
            return np.frombuffer(b"".join(images), np.uint8).reshape(len(rows), *shape), labels

        yield batch
