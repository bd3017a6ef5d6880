"""Any folder of pictures in class folders, `folder:PATH`, read as torchvision's ImageFolder reads it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError
from bench.sources.base import Contents, Source, SourceOptions
from bench.sources.file_split import FolderFiles, Samples, Survey
from bench.sources.files import exists, read_errors, shown

PREFIX = "folder:"
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
TRAINING = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "eval", "test", "testing")
"""Names of the folders of a tree that is split, in any case; where there are several, the first is taken."""
LAYOUT = "FOLDER/CLASS/IMAGE or FOLDER/train/CLASS/IMAGE beside FOLDER/val/CLASS/IMAGE"
_HIDDEN, _OTHER = "that are hidden", "that are no images by their names"
_OUTSIDE = "that are images outside class folders"
_LOST = "that are broken links, links back to a folder above, or no regular files"
_SHOWN = 3


class Folder(Source):
    """Images of any size and of the formats of `SUFFIXES`, by the rule of `loaders.images.kinds`.

    The fingerprint covers every image's path below the folder and its size, not its content.
    """

    summary = "your own pictures: FOLDER/CLASS/IMAGE, or FOLDER/train/… beside FOLDER/val/…"
    ragged = True

    def __init__(self, path: Path, options: SourceOptions | None = None) -> None:
        """Args: path is the folder; records name its last part alone."""
        self.folder = path.expanduser().absolute()
        self.name = PREFIX + (shown(self.folder.name) or "root")
        self.options = options or SourceOptions()

    @property
    def store_name(self) -> str:
        """Two folders of one name have stores of their own."""
        digest = hashlib.sha256(str(self.folder).encode(errors="surrogateescape")).hexdigest()[:8]
        name = re.sub(r"[^\w.+-]+", "_", self.folder.name)
        return f"folder-{name}-{digest}{self.options.suffix()}"

    def missing(self) -> str | None:
        """None as soon as there is such a folder."""
        return no_folder(self.folder)

    @cached_property
    def _contents(self) -> Contents:
        """Never official, and synthetic only where it is a twin's tree."""
        listing, files = survey(self.folder, self.options.test_share), FolderFiles(self.folder)
        info = self._info(listing.classes, listing.fingerprint, official=False, synthetic=files.has_marker())
        return Contents(info, listing.splits(files, None, self.options.resize), listing.notes)


def survey(root: Path, test_share: float) -> Survey:
    """List a tree: a folder of training images beside a held-out one, or one of these alone, or class folders.

    Where the tree is not split, ``test_share`` of each class is held out. A ``DataError`` where there is no such folder
    or no image, where all images lie too deep to be in class folders, or where a class is only held out.
    """
    if reason := no_folder(root):
        raise DataError(reason)
    tree, notes = _Listing(root), []
    top = tree.folders()
    training, held_out = _named(root, top, TRAINING), _named(root, top, HELD_OUT)
    if training is not None and held_out is None and _is_class(tree, training, top):
        training = None
    if training is not None and held_out is not None:
        classes = tree.folders(training)
        _check_classes(root / training, classes, root / held_out, tree.folders(held_out))
        train, test = _samples(tree, training, classes), _samples(tree, held_out, classes)
    else:
        classes = top if training is None else tree.folders(training)
        every = _samples(tree, training, classes)
        if training is not None:
            share = f"a share of {test_share:g} of each class is held out"
            notes.append(f"beside {training}/ there is no val/ or test/; {share}")
        elif every.paths and all(path.count("/") > 1 for path in every.paths):
            likely = root / every.paths[0].split("/")[0]
            raise DataError(
                f"{shown(root)} holds images only in subfolders of its folders, as {shown(every.paths[0])}, so that "
                "its classes are not known; give the folder that holds the class folders (perhaps "
                f"folder:{shown(likely)}), laid out as {LAYOUT}"
            )
        chosen = _held_out(every.labels, test_share)
        train, test = every.part(~chosen), every.part(chosen)
    if training is not None and (unused := [name for name in top if name not in (training, held_out)]):
        notes.append(f"{_few(unused)} beside {' and '.join(filter(None, (training, held_out)))} are not used")
    digest = hashlib.sha256()
    for name, samples in (("training", train), ("held-out", test)):
        if not samples.paths:
            images = f"{name} images ({', '.join(SUFFIXES)}) in class folders"
            raise DataError(f"{shown(root)} has no {images}; expected is {LAYOUT}")
        for path, size, label in zip(samples.paths, samples.sizes.tolist(), samples.labels.tolist(), strict=True):
            digest.update(os.fsencode(path) + f"\0{size}\0{label}\n".encode())
        digest.update(b"\n")
    for why, paths in tree.left_out.items():
        if paths:
            notes.append(f"left out {len(paths):,} files or folders {why}: {_few(paths)}")
    return Survey(tuple(map(shown, classes)), train, test, digest.hexdigest(), notes + _lacking(classes, train, test))


def no_folder(root: Path) -> str | None:
    """Why this is no folder of images, with the remedy; None if it is one."""
    remedy = f"give folder:PATH of your images, laid out as {LAYOUT}"
    if not exists(root):
        return f"there is no folder {shown(root)}; {remedy}"
    return None if root.is_dir() else f"{shown(root)} is no folder; {remedy}"


class _Listing:
    """A tree whose symbolic links are followed, each folder once; ``left_out`` has the paths by the reason."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out: dict[str, list[str]] = {why: [] for why in (_HIDDEN, _OTHER, _OUTSIDE, _LOST)}

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders in a folder, in byte order; files beside them are left out."""
        names = []
        with read_errors(self.root / folder), os.scandir(self.root / folder) as entries:
            for entry in entries:
                reason = _why_left_out(entry)
                if reason is None and entry.is_dir():
                    names.append(entry.name)
                else:
                    self.left_out[reason or _OUTSIDE].append(entry.name)
        return sorted(names, key=os.fsencode)

    def has_images(self, folder: str) -> bool:
        with read_errors(self.root / folder), os.scandir(self.root / folder) as entries:
            return any(_why_left_out(entry) is None and not entry.is_dir() for entry in entries)

    def images(self, folder: str) -> list[tuple[str, int]]:
        """Paths and bytes of all images below a folder, in byte order; none where there is no such folder."""
        images: list[tuple[str, int]] = []
        with read_errors(self.root / folder):
            # Each with the folders on the way to it, so that a link back to one of them ends.
            start: tuple[str, frozenset[tuple[int, int]]] = (folder, frozenset())
            pending = [start] if (self.root / folder).is_dir() else []
            while pending:
                below, above = pending.pop()
                status = (self.root / below).stat()
                identity = (status.st_dev, status.st_ino)
                if identity in above:
                    self.left_out[_LOST].append(below)
                    continue
                with os.scandir(self.root / below) as entries:
                    for entry in entries:
                        path = f"{below}/{entry.name}"
                        if reason := _why_left_out(entry):
                            self.left_out[reason].append(path)
                        elif entry.is_dir():
                            pending.append((path, above | {identity}))
                        else:
                            images.append((path, entry.stat().st_size))
        return sorted(images, key=lambda image: os.fsencode(image[0]))


def _why_left_out(entry: os.DirEntry[str]) -> str | None:
    """Why this is neither a folder nor an image; None if it is one of them."""
    if entry.name.startswith("."):
        return _HIDDEN
    try:
        if entry.is_dir():
            return None
        if not entry.name.lower().endswith(SUFFIXES) and (entry.is_file() or not entry.is_symlink()):
            return _OTHER
        return None if entry.is_file() else _LOST
    except OSError as error:
        if error.errno == errno.ELOOP:
            return _LOST
        raise


def _named(root: Path, top: Sequence[str], names: Sequence[str]) -> str | None:
    """The first folder that has one of the names, in any case."""
    for name in names:
        folders = [folder for folder in top if folder.casefold() == name]
        if len(folders) > 1:
            raise DataError(f"{shown(root)} has {' and '.join(folders)}, one {name} too many; rename or move one away")
        if folders:
            return folders[0]
    return None


def _is_class(tree: _Listing, training: str, top: Sequence[str]) -> bool:
    """Whether a folder called ``train`` is a class among others, as ``bus``, ``car``, ``train``."""
    with_images = [name for name in top if tree.has_images(name)] if len(top) > 1 else []
    if with_images and training not in with_images:
        both = f"{training}/ holds folders, as a split does, and {_few(with_images)} images, as a class does"
        remedy = f"move one of them away, so that it is laid out as {LAYOUT}"
        raise DataError(f"in {shown(tree.root)}, {both}; {remedy}")
    return bool(with_images)


def _check_classes(training: Path, classes: Sequence[str], held_out: Path, held_out_classes: Sequence[str]) -> None:
    """Refuse classes that are only held out."""
    foreign = [name for name in held_out_classes if name not in set(classes)]
    normalized = {unicodedata.normalize("NFC", name) for name in classes}
    for name in foreign:
        if unicodedata.normalize("NFC", name) in normalized:
            raise DataError(
                f"the class {shown(name)} of {shown(held_out)} looks like one of {shown(training)} but is written "
                "with other Unicode characters (composed or decomposed accents); rename one of the two"
            )
    if foreign:
        names = f"has classes that {shown(training)} lacks: {_few(foreign)}"
        raise DataError(f"{shown(held_out)} {names}; add them or move them away")


def _samples(tree: _Listing, split: str | None, classes: Sequence[str]) -> Samples:
    images = [tree.images(name if split is None else f"{split}/{name}") for name in classes]
    every = [image for of_class in images for image in of_class]
    labels = [label for label, of_class in enumerate(images) for _ in of_class]
    sizes = [size for _, size in every]
    return Samples([path for path, _ in every], np.array(sizes, np.int64), np.array(labels, np.int64))


def _held_out(labels: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Which images are held out: the share of each class, one at least where it has two images; the same each time."""
    chosen = np.zeros(len(labels), np.bool_)
    for label, size in enumerate(np.bincount(labels).tolist()):
        count = min(max(round(share * size), 1), size - 1) if size > 1 else 0
        order = np.random.default_rng((0, label)).permutation(size)
        chosen[np.flatnonzero(labels == label)[order[:count]]] = True
    return chosen


def _lacking(classes: Sequence[str], train: Samples, test: Samples) -> list[str]:
    """Notes on classes without images, and on those without held-out ones."""
    trained, tested = (np.bincount(samples.labels, minlength=len(classes)) > 0 for samples in (train, test))
    reasons = {"images": ~trained & ~tested, "held-out image": trained & ~tested}
    lacking = {what: [classes[i] for i in np.flatnonzero(chosen).tolist()] for what, chosen in reasons.items()}
    return [f"{len(names)} classes have no {what}: {_few(names)}" for what, names in lacking.items() if names]


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
