"""The fastest way known to read batches from PostgreSQL with psycopg alone: what the loader is measured against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from loaders.decoding import ImageDecoder
from loaders.postgres import PostgresDataset


def idiom(
    dataset: PostgresDataset, batches: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Read batches with ``id = ANY(%s)`` in binary, prepared, the order restored by a dict.

    Args:
        dataset: says where the rows are; it is opened and stays open.
        batches: indices of each batch, int64 ``[B]``.

    Yields:
        Images uint8 ``[B, C, H, W]`` in fresh memory, and labels int64 ``[B]``.
    """
    info = dataset.connection_info()
    shape = dataset.split_info.shape
    query = sql.SQL("SELECT id, label, image FROM {} WHERE id = ANY(%s)").format(
        sql.Identifier(info.schema, info.table)
    )
    decoder = ImageDecoder() if dataset.options.encoding == "jpeg" else None
    with psycopg.connect(info.conninfo, autocommit=True) as connection, connection.cursor(binary=True) as cursor:
        for batch in batches:
            wanted = batch.tolist()
            found = {row[0]: row for row in cursor.execute(query, [wanted], prepare=True)}
            rows = [found[index] for index in wanted]
            labels = np.array([row[1] for row in rows], np.int64)
            if decoder is not None:
                yield decoder.decode([row[2] for row in rows], shape).numpy(), labels
            else:
                pixels = np.frombuffer(b"".join([row[2] for row in rows]), np.uint8).copy()
                yield pixels.reshape(len(rows), *shape), labels
    if decoder is not None:
        decoder.close()
