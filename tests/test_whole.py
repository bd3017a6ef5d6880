"""Files are written whole or not at all, reports and figures with them, on disks that fill up."""

from __future__ import annotations

import contextlib
import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.render.figurestyle import a_figure, save, thesis
from bench.render.whole import write_whole
from bench.report import compare
from bench.report.report import Report
from bench.report.write import write
from tests.record_samples import a_record

BLOCK = 4096


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk with so many blocks free, beside a report of an earlier day."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    for name in ("report.md", "report.html", "figure.pdf"):
        (folder / name).write_text("of yesterday")
    with (folder / "filler").open("wb") as file:
        file.write(bytes(1024 * 1024 - (3 + getattr(request, "param", 30)) * BLOCK))
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def torn(folder: Path) -> list[Path]:
    """What was begun and not ended."""
    return [path for path in folder.rglob("*") if path.name.endswith(".partial")]


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "page"
    assert write_whole(place, "ā\r\nb\n") == place
    assert place.read_bytes() == "ā\r\nb\n".encode()
    write_whole(place, b"\x00")
    assert place.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [place]


def test_what_does_not_fit_leaves_what_was_there(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left") as told:
        write_whole(disk / "report.md", bytes(1 << 20))
    assert told.value.errno == errno.ENOSPC
    assert (disk / "report.md").read_text() == "of yesterday"
    assert torn(disk) == []


@pytest.mark.parametrize("disk", [4, 30], indirect=True)
def test_a_figure_that_does_not_fit_is_an_error_of_the_disk(disk: Path) -> None:
    """Matplotlib's own on a full disk is ``'Stream' object has no attribute 'pos'``."""
    with thesis():
        figure = a_figure(2.0)
        figure.subplots().plot(range(9))
        try:
            save(figure, disk, "figure")
        except OSError as error:
            assert error.errno == errno.ENOSPC
            text = (disk / "figure.pdf").read_bytes()
            assert text == b"of yesterday" or text.endswith(b"%%EOF\n")
        else:
            assert (disk / "figure.png").read_bytes().endswith(b"IEND\xaeB`\x82")
    assert torn(disk) == []


def test_a_report_that_does_not_fit_says_so_and_tears_nothing(disk: Path) -> None:
    records = [a_record("filesystem"), a_record("mmap")]
    for formats in ([name] for name in ("html", "figures", "md", "latex", "csv")):
        with contextlib.suppress(BenchError):  # as long as there is room
            write(Report(records, "bench report x"), disk, formats)
        with (disk / "filler").open("ab") as file:
            file.write(bytes(_free(disk)))
        with pytest.raises(BenchError, match=r"cannot write the report into .*: No space left on device; choose"):
            write(Report(records, "bench report x"), disk, formats)
        assert torn(disk) == []
        for page, end in (("report.md", "\n"), ("report.html", "</html>")):
            text = (disk / page).read_text()
            assert text == "of yesterday" or text.endswith(end)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def test_a_comparison_that_does_not_fit_says_so(disk: Path) -> None:
    records = [a_record("filesystem"), a_record("mmap")]
    made = compare.compare(("a", records), ("b", records))
    with (disk / "filler").open("ab") as file:
        file.write(bytes(_free(disk)))
    with pytest.raises(BenchError, match=r"cannot write the comparison into .*: No space left on device; choose"):
        compare.write(made, disk, compare.FORMATS, "x")
    assert torn(disk) == []
