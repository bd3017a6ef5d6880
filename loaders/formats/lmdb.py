"""LMDB: a memory-mapped B+ tree with one key per sample, in one folder per split."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import lmdb
import numpy as np

from loaders.core.batch import Indices
from loaders.core.errors import StoreError
from loaders.core.format import Candidate, Format, Reader, Written
from loaders.core.options import EncodingOptions, read_option
from loaders.core.payloads import Payloads
from loaders.store.intake import Intake
from loaders.store.manifest import Store

_LABELS = b"labels"
_GROWTH = 1 << 40
"""Address space that a database may use; its file is only as large as its content."""


class LmdbOptions(EncodingOptions):
    """Options of the LMDB loader."""

    readahead: bool = read_option(
        False, description="let the system read ahead around missing pages, which helps if all fits into memory"
    )


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")  # sorted as the samples are, so that they are appended


class LmdbFormat(Format[LmdbOptions]):
    """LMDB by py-lmdb."""

    name = "lmdb"
    packages = ("lmdb",)
    Options = LmdbOptions
    candidates = (Candidate(), Candidate({"encoding": "jpeg"}, needs="files"))

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """One database per split."""
        try:
            for split in splits.values():
                self._write_split(split, folder / split.name)
        except lmdb.DiskError as error:  # it has no errno; the usual cause is a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        return Written([f"{name}/data.mdb" for name in splits])

    def _write_split(self, split: Intake, folder: Path) -> None:
        """One transaction per block; the labels under a key of their own."""
        # Durable when the store is committed, not at each transaction.
        with lmdb.open(str(folder), map_size=_GROWTH, sync=False, metasync=False) as env:
            labels = []
            for block in split.blocks():
                keys = map(_key, range(split.stored, split.stored + len(block.labels)))
                with env.begin(write=True) as transaction, transaction.cursor() as cursor:
                    cursor.putmulti(zip(keys, map(bytes, block.payloads), strict=True), append=True)
                labels.append(block.labels)
            with env.begin(write=True) as transaction:
                transaction.put(_LABELS, np.concatenate(labels).astype("<i8").tobytes())
            env.sync(True)
        (folder / "lock.mdb").unlink()  # only for processes that have it open

    def open(self, store: Store, split: str) -> Reader:
        """Map the database, read-only and without a lock file: a store never changes."""
        return _LmdbReader(store, split, self.options)


_open: dict[Path, tuple[lmdb.Environment, int]] = {}
"""Open databases with their number of readers: LMDB may open each only once per process."""


class _LmdbReader(Reader):
    """Reads the values of keys, each batch in one read transaction."""

    def __init__(self, store: Store, split: str, options: LmdbOptions) -> None:
        self._path, self._remedy = store.location / split, store.remedy
        self._kind = options.kind
        try:
            self.env, readers = _open.get(self._path) or (
                lmdb.open(str(self._path), readonly=True, lock=False, readahead=options.readahead, max_spare_txns=64),
                0,
            )
            _open[self._path] = self.env, readers + 1
            labels = self._values([_LABELS])[0]
        except lmdb.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}; {self._remedy}") from None
        self.labels = np.frombuffer(labels, "<i8").astype(np.int64, copy=False)

    def fetch(self, indices: Indices) -> Payloads:
        """One lookup per sample."""
        values = self._values([_key(index) for index in indices.tolist()])
        return Payloads(values.__getitem__, kind=self._kind)

    def _values(self, keys: list[bytes]) -> list[bytes]:
        with self.env.begin() as transaction:
            pairs = [(key, transaction.get(key)) for key in keys]
        if missing := [key for key, value in pairs if value is None]:
            raise StoreError(f"{self._path} lacks key {missing[0]!r}; {self._remedy}")
        return [value for _, value in pairs if value is not None]

    def after_fork(self) -> None:
        """Close the inherited database, which LMDB would count as open in this process."""
        if _open.get(self._path, (None, 0))[0] is self.env:
            del _open[self._path]
        self.env.close()

    def close(self) -> None:
        """Close the database with its last reader."""
        _, readers = _open.pop(self._path)
        if readers > 1:
            _open[self._path] = self.env, readers - 1
        else:
            self.env.close()
