"""A tree of class folders, as torchvision's ImageFolder reads it: which images there are, and what is left out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError, UsageError
from bench.sources.files import unreadable
from loaders import Block

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
TRAINING, HELD_OUT = "train", ("val", "valid", "validation", "test")
_BLOCK_BYTES = 64 << 20
_MOST_FILES = 512
_SHOWN = 3


class Found(NamedTuple):
    """The images of one class folder, or of all of them.

    Attributes:
        paths: below the root, as the file system writes them, in byte order.
        sizes: bytes of each file.
        labels: int64 ``[n]``.
    """

    paths: list[str]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]

    def part(self, chosen: NDArray[np.bool_]) -> Found:
        """Some of them."""
        return Found([self.paths[i] for i in np.flatnonzero(chosen)], self.sizes[chosen], self.labels[chosen])


class Survey(NamedTuple):
    """What a tree holds.

    Attributes:
        classes: folder names by label, in byte order.
        train, test: the images of each split.
        fingerprint: sha256 over the splits' paths and sizes.
        notes: what a user should know: files left out, empty classes.
    """

    classes: tuple[str, ...]
    train: Found
    test: Found
    fingerprint: str
    notes: list[str]


class Files:
    """Image files of one split, in blocks of bounded size."""

    encoding: Literal["raw", "jpeg"] = "jpeg"
    shape = None

    def __init__(self, root: Path, found: Found) -> None:
        self._root, self._found = root, found

    def __len__(self) -> int:
        return len(self._found.paths)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """At most 512 files and, but for a single one, 64 MB.

        Raises:
            DataError: a file that cannot be read.
        """
        paths, sizes, labels = self._found
        end = len(paths) if stop is None else stop
        while start < end:
            ends = np.cumsum(sizes[start : min(start + _MOST_FILES, end)])
            until = start + max(1, int(np.searchsorted(ends, _BLOCK_BYTES, side="right")))
            part = paths[start:until]
            yield Block(None, [self._read(path) for path in part], labels[start:until], [shown(path) for path in part])
            start = until

    def _read(self, path: str) -> bytes:
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            unreadable(self._root / path, error)


def shown(path: str) -> str:
    """A path as text that can be printed and kept, whatever bytes the file system has."""
    return os.fsencode(path).decode(errors="replace")


def survey(root: Path, test_share: float, seed: int = 0) -> Survey:
    """List a tree: ``train/`` and ``val/`` (or ``valid/``, ``validation/``, ``test/``), or class folders to be split.

    Symbolic links are followed, each folder once. Files that are hidden or have another ending than `SUFFIXES` are
    left out and counted.

    Args:
        root: the tree.
        test_share: share of each class that is held out where the tree is not split.
        seed: of that choice.

    Raises:
        DataError: no such folder, no images, or a class that is only held out.
        UsageError: a share outside (0, 1).
    """
    if not 0 < test_share < 1:
        raise UsageError(f"--test-share must lie between 0 and 1, not at {test_share}")
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; give the folder that holds the class folders")
    left_out: list[str] = []
    top = list(_folders(root, left_out))
    held_out = [name for name in HELD_OUT if name in top]
    if TRAINING in top and held_out:
        test_name = held_out[0]
        classes = tuple(_folders(root / TRAINING, left_out))
        if foreign := set(_folders(root / test_name, left_out)) - set(classes):
            raise DataError(
                f"{root / test_name} has classes that {root / TRAINING} lacks: "
                f"{', '.join(shown(name) for name in sorted(foreign)[:_SHOWN])}; add them or move them away"
            )
        train, test = (_images(root, name, classes, left_out) for name in (TRAINING, test_name))
        ignored = [name for name in top if name not in (TRAINING, test_name)]
        left_out += [f"{name}/" for name in ignored]
    else:
        classes = tuple(top)
        every = _images(root, "", classes, left_out)
        chosen = _held_out(every.labels, len(classes), test_share, seed)
        train, test = every.part(~chosen), every.part(chosen)
    for name, found in (("training", train), ("held-out", test)):
        if not found.paths:
            raise DataError(
                f"{root} has no {name} images ({', '.join(sorted(SUFFIXES))}) in class folders; "
                "expected is FOLDER/CLASS/IMAGE or FOLDER/train/CLASS/IMAGE beside FOLDER/val/CLASS/IMAGE"
            )
    digest = hashlib.sha256()
    for found in (train, test):
        for path, size, label in zip(found.paths, found.sizes.tolist(), found.labels.tolist(), strict=True):
            digest.update(os.fsencode(path) + f"\0{size}\0{label}\n".encode())
        digest.update(b"\n")
    return Survey(tuple(map(shown, classes)), train, test, digest.hexdigest(), _notes(classes, train, test, left_out))


def _folders(place: Path, left_out: list[str]) -> list[str]:
    """Class folders in byte order; files beside them are left out."""
    found = []
    for entry in _entries(place):
        if entry.is_dir() and not entry.name.startswith("."):
            found.append(entry.name)
        else:
            left_out.append(entry.name)
    return sorted(found, key=os.fsencode)


def _entries(place: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError as error:
        unreadable(Path(place), error)


def _images(root: Path, split: str, classes: Sequence[str], left_out: list[str]) -> Found:
    paths, sizes, labels = [], [], []
    for label, name in enumerate(classes):
        mine: list[tuple[str, int]] = []
        if (root / split / name).is_dir():  # the held-out part may lack a class
            _walk(root, f"{split}/{name}" if split else name, mine, left_out, set())
        mine.sort(key=lambda item: os.fsencode(item[0]))
        paths += [path for path, _ in mine]
        sizes += [size for _, size in mine]
        labels += [label] * len(mine)
    return Found(paths, np.array(sizes, np.int64), np.array(labels, np.int64))


def _walk(
    root: Path, below: str, into: list[tuple[str, int]], left_out: list[str], above: set[tuple[int, int]]
) -> None:
    """Add all images below a folder; `above` are the folders on the way here, so that a link to one of them ends."""
    status = (root / below).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        left_out.append(below)
        return
    for entry in _entries(root / below):
        path = f"{below}/{entry.name}"
        try:
            if entry.name.startswith("."):
                left_out.append(path)
            elif entry.is_dir():
                _walk(root, path, into, left_out, above | {identity})
            elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
                into.append((path, entry.stat().st_size))
            else:
                left_out.append(path)
        except OSError as error:
            unreadable(root / path, error)


def _held_out(labels: NDArray[np.int64], classes: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which images are held out: the share of each class, one at least where it has two images."""
    chosen = np.zeros(len(labels), np.bool_)
    for label in range(classes):
        mine = np.flatnonzero(labels == label)
        count = min(max(round(share * len(mine)), 1), len(mine) - 1) if len(mine) > 1 else 0
        order = np.random.default_rng((seed, label)).permutation(len(mine))
        chosen[mine[order[:count]]] = True
    return chosen


def _notes(classes: Sequence[str], train: Found, test: Found, left_out: Sequence[str]) -> list[str]:
    notes = []
    hidden = [path for path in left_out if path.rstrip("/").rpartition("/")[2].startswith(".")]
    other = [path for path in left_out if path not in set(hidden)]
    for what, some in (("hidden", hidden), ("no images by their names", other)):
        if some:
            notes.append(f"left out {len(some):,} files or folders that are {what}: {_few(some)}")
    counts = [np.bincount(found.labels, minlength=len(classes)) for found in (train, test)]
    for what, lacking in (("no images", counts[0] + counts[1] == 0), ("no held-out image", counts[1] == 0)):
        names = [classes[int(i)] for i in np.flatnonzero(lacking & ((counts[0] > 0) | (what == "no images")))]
        if names:
            notes.append(f"{len(names)} classes have {what}: {_few(names)}")
    return notes


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
