"""Zip and compressed tar archives: read in place, or extracted without ever writing outside one folder."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from bench.errors import DataError
from bench.sources.base import Report
from bench.sources.files import MARKER, disk_errors, exists, need_space, new_tree, read_errors
from loaders import open_regular

Read = Callable[[str], bytes]  # one file of a dataset by its path below the top folder, or a ``DataError``

# RuntimeError: an encrypted member, or (as NotImplementedError) an unknown compression.
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)
_BLOCK = 4096
_GROWTH = 1.3  # what JPEG files take on disk over their size in a compressed tar, blocks included


class _Member(NamedTuple):
    """A file or folder of an archive; links and special files are neither."""

    name: str
    is_folder: bool
    is_file: bool
    size: int
    open: Callable[[], IO[bytes]]


class ArchiveFiles:
    """The files below the top folder of a zip or ``.tar.gz``, read in place, but for those of more than ``most_bytes``.

    A tar is decompressed as a stream, so reading its files out of order decompresses parts of it more than once.
    """

    def __init__(self, path: Path, top: str, dataset: str, most_bytes: int) -> None:
        self.path, self._top, self._most_bytes = path, top + "/", most_bytes
        self._remedy = f"remove it and run `bench fetch {dataset}`"

    def lacking(self) -> list[str]:
        """The archive's name where it is not there."""
        return [] if exists(self.path) else [self.path.name]

    def sizes(self) -> dict[str, int]:
        """Bytes of every file, by its path below the top folder."""
        with self._members() as members:
            return {name: member.size for name, member in members.items()}

    def has_marker(self) -> bool:
        """Whether a twin's marker is in the archive."""
        return MARKER in self.sizes()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Read]:
        """A function that reads files, for as long as the context lasts."""
        with self._members() as members:

            def read(name: str) -> bytes:
                member = members.get(name)
                if member is None:
                    raise DataError(f"{self.path} does not hold {self._top}{name}; {self._remedy}")
                if member.size > self._most_bytes:
                    size = f"{member.size} bytes, more than the {self._most_bytes} that such a file may have"
                    raise DataError(f"{self.path}: {name} has {size}; {self._remedy}")
                with _damaged(self.path, self._remedy, f": {name}"), member.open() as file:
                    return file.read()

            yield read

    @contextlib.contextmanager
    def _members(self) -> Iterator[dict[str, _Member]]:
        with contextlib.ExitStack() as life:
            with _damaged(self.path, self._remedy):
                members = [member for member in life.enter_context(_opened(self.path)) if member.is_file]
            yield {m.name.removeprefix(self._top): m for m in members if m.name.startswith(self._top)}


def extract(archive: Path, folder: Path, top: str, report: Report) -> None:
    """Extract a ``.zip`` or ``.tgz`` whose files all lie in the folder ``top``, which then appears in ``folder``.

    The caller holds ``sole_writer``. ``report`` is called with files done and in all, 0 of a tar. A ``DataError`` for a
    full disk, damage, links, special files, files named twice or outside ``top``: of these nothing is kept.
    """
    with _damaged(archive, "remove it and fetch it again"), _opened(archive) as members, disk_errors(folder):
        total, needed = 0, archive.stat().st_size * _GROWTH
        if isinstance(members, list):
            total, needed = len(members), sum(-(-member.size // _BLOCK) * _BLOCK for member in members)
        need_space(folder, round(needed))
        with new_tree(folder / top) as tree:
            for done, member in enumerate(members, start=1):
                target = tree / path_below(member.name, archive, top, member.is_folder, member.is_file)
                try:
                    (target if member.is_folder else target.parent).mkdir(parents=True, exist_ok=True)
                    if member.is_file:
                        with member.open() as content, target.open("xb") as file:
                            shutil.copyfileobj(content, file)
                except (FileExistsError, NotADirectoryError):
                    raise _refusal(archive, f"names {member.name[:100]!r} twice") from None
                if done % 1000 == 0 or done == total:
                    report(f"extracting {archive.name}", done, total)


def path_below(name: str, archive: Path, top: str, is_folder: bool, is_file: bool) -> PurePosixPath:
    """Where a member belongs below the top folder; a ``DataError`` if it is neither folder nor file, or leads out."""
    parts = name.removesuffix("/").split("/")
    strange = any(part in ("", ".", "..") for part in parts) or any(c in name for c in "\\:\0")
    if strange or parts[0] != top or not (is_folder or (is_file and len(parts) > 1)):
        raise _refusal(archive, f"names {name[:100]!r}, which is a link or lies outside {top}/")
    return PurePosixPath(*parts[1:])


def _refusal(archive: Path, reason: str) -> DataError:
    return DataError(f"{archive} {reason}; nothing was extracted: remove it and fetch the official file")


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[Iterable[_Member]]:
    """The members of a zip as a list, or of a tar as they come."""
    with open_regular(archive) as packed:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(packed) as opened:
                yield [_of_zip(opened, info) for info in opened.infolist()]
        else:
            with gzip.open(packed) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
                yield _of_tar(tar, stream)


def _of_zip(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    # The name as it is stored: zipfile's own has been cut at a NUL and had its separators changed.
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    is_folder, is_plain = name.endswith("/"), kind in (0, stat.S_IFREG, stat.S_IFDIR)
    return _Member(name, is_folder and is_plain, is_plain and not is_folder, info.file_size, partial(opened.open, info))


def _of_tar(tar: tarfile.TarFile, stream: gzip.GzipFile) -> Iterator[_Member]:
    for info in tar:
        content = partial(tar.fileobject, tar, info)
        yield _Member(info.name.removeprefix("./"), info.isdir(), info.isreg(), info.size, content)
    while stream.read(1 << 20):  # to the end, where the checksum of it all stands
        pass


@contextlib.contextmanager
def _damaged(archive: Path, remedy: str, member: str = "") -> Iterator[None]:
    """Turn what a damaged or unreadable archive raises into one sentence."""
    with read_errors(archive, remedy):
        try:
            yield
        except _DAMAGE as error:
            raise DataError(f"{archive}{member} is cut short or damaged ({error}); {remedy}") from error
