"""The fastest way known to read batches from PostgreSQL with psycopg alone: what the loader is measured against."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from bench.idioms import Crops, Read
from bench.idioms.plain_crops import PlainCrops
from bench.idioms.pool import Pool
from loaders import StoreDataset
from loaders.formats.postgres.reader import SETTINGS, PostgresReader

Images = Callable[[NDArray[np.int64], list[bytes]], NDArray[np.uint8]]


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[Read]:
    """``id = ANY(%s)`` in binary, prepared, the order restored by a dict, in a session planned as the loader's."""
    assert isinstance(dataset.reader, PostgresReader)
    info = dataset.reader.connection_info
    query = sql.SQL("SELECT id, label, image FROM {} WHERE id = ANY(%s)").format(
        sql.Identifier(info.schema, info.table)
    )
    with (
        psycopg.connect(info.conninfo, autocommit=True) as connection,
        connection.cursor(binary=True) as cursor,
        _images(dataset, crops) as images,
    ):
        connection.execute(SETTINGS)

        def batch(indices: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            wanted = indices.tolist()
            found = {row[0]: row for row in cursor.execute(query, [wanted], prepare=True)}
            rows = [found[index] for index in wanted]
            labels = np.array([row[1] for row in rows], np.int64)
            return images(indices, [row[2] for row in rows]), labels

        yield batch


@contextlib.contextmanager
def _images(dataset: StoreDataset, crops: Crops | None) -> Iterator[Images]:
    """How the column ``image`` of a batch becomes images."""
    options: Any = dataset.options
    if crops is not None:
        with PlainCrops(dataset, crops) as cut:
            yield lambda indices, column: cut(indices, column.__getitem__)
        return
    shape = dataset.split_info.fixed_shape
    if options.encoding == "jpeg":
        with Pool(options.threads, shape) as pool:
            yield lambda _, column: pool.decode(len(column), column.__getitem__)
        return
    yield lambda _, column: np.frombuffer(bytearray().join(column), np.uint8).reshape(len(column), *shape)
