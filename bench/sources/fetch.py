"""Downloads a dataset's official archive: resumed where it broke off, and verified before it is used."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.errors import DataError, UsageError
from bench.sources.base import Archive, Report, Source
from bench.sources.files import disk_errors, file_md5, need_space, refuse_special, sole_writer

TRIES = 4
"""Attempts in a row that may bring nothing new before the download is given up."""
TIMEOUT_S = 30.0
"""Longest silence of the server."""
PAUSE_S = 1.0
"""Pause after the first failed attempt; it doubles with each further one."""

_CHUNK = 1 << 18
# Answers that another attempt may not get.
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class _LostError(Exception):
    """An attempt failed in a way that another attempt may not."""


def fetch(source: Source, report: Report) -> Path:
    """Bring a dataset's official files.

    Args:
        source: the dataset; its ``archive`` says what to download.
        report: called with bytes done and in all, then with the progress of extraction where there is one.

    Returns:
        What the dataset is read from.

    Raises:
        UsageError: the dataset is bundled, or other files are in the way.
        DataError: the download failed; what came before is kept and resumed by the next call.
    """
    if source.archive is None:
        raise UsageError(f"{source.name} is bundled; there is nothing to fetch")
    with sole_writer(source.folder):
        return source.unpack(download(source.archive, source.folder, report), report)


def download(archive: Archive, folder: Path, report: Report) -> Path:
    """The verified archive in ``folder``, downloaded unless it is there. The caller holds ``sole_writer``.

    Raises:
        DataError: as ``fetch``.
    """
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
    _complete(archive, part, report)
    found = file_md5(part)
    if found != archive.md5:
        part.unlink()
        raise DataError(
            f"{archive.url} gave a file with md5 {found} instead of {archive.md5}, which was removed; try again, or "
            f"bring the official file to {target} by other means"
        )
    with disk_errors(folder):
        part.replace(target)
    return target


def _complete(archive: Archive, part: Path, report: Report) -> None:
    """Download into ``part`` until it is whole, starting with what it already holds."""
    failures = 0
    while True:
        before = _size(part)
        if archive.size and before == archive.size:
            return
        try:
            _attempt(archive, part, report)
            return
        except _LostError as lost:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= TRIES:
                raise DataError(
                    f"cannot download {archive.url}: {lost}; try again later, and what came so far is kept, or bring "
                    f"the file to {part.with_suffix('')} by other means"
                ) from lost
            time.sleep(PAUSE_S * 2 ** (failures - 1))


def _attempt(archive: Archive, part: Path, report: Report) -> None:
    with _request(archive, part) as answer:
        done, total = answer.start, answer.total or archive.size
        if total:
            need_space(part.parent, total - done, "free some, or choose another --data-dir")
        with disk_errors(part), part.open("r+b" if answer.start else "wb") as file:
            file.seek(answer.start)
            while chunk := _read(answer.response):
                file.write(chunk)
                done += len(chunk)
                report(f"downloading {archive.name}", done, total)
                if done > total > 0:  # not the file that was asked for, and perhaps without end
                    break
    if done < total:
        raise _LostError(f"the connection ended after {done} of {total} bytes")


class _Answer(NamedTuple):
    """An open response, the position in the file where its bytes belong, and the file's size if known."""

    response: http.client.HTTPResponse
    start: int
    total: int


@contextlib.contextmanager
def _request(archive: Archive, part: Path) -> Iterator[_Answer]:
    """Ask for what is missing; whatever the network does wrong is a sentence or ``_LostError``."""
    have = _size(part)
    request = urllib.request.Request(archive.url, headers={"User-Agent": "loader-bench"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:  # the part is as long as the file, or longer: begin anew
                part.unlink()
                raise _LostError("the server's file is shorter than the part that was downloaded before") from error
            if error.code in _TRANSIENT:
                raise _LostError(f"the server answered {error.code} {error.reason}") from error
            raise DataError(
                f"cannot download {archive.url}: the server answered {error.code} {error.reason}; bring the file to "
                f"{part.with_suffix('')} by other means"
            ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(_network_reason(error)) from error
    with response:
        length = response.length or 0
        start = 0
        if response.status == 206:
            stated = (response.headers.get("Content-Range") or "").removeprefix("bytes ").split("-")[0]
            if stated != str(have):
                part.unlink()
                raise _LostError("the server sent another range of the file than was asked for")
            start = have
        yield _Answer(response, start, start + length if length else 0)


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(_network_reason(error)) from error


def _network_reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    match reason:
        case TimeoutError():
            return f"the server was silent for {TIMEOUT_S:g} s"
        case ConnectionRefusedError():
            return "the server refused the connection"
        case socket.gaierror():
            return "the server's name is not known here (is there a network?)"
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not trusted ({reason.verify_message})"
        case http.client.IncompleteRead() | ConnectionError():
            return "the connection was lost"
        case _:
            return str(reason) or type(reason).__name__


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
