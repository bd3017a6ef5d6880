"""Downloads a dataset's official archive: resumed where it broke off, and verified before it is used."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.errors import DataError, UsageError
from bench.sources.base import Archive, Report, Source
from bench.sources.files import disk_errors, file_md5, need_space, refuse_special, sole_writer

TRIES = 4  # attempts in a row that may bring nothing new
TIMEOUT_S = 30.0  # longest silence of the server
PAUSE_S = 1.0  # after the first failed attempt; doubles with each further one
_CHUNK = 1 << 18
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # answers that another attempt may not get


class _LostError(Exception):
    """An attempt failed in a way that another attempt may not."""


def fetch(source: Source, report: Report) -> Path:
    """Bring a dataset's official files, and return what the dataset is then read from.

    A ``UsageError`` where the dataset is bundled or other files are in the way, a ``DataError`` where the download
    failed: what came is kept, and the next call resumes it.
    """
    if source.archive is None:
        raise UsageError(f"{source.name} is bundled or your own data; there is nothing to fetch")
    with sole_writer(source.folder):
        return source.unpack(download(source.archive, source.folder, report), report)


def download(archive: Archive, folder: Path, report: Report) -> Path:
    """The verified archive in ``folder``, downloaded unless it is there. The caller holds ``sole_writer``."""
    if urlsplit(archive.url).scheme not in ("http", "https"):
        raise UsageError(f"{archive.url} is no http or https address")
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    if target.exists():
        if file_md5(target) == archive.md5:
            report(f"{archive.name} is there and verified", 1, 1)
            return target
        # Perhaps cut short, perhaps somebody's own: out of the way, but not deleted.
        spare = folder / f"{archive.name}.wrong-checksum"
        report(f"{archive.name} has another checksum than the official file; renamed to {spare.name}", 0, 0)
        with disk_errors(folder):
            target.replace(spare)
    refuse_special(part)
    with disk_errors(part):
        part.touch()
    failures = 0
    while not archive.size or part.stat().st_size != archive.size:
        before = part.stat().st_size
        try:
            _attempt(archive, part, report)
            break
        except _LostError as lost:
            failures = 1 if part.stat().st_size > before else failures + 1
            if failures >= TRIES:
                remedy = f"try again later, and what came so far is kept, or bring the file to {target} by other means"
                raise DataError(f"cannot download {archive.url}: {lost}; {remedy}") from lost
            time.sleep(PAUSE_S * 2 ** (failures - 1))
    if (md5 := file_md5(part)) != archive.md5:
        part.unlink()
        remedy = f"which was removed; try again, or bring the official file to {target} by other means"
        raise DataError(f"{archive.url} gave a file with md5 {md5} instead of {archive.md5}, {remedy}")
    with disk_errors(folder):
        part.replace(target)
    return target


def _attempt(archive: Archive, part: Path, report: Report) -> None:
    """Add what is missing to ``part``; begin anew where the server sends the whole file."""
    done = total = 0
    with disk_errors(part), part.open("ab") as file:
        for begin, total, chunk in _chunks(archive, part):
            need_space(part.parent, total - begin)
            file.truncate(begin)
            file.write(chunk)
            done = begin + len(chunk)
            report(f"downloading {archive.name}", done, total)
            if done > total > 0:  # not the file that was asked for, and perhaps without end
                break
    if done < total:
        raise _LostError(f"the connection ended after {done} of {total} bytes")


def _chunks(archive: Archive, part: Path) -> Iterator[tuple[int, int, bytes]]:
    """What the server sends: position in the file, size of the whole file (0: not known), bytes; the last is empty."""
    have = part.stat().st_size
    request = urllib.request.Request(archive.url, headers={"User-Agent": "loader-bench"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            begin = have if response.status == 206 else 0
            stated = (response.headers.get("Content-Range") or "").removeprefix("bytes ").split("-")[0]
            if response.status == 206 and stated != str(have):
                os.truncate(part, 0)
                raise _LostError("the server sent another range of the file than was asked for")
            total = begin + response.length if response.length else archive.size
            chunk = b"-"
            while chunk:
                chunk = response.read(_CHUNK)
                yield begin, total, chunk
                begin += len(chunk)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:  # the part is as long as the file, or longer: begin anew
                os.truncate(part, 0)
                raise _LostError("the server's file is shorter than the part that was downloaded before") from error
            reason = f"the server answered {error.code} {error.reason}"
            if error.code in _TRANSIENT:
                raise _LostError(reason) from error
            remedy = f"bring the file to {part.with_suffix('')} by other means"
            raise DataError(f"cannot download {archive.url}: {reason}; {remedy}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(_network_reason(error)) from error


def _network_reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"the server was silent for {TIMEOUT_S:g} s"
    if isinstance(reason, http.client.IncompleteRead):
        return "the connection was lost"
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
