"""What lies in a tree of pictures: folders, images with their sizes, and what is left out and why."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from bench.sources.files import unreadable

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_HIDDEN, _OTHER, _OUTSIDE, _LOST = (
    "that are hidden",
    "that are no images by their names",
    "that are images outside class folders",
    "that are broken links, links back to a folder above, or no regular files",
)

LeftOut = dict[str, list[str]]
"""Paths by why they are left out."""


def nothing_left_out() -> LeftOut:
    """To be filled, in the order in which it is told."""
    return {why: [] for why in (_HIDDEN, _OTHER, _OUTSIDE, _LOST)}


def folders(place: Path, left_out: LeftOut) -> list[str]:
    """Class folders in byte order; files beside them are left out."""
    found = []
    for entry in _entries(place):
        if (why := _why_left_out(entry)) is None and entry.is_dir():
            found.append(entry.name)
        else:
            left_out[why or _OUTSIDE].append(entry.name)
    return sorted(found, key=os.fsencode)


def _entries(place: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError as error:
        unreadable(place, error)


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
        unreadable(entry.path, error)


def has_images(place: Path) -> bool:
    """Whether images lie directly in a folder."""
    return any(_why_left_out(entry) is None and not entry.is_dir() for entry in _entries(place))


def below(root: Path, folder: str, left_out: LeftOut) -> list[tuple[str, int]]:
    """All images below a folder, with their sizes."""
    found: list[tuple[str, int]] = []
    # With the folders on the way to each, so that a link to one of them ends.
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while pending:
        below, above = pending.pop()
        try:
            status = (root / below).stat()
        except OSError as error:
            unreadable(root / below, error)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            left_out[_LOST].append(below)
            continue
        for entry in _entries(root / below):
            path = f"{below}/{entry.name}"
            if why := _why_left_out(entry):
                left_out[why].append(path)
            elif entry.is_dir():
                pending.append((path, above | {identity}))
            else:
                try:
                    found.append((path, entry.stat().st_size))
                except OSError as error:
                    unreadable(entry.path, error)
    return found
