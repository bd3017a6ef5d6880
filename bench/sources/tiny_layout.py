"""The official tree of Tiny ImageNet, in a folder or inside the zip: which images there are and their labels."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.sources.files import MARKER, exists, read_bytes, unreadable
from loaders import open_regular

TOP = "tiny-imagenet-200"
ARCHIVE = "tiny-imagenet-200.zip"
# The official files have 2 kB on average; one of this size is no 64x64 JPEG and is not taken into memory.
_MOST_BYTES = 16 << 20
_RESTORE = "restore the official files or run `bench fetch tiny-imagenet`"

Read = Callable[[str], bytes]
"""Reads one file of the tree by its path below the top folder."""


class Place(Protocol):
    """Where the tree is."""

    @property
    def path(self) -> Path:
        """Folder or archive."""
        ...

    def sizes(self) -> dict[str, int]:
        """Bytes of every file in the tree that is read, by its path below the top folder, in no order.

        Raises:
            DataError: a place that cannot be read.
        """
        ...

    def has_marker(self) -> bool:
        """Whether a twin's marker is there."""
        ...

    def opened(self) -> contextlib.AbstractContextManager[Read]:
        """A function that reads files, for as long as the context lasts. It raises ``DataError``."""
        ...


class Tree:
    """An extracted tree."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sizes(self) -> dict[str, int]:
        """See ``Place``. Asks for sizes only, of 110,000 files: about a second."""
        found: dict[str, int] = {}
        try:
            for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
                found[name] = (self.path / name).stat().st_size
            with os.scandir(self.path / "train") as entries:
                folders = [f"train/{entry.name}/images" for entry in entries if entry.is_dir()]
            for folder in (*folders, "val/images"):
                # A class without its folder has no images, which is found when the classes are counted.
                if (self.path / folder).is_dir():
                    with os.scandir(self.path / folder) as entries:
                        found.update((f"{folder}/{entry.name}", entry.stat().st_size) for entry in entries)
        except OSError as error:
            unreadable(error.filename or self.path, error, _RESTORE)
        return {name: size for name, size in found.items() if _is_read(name)}

    def has_marker(self) -> bool:
        """See ``Place``."""
        return exists(self.path / MARKER)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Read]:
        """See ``Place``."""
        yield lambda name: read_bytes(self.path / name, _MOST_BYTES)


class ZipTree:
    """The tree inside its zip, which is read in place: one large file instead of 110,000 small ones."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sizes(self) -> dict[str, int]:
        """See ``Place``. Reads the archive's index."""
        with self._zip() as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and m.filename.startswith(TOP + "/")]
        found = {m.filename.removeprefix(TOP + "/"): m.file_size for m in members}
        return {name: size for name, size in found.items() if _is_read(name)}

    def has_marker(self) -> bool:
        """See ``Place``."""
        with self._zip() as archive:
            return f"{TOP}/{MARKER}" in archive.NameToInfo

    @contextlib.contextmanager
    def opened(self) -> Iterator[Read]:
        """See ``Place``."""
        with self._zip() as archive:

            def read(name: str) -> bytes:
                try:
                    member = archive.getinfo(f"{TOP}/{name}")
                    if member.file_size > _MOST_BYTES:
                        raise DataError(f"{self.path}: {name} claims {member.file_size} bytes; {_RESTORE}")
                    return archive.read(member)
                except KeyError:
                    raise DataError(f"{self.path} does not hold {TOP}/{name}; {_RESTORE}") from None
                except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
                    # RuntimeError: encrypted; NotImplementedError: an unknown compression.
                    raise DataError(f"{self.path}: {name} is damaged ({error}); {_RESTORE}") from error
                except OSError as error:
                    unreadable(self.path, error)

            yield read

    @contextlib.contextmanager
    def _zip(self) -> Iterator[zipfile.ZipFile]:
        with contextlib.ExitStack() as life:
            try:
                archive = life.enter_context(zipfile.ZipFile(life.enter_context(open_regular(self.path))))
            except zipfile.BadZipFile as error:
                raise DataError(
                    f"{self.path} is cut short or damaged ({error}); remove it and run `bench fetch tiny-imagenet`"
                ) from error
            except OSError as error:
                unreadable(self.path, error)
            yield archive


class Samples(NamedTuple):
    """Paths below the top folder and labels of one split, in order."""

    paths: list[str]
    labels: NDArray[np.int64]


class Contents(NamedTuple):
    """What a tree holds."""

    classes: tuple[str, ...]
    train: Samples
    test: Samples
    fingerprint: str


def survey(place: Place) -> Contents:
    """List all samples.

    Labels are positions among the sorted identifiers of ``wnids.txt``, as ``torchvision.datasets.ImageFolder`` gives
    them. Training images come by class and, within a class, by the numbers in their names; test images, which are
    those of ``val``, by the numbers in their names alone. ``test/``, which has no labels, is not read.

    Raises:
        DataError: a tree that is incomplete or contradicts itself.
    """
    sizes = place.sizes()
    with place.opened() as read:
        texts = {name: read(name) for name in ("wnids.txt", "words.txt", "val/val_annotations.txt")}
    listing = "".join(f"{name}\t{sizes[name]}\n" for name in sorted(sizes)).encode()
    fingerprint = hashlib.sha256(b"\0".join([listing, *texts.values()])).hexdigest()
    wnids = sorted(_lines(texts["wnids.txt"]))
    if not wnids or len(set(wnids)) != len(wnids):
        raise DataError(f"{place.path}/wnids.txt names no class or one twice; {_RESTORE}")
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    words = dict(line.split("\t", 1) for line in _lines(texts["words.txt"]) if "\t" in line)
    return Contents(
        # The first of the synonyms; names may repeat (there are two cranes), identifiers may not.
        classes=tuple(words.get(wnid, wnid).split(",")[0].strip() for wnid in wnids),
        train=_train(place, sizes, labels),
        test=_test(place, sizes, labels, _lines(texts["val/val_annotations.txt"])),
        fingerprint=fingerprint,
    )


def _train(place: Place, sizes: dict[str, int], labels: dict[str, int]) -> Samples:
    members: dict[str, list[str]] = {wnid: [] for wnid in labels}
    for name in sizes:
        if name.startswith("train/"):
            wnid = name.split("/")[1]
            if wnid not in members:
                raise DataError(f"{place.path}/train/{wnid} is no class that wnids.txt names; {_RESTORE}")
            members[wnid].append(name)
    for wnid, names in members.items():
        if not names:
            raise DataError(f"class {wnid} has no images in {place.path}/train/{wnid}/images; {_RESTORE}")
        names.sort(key=_natural)
    counts = [len(names) for names in members.values()]
    return Samples([name for names in members.values() for name in names], np.repeat(np.arange(len(labels)), counts))


def _test(place: Place, sizes: dict[str, int], labels: dict[str, int], lines: list[str]) -> Samples:
    where = f"{place.path}/val/val_annotations.txt"
    found: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        image, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0]
        path = f"val/images/{image}"
        if wnid not in labels:
            raise DataError(f"{where}, line {number}: {image} has the class {wnid!r}, unknown to wnids.txt; {_RESTORE}")
        if path not in sizes:
            raise DataError(f"{where}, line {number}: the image {path} is missing; {_RESTORE}")
        if path in found:
            raise DataError(f"{where}, line {number}: {image} is there twice; {_RESTORE}")
        found[path] = labels[wnid]
    images = [name for name in sizes if name.startswith("val/images/")]
    if not found:
        raise DataError(f"{where} lists no images; {_RESTORE}")
    if len(images) > len(found):
        extra = next(name for name in images if name not in found)
        raise DataError(f"{place.path}/{extra} has no line in val_annotations.txt; {_RESTORE}")
    paths = sorted(found, key=_natural)
    return Samples(paths, np.array([found[path] for path in paths], np.int64))


def _is_read(name: str) -> bool:
    parts = name.split("/")
    if parts[-1].startswith("."):  # what file managers leave, as ._val_0.JPEG
        return False
    image = name.upper().endswith((".JPEG", ".JPG"))
    match parts:
        case ["wnids.txt" | "words.txt"] | ["val", "val_annotations.txt"]:
            return True
        case ["train", _, "images", _] | ["val", "images", _]:
            return image
        case _:
            return False


def _lines(data: bytes) -> list[str]:
    return [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts the numbers in a name by value: ``_2`` before ``_10``."""
    return [(int(digits or -1), text) for digits, text in re.findall(r"(\d+)|(\D+)", name)]
