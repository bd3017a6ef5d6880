"""Extracts a compressed tar into a folder that appears when it is complete, and never a file outside it."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path

from bench.errors import DataError
from bench.sources.base import Report
from bench.sources.extraction import safe_path
from bench.sources.files import disk_errors, need_space, new_tree, unreadable
from loaders import open_regular

_GROWTH = 1.3
"""What JPEG files take on disk over their size in a compressed archive, blocks included."""


def extract_tar(archive: Path, folder: Path, top: str, report: Report) -> Path:
    """Extract an archive whose files all lie in one top folder. The caller holds ``sole_writer``.

    Args:
        archive: a ``.tgz``.
        folder: where the top folder is to appear, in place of an older one.
        top: the name of that folder.
        report: called with files done; how many there are is not known before the end.

    Raises:
        DataError: an archive that is damaged or names files outside its top folder, links or special files, of
            which nothing is kept; a full disk.
    """
    try:
        with disk_errors(folder):
            need_space(folder, round(archive.stat().st_size * _GROWTH), "free some, or choose another --data-dir")
            with (
                new_tree(folder / top) as tree,
                open_regular(archive) as packed,
                gzip.open(packed) as stream,
                tarfile.open(fileobj=stream, mode="r|") as opened,
            ):
                done = 0
                for member in opened:
                    if not (member.isreg() or member.isdir()):
                        raise DataError(
                            f"{archive} holds {member.name[:100]!r}, which is a link or no file; nothing was "
                            "extracted: remove it and fetch the official file"
                        )
                    target = tree / safe_path(member.name.removeprefix("./"), member.isdir(), archive, top)
                    if member.isdir():
                        target.mkdir(parents=True, exist_ok=True)
                        continue
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source = opened.extractfile(member)
                    assert source is not None  # a regular file
                    with source, target.open("xb") as file:
                        shutil.copyfileobj(source, file)
                    done += 1
                    if done % 1000 == 0:
                        report(f"extracting {archive.name}", done, 0)
                while stream.read(1 << 20):  # to the end, where the checksum of it all stands
                    pass
    except FileExistsError as error:
        raise DataError(
            f"{archive} names {error.filename} twice; nothing was extracted: fetch the official file"
        ) from error
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(f"{archive} is damaged ({error}); remove it and fetch it again") from error
    except OSError as error:  # also what gzip makes of a wrong checksum
        unreadable(archive, error, "remove it and fetch it again")
    return folder / top
