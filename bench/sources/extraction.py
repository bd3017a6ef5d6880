"""Extracts a zip into a folder that appears when it is complete, and never a file outside it."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from bench.errors import DataError
from bench.sources.base import Report
from bench.sources.files import disk_errors, need_space, new_tree, unreadable
from loaders import open_regular

_BLOCK = 4096


def extract(archive: Path, folder: Path, top: str, report: Report) -> Path:
    """Extract an archive whose files all lie in one top folder. The caller holds ``sole_writer``.

    Args:
        archive: a zip.
        folder: where the top folder is to appear, in place of an older one.
        top: the name of that folder.
        report: called with files done and in all.

    Raises:
        DataError: an archive that is damaged or names files outside its top folder, links or special files, of
            which nothing is kept; a full disk.
    """
    try:
        with open_regular(archive) as file, zipfile.ZipFile(file) as opened, disk_errors(folder):
            members = opened.infolist()
            places = [member_path(member, archive, top) for member in members]
            _check_distinct(archive, [place for m, place in zip(members, places, strict=True) if not m.is_dir()])
            needed = sum(-(-m.file_size // _BLOCK) * _BLOCK for m in members)
            need_space(folder, needed, "free some, or choose another --data-dir")
            with new_tree(folder / top) as tree:
                for done, (member, place) in enumerate(zip(members, places, strict=True), start=1):
                    target = tree / place
                    if member.is_dir():
                        target.mkdir(parents=True, exist_ok=True)
                        continue
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with opened.open(member) as source, target.open("xb") as made:
                        shutil.copyfileobj(source, made)
                    if done % 1000 == 0 or done == len(members):
                        report(f"extracting {archive.name}", done, len(members))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        # RuntimeError: encrypted; NotImplementedError: an unknown compression.
        raise DataError(f"{archive} is damaged ({error}); remove it and fetch it again") from error
    except OSError as error:
        unreadable(archive, error)
    return folder / top


def member_path(member: zipfile.ZipInfo, archive: Path, top: str) -> PurePosixPath:
    """Where a member belongs below the top folder.

    Raises:
        DataError: a name that leaves the top folder, a link or a special file.
    """
    # The name as it is stored: zipfile's own has been cut at a NUL and had its separators changed.
    name = member.orig_filename
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _outside(archive, name, top)
    return safe_path(name, name.endswith("/"), archive, top)


def safe_path(name: str, is_folder: bool, archive: Path, top: str) -> PurePosixPath:
    """Where a file or folder of an archive belongs below the top folder.

    Raises:
        DataError: a name that leaves it.
    """
    parts = name.removesuffix("/").split("/")
    strange = any(part in ("", ".", "..") for part in parts) or any(c in name for c in "\\:\0")
    if strange or parts[0] != top or (len(parts) == 1 and not is_folder):
        raise _outside(archive, name, top)
    return PurePosixPath(*parts[1:])


def _outside(archive: Path, name: str, top: str) -> DataError:
    return DataError(
        f"{archive} names {name[:100]!r}, which is a link or lies outside {top}/; nothing was extracted: "
        "remove it and fetch the official file"
    )


def _check_distinct(archive: Path, files: list[PurePosixPath]) -> None:
    taken = set(files)
    if len(taken) < len(files) or not taken.isdisjoint(parent for place in files for parent in place.parents):
        raise DataError(f"{archive} names a file twice; nothing was extracted: remove it and fetch the official file")
