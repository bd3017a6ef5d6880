"""The two official layouts of CIFAR-10, pickled and binary, and the places they are read from: folder or archive."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.sources.files import MARKER, exists, read_bytes, unreadable
from bench.sources.unpickle import load_pickle
from loaders import open_regular

CLASSES: tuple[str, ...] = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
# An official batch has 31 MB; a file of twice that is no CIFAR-10 batch and is not taken into memory.
_MOST_BYTES = 64 << 20


class CifarBatch(NamedTuple):
    """The images of one batch file: uint8 ``[n, 3, 32, 32]`` and int64 ``[n]``."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Layout(NamedTuple):
    """File names and checksums of one official form.

    Attributes:
        pickled: pickles of the Python version, or records of 3,073 bytes of the binary version.
        folder: the folder that the archive holds and is extracted to.
        archive: the archive's file name.
        archive_md5: the archive's checksum as its publisher states it.
        algorithm: of the checksums of the single files.
        train: training batches in order, with their checksums.
        test: the test batch, with its checksum.
        meta: the file of class names.
    """

    pickled: bool
    folder: str
    archive: str
    archive_md5: str
    algorithm: str
    train: dict[str, str]
    test: dict[str, str]
    meta: str

    @property
    def batches(self) -> dict[str, str]:
        """All batch files with their checksums, training first."""
        return {**self.train, **self.test}

    def checksum(self, data: bytes) -> str:
        """Checksum of one file's bytes."""
        return hashlib.new(self.algorithm, data, usedforsecurity=False).hexdigest()

    def decode(self, data: bytes, name: str) -> CifarBatch:
        """The images in a batch file.

        Raises:
            DataError: a file that is not a batch of this layout.
        """
        pixels, labels = _from_pickle(data, name) if self.pickled else _from_binary(data, name)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(CLASSES):
            raise DataError(
                f"{name} has the label {labels[(labels < 0) | (labels >= len(CLASSES))][0]}, but CIFAR-10's labels "
                "are 0 to 9; replace it by the official file"
            )
        return CifarBatch(pixels.reshape(-1, *SHAPE), labels)

    def class_names(self, data: bytes, name: str) -> tuple[str, ...]:
        """The ten class names.

        Raises:
            DataError: a file that does not hold ten different names.
        """
        if self.pickled:
            listed = load_pickle(data, name).get("label_names")
            listed = listed if isinstance(listed, list) else []
            found = [n.decode("latin1") if isinstance(n, bytes) else n for n in listed]
        else:
            found = data.decode("latin1").split()
        if not all(isinstance(n, str) for n in found) or not len(found) == len(set(found)) == len(CLASSES):
            raise DataError(f"{name} does not list ten class names; replace it by the official file")
        return tuple(found)


# The checksums are those of torchvision.datasets.CIFAR10 (md5) and of MXNet's gluon.data.vision.CIFAR10 (sha1): the
# publisher states those of the archives alone.
PICKLED = Layout(
    pickled=True,
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    algorithm="md5",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    meta="batches.meta",
)
BINARY = Layout(
    pickled=False,
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    archive_md5="c32a1d4ab5d03f1284b67883e8d87530",
    algorithm="sha1",
    train={
        "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    },
    test={"test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c"},
    meta="batches.meta.txt",
)


def _from_pickle(data: bytes, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = load_pickle(data, name)
    pixels, labels = content.get("data"), content.get("labels")
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list | np.ndarray):
        raise DataError(f"{name} lacks its array of data or its list of labels; replace it by the official file")
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise DataError(
            f"{name} has {pixels.dtype} data of shape {pixels.shape} where CIFAR-10 has uint8 (n, {_PIXELS}); "
            "replace it by the official file"
        )
    if isinstance(labels, np.ndarray):
        whole = labels.dtype.kind in "iu" and labels.ndim == 1
    else:
        whole = all(type(label) is int and abs(label) < 1 << 63 for label in labels)
    if not whole:
        raise DataError(f"{name} has labels that are not whole numbers from 0 to 9; replace it by the official file")
    if len(labels) != len(pixels):
        raise DataError(f"{name} has {len(pixels)} images but {len(labels)} labels; replace it by the official file")
    return pixels, np.asarray(labels, np.int64)


def _from_binary(data: bytes, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if len(data) % (1 + _PIXELS):
        raise DataError(
            f"{name} has {len(data)} bytes, which is not a multiple of the {1 + _PIXELS} of one image; "
            "it was cut short: replace it by the official file"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)


class Place(Protocol):
    """Where a layout's files are."""

    @property
    def path(self) -> Path:
        """Folder or archive."""
        ...

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The files with their bytes, in the order of ``names``, one in memory at a time.

        Raises:
            DataError: a file that is missing or cannot be read.
        """
        ...

    def has_marker(self) -> bool:
        """Whether a twin's marker is there."""
        ...


class Folder:
    """An extracted layout."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """See ``Place``."""
        for name in names:
            yield name, read_bytes(self.path / name, _MOST_BYTES)

    def has_marker(self) -> bool:
        """See ``Place``."""
        return exists(self.path / MARKER)


class TarArchive:
    """A layout inside its ``.tar.gz``, decompressed as a stream.

    The official archive holds the batches out of order (4, test, 3, 2, 5, 1), so reading in order decompresses parts
    of it more than once; that costs seconds and keeps one batch in memory instead of five.
    """

    def __init__(self, path: Path, folder: str) -> None:
        self.path, self._folder = path, folder

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """See ``Place``."""
        with self._opened() as (archive, members):
            for name in names:
                member = members.get(name)
                if member is None or not member.isreg():
                    raise DataError(
                        f"{self.path} does not hold {self._folder}/{name}; remove it and run `bench fetch cifar10`"
                    )
                if member.size > _MOST_BYTES:
                    raise DataError(
                        f"{self.path}: {name} has {member.size} bytes, more than any CIFAR-10 batch; "
                        "remove it and run `bench fetch cifar10`"
                    )
                file = archive.extractfile(member)
                assert file is not None  # a regular file has content
                yield name, file.read()

    def has_marker(self) -> bool:
        """See ``Place``."""
        with self._opened() as (_, members):
            return MARKER in members

    def check(self) -> None:
        """Compare the content with the checksum in the ``.gz``, which reading members out of order does not.

        Raises:
            DataError: a damaged archive.
        """
        with self._errors(), open_regular(self.path) as packed, gzip.open(packed) as file:
            while file.read(1 << 20):
                pass

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]]:
        with self._errors(), open_regular(self.path) as packed, tarfile.open(fileobj=packed, mode="r:gz") as archive:
            prefix = self._folder + "/"
            named = ((member.name.removeprefix("./"), member) for member in archive)
            yield archive, {name.removeprefix(prefix): m for name, m in named if name.startswith(prefix)}

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{self.path} is cut short or damaged ({error}); remove it and run `bench fetch cifar10`"
            ) from error
        except OSError as error:
            unreadable(self.path, error)
