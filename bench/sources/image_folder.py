"""A tree of class folders, as torchvision's ImageFolder reads it: which images there are, and what is left out."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError, UsageError
from bench.sources.files import exists, is_folder, shown, unreadable
from bench.sources.picture_tree import SUFFIXES, LeftOut, below, folders, has_images, nothing_left_out
from loaders import Block, read_regular

TRAINING = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "eval", "test", "testing")
"""Names of the folders of a tree that is split, in any case; where there are several, the first is taken."""
LAYOUT = "FOLDER/CLASS/IMAGE or FOLDER/train/CLASS/IMAGE beside FOLDER/val/CLASS/IMAGE"
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
            return read_regular(self._root / path)
        except OSError as error:
            unreadable(self._root / path, error)


def survey(root: Path, test_share: float, seed: int = 0) -> Survey:
    """List a tree: a folder of training images beside a held-out one, or one of these alone, or class folders.

    What is not split is split here. Symbolic links are followed, each folder once. Files that are hidden or have
    another ending than `SUFFIXES` are left out and counted.

    Args:
        root: the tree.
        test_share: share of each class that is held out where the tree is not split.
        seed: of that choice.

    Raises:
        DataError: no such folder, no images, images deeper than the classes may be, or a class that is only held out.
        UsageError: a share outside (0, 1).
    """
    if not 0 < test_share < 1:
        raise UsageError(f"--test-share must lie between 0 and 1, not at {test_share}")
    if reason := no_folder(root):
        raise DataError(reason)
    left_out = nothing_left_out()
    top = folders(root, left_out)
    training, test_name = _named(root, top, TRAINING), _named(root, top, HELD_OUT)
    if test_name is None and training is not None and len(top) > 1:
        with_images = [name for name in top if has_images(root / name)]
        if training in with_images:
            training = None  # a class of this name among others
        elif with_images:
            raise DataError(
                f"in {shown(root)}, {training}/ holds folders, as a split does, and {_few(with_images)} images, as a "
                f"class does; move one of them away, so that it is laid out as {LAYOUT}"
            )
    said = []
    if training is not None and test_name is not None:
        classes = tuple(folders(root / training, left_out))
        _check_classes(root / training, classes, root / test_name, folders(root / test_name, left_out))
        train, test = (_images(root, name, classes, left_out) for name in (training, test_name))
    else:
        classes = tuple(top if training is None else folders(root / training, left_out))
        every = _images(root, training or "", classes, left_out)
        if training is None:
            _check_depth(root, every)
        else:
            said.append(
                f"beside {training}/ there is no val/ or test/; a share of {test_share:g} of each class is held out"
            )
        chosen = _held_out(every.labels, len(classes), test_share, seed)
        train, test = every.part(~chosen), every.part(chosen)
    if training is not None and (unused := [name for name in top if name not in (training, test_name)]):
        said.append(f"{_few(unused)} beside {' and '.join(n for n in (training, test_name) if n)} are not used")
    for name, found in (("training", train), ("held-out", test)):
        if not found.paths:
            raise DataError(
                f"{shown(root)} has no {name} images ({', '.join(SUFFIXES)}) in class folders; expected is {LAYOUT}"
            )
    digest = hashlib.sha256()
    for found in (train, test):
        for path, size, label in zip(found.paths, found.sizes.tolist(), found.labels.tolist(), strict=True):
            digest.update(os.fsencode(path) + f"\0{size}\0{label}\n".encode())
        digest.update(b"\n")
    notes = said + _notes(classes, train, test, left_out)
    return Survey(tuple(map(shown, classes)), train, test, digest.hexdigest(), notes)


def no_folder(root: Path) -> str | None:
    """Why this is no folder of images, with the remedy; None if it is one."""
    if not exists(root):
        return f"there is no folder {shown(root)}; give folder:PATH of your images, laid out as {LAYOUT}"
    if not root.is_dir():
        return f"{shown(root)} is no folder; give folder:PATH of your images, laid out as {LAYOUT}"
    return None


def _named(root: Path, top: Sequence[str], names: Sequence[str]) -> str | None:
    """The first folder that has one of the names, in whatever case."""
    for name in names:
        found = [folder for folder in top if folder.casefold() == name]
        if len(found) > 1:
            raise DataError(f"{shown(root)} has {' and '.join(found)}, one {name} too many; rename or move one away")
        if found:
            return found[0]
    return None


def _check_classes(training: Path, classes: Sequence[str], place: Path, held_out: Sequence[str]) -> None:
    """Refuse classes that are only held out."""
    foreign = [name for name in held_out if name not in set(classes)]
    alike = {unicodedata.normalize("NFC", name) for name in classes}
    if twin := next((name for name in foreign if unicodedata.normalize("NFC", name) in alike), None):
        raise DataError(
            f"the class {shown(twin)} of {shown(place)} looks like one of {shown(training)} but is written with other "
            "Unicode characters (composed or decomposed accents); rename one of the two"
        )
    if foreign:
        raise DataError(
            f"{shown(place)} has classes that {shown(training)} lacks: {_few(foreign)}; add them or move them away"
        )


def _check_depth(root: Path, found: Found) -> None:
    """Refuse a tree whose top folders may be anything but classes: all images lie deeper."""
    if found.paths and all(path.count("/") > 1 for path in found.paths):
        example = found.paths[0]
        raise DataError(
            f"{shown(root)} holds images only in subfolders of its folders, as {shown(example)}, so that its classes "
            f"are not known; give the folder that holds the class folders (perhaps folder:"
            f"{shown(root / example.split('/')[0])}), laid out as {LAYOUT}"
        )


def _images(root: Path, split: str, classes: Sequence[str], left_out: LeftOut) -> Found:
    paths, sizes, labels = [], [], []
    for label, name in enumerate(classes):
        mine: list[tuple[str, int]] = []
        if is_folder(root / split / name):  # the held-out part may lack a class
            mine = below(root, f"{split}/{name}" if split else name, left_out)
        mine.sort(key=lambda item: os.fsencode(item[0]))
        paths += [path for path, _ in mine]
        sizes += [size for _, size in mine]
        labels += [label] * len(mine)
    return Found(paths, np.array(sizes, np.int64), np.array(labels, np.int64))


def _held_out(labels: NDArray[np.int64], classes: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which images are held out: the share of each class, one at least where it has two images."""
    chosen = np.zeros(len(labels), np.bool_)
    for label in range(classes):
        mine = np.flatnonzero(labels == label)
        count = min(max(round(share * len(mine)), 1), len(mine) - 1) if len(mine) > 1 else 0
        order = np.random.default_rng((seed, label)).permutation(len(mine))
        chosen[mine[order[:count]]] = True
    return chosen


def _notes(classes: Sequence[str], train: Found, test: Found, left_out: LeftOut) -> list[str]:
    notes = [f"left out {len(some):,} files or folders {why}: {_few(some)}" for why, some in left_out.items() if some]
    counts = [np.bincount(found.labels, minlength=len(classes)) for found in (train, test)]
    for what, lacking in (("no images", counts[0] + counts[1] == 0), ("no held-out image", counts[1] == 0)):
        names = [classes[int(i)] for i in np.flatnonzero(lacking & ((counts[0] > 0) | (what == "no images")))]
        if names:
            notes.append(f"{len(names)} classes have {what}: {_few(names)}")
    return notes


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
