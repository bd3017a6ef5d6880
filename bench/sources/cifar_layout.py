"""The two official layouts of CIFAR-10, pickled and binary: their files, and what is in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.sources.unpickle import load_pickle

CLASSES: tuple[str, ...] = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_REMEDY = "replace it by the official file"

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]  # images ``[n, 3, 32, 32]`` and labels ``[n]``


class Layout(NamedTuple):
    """File names and checksums of one official form.

    ``batches`` are five training batches in order and the test batch, with checksums of the ``algorithm``; ``meta``
    lists the class names. They are pickles of the Python version, or records of 3,073 bytes of the binary version.
    """

    folder: str
    archive: str
    archive_md5: str
    algorithm: str
    batches: dict[str, str]
    meta: str
    pickled: bool

    def decode(self, data: bytes, name: str) -> Batch:
        """The images and labels in a batch file; a ``DataError`` if it is not a batch of this layout."""
        if self.pickled:
            pixels, labels = _from_pickle(data, name)
        elif len(data) % (1 + _PIXELS):
            size = f"{len(data)} bytes, which is not a multiple of the {1 + _PIXELS} of one image"
            raise DataError(f"{name} has {size}; it was cut short: {_REMEDY}")
        else:
            records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
            pixels, labels = records[:, 1:], records[:, 0].astype(np.int64)
        wrong = labels[(labels < 0) | (labels >= len(CLASSES))]
        if len(wrong):
            raise DataError(f"{name} has the label {wrong[0]}, but CIFAR-10's labels are 0 to 9; {_REMEDY}")
        return pixels.reshape(-1, *SHAPE), labels

    def class_names(self, data: bytes, name: str) -> tuple[str, ...]:
        """The class names; a ``DataError`` where they are not ten different ones."""
        listed = load_pickle(data, name).get("label_names") if self.pickled else data.split()
        names = listed if isinstance(listed, list) else []
        texts = tuple(n.decode("latin1") if isinstance(n, bytes) else n for n in names)
        if not all(isinstance(n, str) for n in texts) or not len(texts) == len(set(texts)) == len(CLASSES):
            raise DataError(f"{name} does not list ten class names; {_REMEDY}")
        return texts


# The checksums are those of torchvision.datasets.CIFAR10 (md5) and of MXNet's gluon.data.vision.CIFAR10 (sha1): the
# publisher states those of the archives alone.
PICKLED = Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    algorithm="md5",
    batches={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    meta="batches.meta",
    pickled=True,
)
BINARY = Layout(
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    archive_md5="c32a1d4ab5d03f1284b67883e8d87530",
    algorithm="sha1",
    batches={
        "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
    },
    meta="batches.meta.txt",
    pickled=False,
)


def _from_pickle(data: bytes, name: str) -> Batch:
    content = load_pickle(data, name)
    pixels, labels = content.get("data"), content.get("labels")
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list | np.ndarray):
        raise DataError(f"{name} lacks its array of data or its list of labels; {_REMEDY}")
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        kind = f"{pixels.dtype} data of shape {pixels.shape} where CIFAR-10 has uint8 (n, {_PIXELS})"
        raise DataError(f"{name} has {kind}; {_REMEDY}")
    if isinstance(labels, np.ndarray):
        whole = labels.dtype.kind in "iu" and labels.ndim == 1
    else:
        whole = all(type(label) is int and abs(label) < 1 << 63 for label in labels)
    if not whole:
        raise DataError(f"{name} has labels that are not whole numbers from 0 to 9; {_REMEDY}")
    if len(labels) != len(pixels):
        raise DataError(f"{name} has {len(pixels)} images but {len(labels)} labels; {_REMEDY}")
    return pixels, np.asarray(labels, np.int64)
