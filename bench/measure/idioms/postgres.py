"""The fastest way known to read batches from PostgreSQL with psycopg alone: what the loader is measured against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from bench.measure.pool import Pool
from loaders.postgres import PostgresDataset


def idiom(
    dataset: PostgresDataset, batches: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Read batches with ``id = ANY(%s)`` in binary, prepared, the order restored by a dict.

    Args:
        dataset: says where the rows are; it is opened and stays open.
        batches: indices of each batch, int64 ``[B]``.

    Yields:
        Images uint8 ``[B, C, H, W]``, decoded ones ``[B, H, W, C]``, in fresh memory, and labels int64 ``[B]``.
    """
    info = dataset.connection_info()
    shape = dataset.split_info.shape
    query = sql.SQL("SELECT id, label, image FROM {} WHERE id = ANY(%s)").format(
        sql.Identifier(info.schema, info.table)
    )
    options: Any = dataset.options
    with (
        psycopg.connect(info.conninfo, autocommit=True) as connection,
        connection.cursor(binary=True) as cursor,
        Pool(options.threads, shape) as pool,
    ):
        for batch in batches:
            wanted = batch.tolist()
            found = {row[0]: row for row in cursor.execute(query, [wanted], prepare=True)}
            rows = [found[index] for index in wanted]
            labels = np.array([row[1] for row in rows], np.int64)
            images = [row[2] for row in rows]
            if options.encoding == "jpeg":
                yield pool.decode(len(images), images.__getitem__), labels
            else:
                yield np.frombuffer(b"".join(images), np.uint8).reshape(len(rows), *shape), labels
