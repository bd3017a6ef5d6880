"""The idiom of `postgres`: the fastest way known to read batches with psycopg alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from bench.idioms import Crops, Indices, Read
from bench.idioms.pool import Pool
from loaders import StoreDataset
from loaders.formats.postgres.reader import SETTINGS


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """``id = ANY(%s)`` in binary, prepared, the order restored by a dict, in a session planned as the loader's."""
    options: Any = dataset.options
    reader: Any = dataset.reader
    info = reader.connection_info
    query = sql.SQL("SELECT id, label, image FROM {} WHERE id = ANY(%s)").format(
        sql.Identifier(info.schema, info.table)
    )
    with (
        psycopg.connect(info.conninfo, autocommit=True) as connection,
        connection.cursor(binary=True) as cursor,
        contextlib.ExitStack() as stack,
    ):
        connection.execute(SETTINGS)
        one_by_one = crops is not None or options.encoding == "jpeg"
        pool = stack.enter_context(Pool(dataset, crops)) if one_by_one else None

        def read(indices: Indices) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            ids = indices.tolist()
            by_id = {row[0]: row for row in cursor.execute(query, [ids], prepare=True)}
            rows = [by_id[index] for index in ids]
            labels = np.array([row[1] for row in rows], np.int64)
            column = [row[2] for row in rows]
            if pool is not None:
                return pool(indices, column.__getitem__), labels
            pixels = np.frombuffer(bytearray().join(column), np.uint8)
            return pixels.reshape(len(column), *dataset.split_info.fixed_shape), labels

        yield read
