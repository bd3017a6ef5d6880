"""Output that is closed, full, left by its reader or ASCII: no traceback, no work lost, and names as they are."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.text import Text

from bench.progress import bar, console, status, steps
from bench.streams import Stream
from tests.forked import started

PROGRAM = f"'{sys.executable}' -m bench"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FULL = "bench: cannot write to standard output: No space left on device; send it elsewhere\n"
QUICK = ["--epochs", "2", "--threads", "1", "--device", "cpu", "--ceiling-steps", "1", "--rate-batches", "1"]
RECORDS = Path(__file__).parent / "data" / "records-v1"


def shell(command: str, **environment: str) -> tuple[int, str, str]:
    """Exit code and output of a line for bash, where ``bench`` is the program."""
    line = command.replace("bench ", f"{PROGRAM} ")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_output_that_cannot_be_written() -> None:
    for command, code, err in (
        ("bench datasets >&- 2>&- <&-", 0, ""),
        ("bench datasets >/dev/full", 1, FULL),
        ("bench --help >/dev/full", 1, FULL),
        ("bench datasets >/dev/full 2>/dev/full", 1, ""),
        ("bench nonsense 2>&-", 2, ""),
        ("bench --help >&-", 0, ""),
    ):
        assert shell(command) == (code, "", err), command


def test_a_reader_that_leaves_gets_what_it_wanted() -> None:
    code, out, err = shell("bench datasets | head -1")
    assert (code, out.count("\n"), err) == (0, 1, "")


def finished(*arguments: object, stdout: int = subprocess.PIPE) -> tuple[int, str, str]:
    """Exit code and output of a command in a process of its own."""
    with started(*arguments, stdout=stdout) as process:
        out, err = process.communicate(timeout=100)
    return process.returncode, out, err


@pytest.mark.parametrize("where", ["/dev/full", "a reader that has left"])
def test_a_run_is_recorded_whatever_becomes_of_its_output(where: str, tmp_path: Path) -> None:
    if where == "/dev/full":
        stdout = os.open(where, os.O_WRONLY)
    else:
        reader, stdout = os.pipe()
        os.close(reader)
    folders = ("--data-dir", tmp_path, "--out", tmp_path / "out")
    code, _, err = finished("run", "memory", "digits", "--limit", "64", *QUICK, *folders, stdout=stdout)
    os.close(stdout)
    assert (code, FULL in err) == ((1, True) if where == "/dev/full" else (0, False))
    assert "Traceback" not in err
    (path,) = (tmp_path / "out").glob("*.json")
    assert json.loads(path.read_bytes())["status"] == "ok"


def test_a_file_of_a_command_is_never_its_closed_output(tmp_path: Path) -> None:
    """Else what libraries print would be in it."""
    code, _, _ = shell(f"bench prepare memory digits --limit 8 --data-dir '{tmp_path / 'a'}' >&- 2>&-")
    assert code == 0
    assert finished("prepare", "memory", "digits", "--limit", "8", "--data-dir", tmp_path / "b")[0] == 0
    a, b = (sorted(p for p in (tmp_path / name).rglob("*") if p.is_file()) for name in "ab")
    assert [p.name for p in a] == [p.name for p in b]
    for mine, other in zip(a, b, strict=True):
        assert mine.suffix == ".json" or mine.read_bytes() == other.read_bytes(), mine


def test_ascii_gets_tables_and_escapes(tmp_path: Path) -> None:
    shutil.copytree(RECORDS, tmp_path / "r")
    code, out, err = shell(f"bench report '{tmp_path / 'r'}' --format md --language lv", **ASCII)
    assert (code, err) == (0, "")
    assert out.isascii()
    assert "iel\\u0101d\\u0113t\\u0101js" in out
    assert "|---" in out
    assert "ielādētājs" in (tmp_path / "r" / "report-lv.md").read_text(encoding="utf-8")


def test_names_are_printed_as_they_are_or_escaped(tmp_path: Path) -> None:
    folder = tmp_path / ":cat: [red]ün"
    for name in (":smile:", "[blue]", "猫"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (16, 16), (50 * number, 0, 0)).save(folder / name / f"{number}.png")
    (folder / "猫" / ":dog:.png").write_bytes((folder / "猫" / "0.png").read_bytes()[:40])
    (folder / "猫" / os.fsdecode(b"\xff.png")).write_bytes((folder / "猫" / "0.png").read_bytes()[:40])
    command = ("run", "mmap", f"folder:{folder}", *QUICK, "--image-size", 16, "--data-dir", tmp_path, "--out", tmp_path)
    code, out, err = finished(*command, "--on-corrupt", "fail")
    assert (code, "猫/:dog:.png" in err, "Traceback" in err) == (1, True, False)
    code, out, err = finished(*command, "--on-corrupt", "skip")
    assert (code, "/:cat: [red]ün: 0." in out) == (0, True), err
    code, out, err = shell(f"bench report '{tmp_path}' --format md", LC_ALL="C.UTF-8")
    assert (":cat: [red]ün" in out, "🐱" in out, "Traceback" in err) == (True, False, False)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_progress_shows_names_as_they_are(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    terminal = io.TextIOWrapper(shown, encoding=encoding, errors="backslashreplace", write_through=True)
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    err = console(Stream("stderr"), force_terminal=True, width=100, _environ={})
    monkeypatch.setattr("bench.progress.err", err)
    with bar(":cat: [red]ü", 10) as advance:
        advance(5)
    with steps() as report:
        report(":dog: [blue]ü", 1, 2)
    with status() as doing:
        doing(":cow: [green]ü")
    err.print(Text(":pig: [x]"))
    text = shown.getvalue().decode(encoding)
    ue = "ü" if encoding == "utf-8" else "\\xfc"
    for name in (f":cat: [red]{ue}", f":dog: [blue]{ue}", f":cow: [green]{ue}", ":pig: [x]"):
        assert name in text
    if encoding == "ascii":
        assert "\\u" not in text, "bars and spinners are of what a terminal of few signs has"
