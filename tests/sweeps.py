"""What tests of sweeps share: small sweeps and their files, loaders of another package, and their processes."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import psutil
import pytest

from bench.records import Foreign, Record, read_records
from bench.sources.registry import open_source
from bench.sweep import process as sweep_process
from bench.sweep.config import read_sweep
from bench.sweep.plan import Folders, Plan, make_plan
from tests.forked import Started

ROOT = Path(__file__).parents[1]
HEAD = """
name = "small"
timeout_s = 250
[run]
epochs = 1
ceiling_steps = 1
rate_batches = 1
limit = 16
threads = 1
device = "cpu"
"""


def write(path: Path, *blocks: str, head: str = HEAD, repeats: int = 1) -> Path:
    """A file of a small sweep: each block is the body of a ``[[matrix]]``."""
    matrix = "\n".join(f"[[matrix]]\n{block}" for block in blocks)
    path.write_text(f"repeats = {repeats}\n{head}\n{matrix}\n", encoding="utf-8")
    return path


def a_plan(folder: Path, *blocks: str) -> Plan:
    """A small sweep, laid out."""
    return make_plan(read_sweep(write(folder / "x.toml", *blocks)), Folders(folder / "data", folder / "stores"))


def records_in(folder: Path) -> list[Record]:
    """All records; other files are left alone."""
    return [item[1] for item in read_records(folder) if not isinstance(item, Foreign)]


def state(path: Path) -> tuple[int, int]:
    """Other than before if a file was written anew."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def make_twin(data: Path) -> None:
    """A data folder with some images that are read faster than scikit-learn is imported."""
    open_source("cifar10", data).make_twin(0.002, lambda *_: None)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **loaders: str) -> None:
    """Make loaders known by entry points, here and in every process that is started, as an installed package does."""
    info = folder / "trouble-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 0\n", encoding="utf-8")
    lines = "\n".join(f"{name} = {target}" for name, target in loaders.items())
    (info / "entry_points.txt").write_text(f"[bench.loaders]\n{lines}\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
    monkeypatch.syspath_prepend(str(folder))


def fork_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps begun here fork their processes, see `Forked`."""
    monkeypatch.setattr(sweep_process, "Popen", Started)


def processes(mark: str) -> list[psutil.Process]:
    """Every process but this one whose command line, environment or log has the mark, such as a folder of this test."""
    marked = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        with contextlib.suppress(OSError):  # its output is closed
            words.append(str(Path(f"/proc/{process.pid}/fd/1").readlink()))
        if process.pid != os.getpid() and any(mark in word for word in words):
            marked.append(process)
    return marked


def all_gone(mark: str, patience_s: float = 10.0) -> list[psutil.Process]:
    """Wait for such processes to end; gives those that do not."""
    end = time.monotonic() + patience_s
    while (left := [p for p in processes(mark) if p.status() != psutil.STATUS_ZOMBIE]) and time.monotonic() < end:
        time.sleep(0.05)
    return left
